"""Measures publishing a D4RL file against reading it with h5py and writing it back.

The file has the layout of `halfcheetah_medium-v2.hdf5`: 1,000,000 rows with next observations,
qpos, qvel and log-probabilities, in episodes of 1,000, compressed as D4RL's files are. Publishing
hashes the file, and leaves a version that was checked, read back and hashed; it should take at most
three times as long as the anchor. Peak memory is measured in a separate process on a file of
2,000,000 rows, and should stay below 1 GiB.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from builders.d4rl.d4rl_dataset_builder import Builder
from rl_datasets.publishing.publish import publish

CONFIG = "halfcheetah-medium-v2"
ANCHOR = "h5py reads the file and writes it back"
EPISODE_LENGTH = 1000
WIDTHS = {
    "observations": 17,
    "next_observations": 17,
    "actions": 6,
    "infos/qpos": 9,
    "infos/qvel": 9,
}
_SLICE = 100_000  # Rows.


def write_file(path: pathlib.Path, rows: int) -> None:
    """Writes a file of random rows, slice by slice."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {name: (rows, width) for name, width in WIDTHS.items()}
    shapes |= {"rewards": (rows,), "infos/action_log_probs": (rows,)}
    with h5py.File(path, "w") as file:
        fields = {
            name: file.create_dataset(name, shape, np.float32, compression="gzip")
            for name, shape in shapes.items()
        }
        for start in range(0, rows, _SLICE):
            steps = np.arange(start, min(start + _SLICE, rows))
            for field in fields.values():
                drawn = rng.uniform(-1, 1, (len(steps), *field.shape[1:]))
                field[start : start + _SLICE] = drawn.astype(np.float32)
            fields["next_observations"][start : start + len(steps) - 1] = fields["observations"][
                start + 1 : start + len(steps)
            ]
        is_last = np.arange(1, rows + 1) % EPISODE_LENGTH == 0
        file.create_dataset("timeouts", data=is_last, compression="gzip")
        file.create_dataset("terminals", data=np.zeros(rows, np.bool_), compression="gzip")


def read_and_write_back(source: pathlib.Path, target: pathlib.Path, **how: Any) -> None:
    """The anchor: h5py reads every field whole and writes it, with no other work."""

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            written.create_dataset(name, data=item[...], **how)

    with h5py.File(source) as read, h5py.File(target, "w") as written:
        read.visititems(visit)


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Transitions/s and peak memory; `ratio` is relative to `anchor`."""
    rows, many = (50_000, 100_000) if quick else (1_000_000, 2_000_000)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        small, large, huge = root / "small.hdf5", root / "large.hdf5", root / "huge.hdf5"
        write_file(small, EPISODE_LENGTH)
        write_file(large, rows)

        def again(source: pathlib.Path) -> None:
            read_and_write_back(source, root / "again.hdf5", compression="gzip")

        def again_as_it_is(source: pathlib.Path) -> None:
            read_and_write_back(source, root / "plain.hdf5")

        rates = [
            (name, rows / _seconds(work, small, large))
            for name, work in (
                ("publish", _publish),
                (ANCHOR, again),
                ("the same without compression", again_as_it_is),
            )
        ]
        write_file(huge, many)
        peak = peak_memory(huge)
    anchor = dict(rates)[ANCHOR]
    return [
        *(
            {
                "name": name,
                "value": rate,
                "unit": "transitions/s",
                "anchor": ANCHOR,
                "ratio": rate / anchor,
            }
            for name, rate in rates
        ),
        {
            "name": f"peak memory of publishing {many:,} rows",
            "value": peak / 2**20,
            "unit": "MiB",
            "anchor": "1 GiB",
            "ratio": peak / 2**30,
        },
    ]


def peak_memory(path: pathlib.Path) -> int:
    """Peak resident bytes of a separate process that publishes the file."""
    script = (
        "import sys, pathlib; from benchmarks.speed import d4rl;"
        "d4rl._publish(pathlib.Path(sys.argv[1]));"
        "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", script, str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return 1024 * int(output.split()[-1])


def _publish(path: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as data_dir:
        publish(Builder(config=CONFIG, source=str(path), data_dir=data_dir))


def _seconds(
    work: Callable[[pathlib.Path], None], small: pathlib.Path, large: pathlib.Path
) -> float:
    """Seconds that the work takes on the large file, after a warm-up on the small one."""
    work(small)
    start = time.perf_counter()
    work(large)
    return time.perf_counter() - start
