"""Measures PyTorch batches, random access and exports beside Minari, datasets and TFDS.

The data are 1,000,000 transitions of 17 observations and 6 actions, all float32, in episodes of
1,000, published as TFRecord and as ArrayRecord files, and exported. All rates are of one process in
an environment of the other libraries, `other_libraries_rates`.

- Batches of 256 random transitions come through a `DataLoader` with 2 workers. `datasets` gives
  single steps of the Parquet export, without next observations. Minari reads an episode for each
  transition. Ours should be 5 times as fast.
- Random access reads whole episodes as arrays; TFDS's `data_source` reads the same files.
- An export reads the version and reads back what it wrote. The library's own writer has the
  episodes in memory and reads nothing back. An export should take at most 1.5 times as long.
- Peak memory of an export is that of a process of its own, and should stay below 1 GiB.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.speed import publishing
from benchmarks.speed.workers import ROOT, Worker, peer_python, row
from rl_datasets.exporting.export import export
from rl_datasets.publishing.publish import publish

PEER = (
    "torch==2.15.0 datasets==5.2.0 minari[hdf5]==0.5.4 tensorflow-datasets==4.9.10 "
    "importlib_resources dm-env filelock google-crc32c isal pillow pyarrow rich"
)
BESIDE = {  # (what, the anchor), and the unit
    ("our_batches", "batches_of_datasets"): "transitions/s",
    ("our_batches", "batches_of_minari"): "transitions/s",
    ("our_stacked_batches", "batches_of_datasets"): "transitions/s",
    ("our_episode_of_array_record", "episode_of_tfds"): "episodes/s",
    ("our_episode_of_tfrecord", "episode_of_tfds"): "episodes/s",
    ("export_minari", "written_by_minari"): "transitions/s",
    ("export_parquet", "written_by_datasets"): "transitions/s",
}


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Rates beside those of other libraries, and peak memory; the peers are installed at first."""
    transitions, seconds = (20_000, 0.5) if quick else (1_000_000, 10.0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        _make(folder, transitions)
        with Worker.start(_command(folder)) as worker:
            names = dict.fromkeys(name for pair in BESIDE for name in pair)
            rates = {name: worker.rate(name, seconds) for name in names}
        peaks = {kind: _peak_memory(folder, kind) for kind in ("minari", "parquet")}
    return [
        *(
            row(
                f"{_words(what)} beside {_words(anchor)}",
                rates[what],
                unit,
                f"{rates[anchor]:,.0f}",
                rates[what] / rates[anchor],
            )
            for (what, anchor), unit in BESIDE.items()
        ),
        *(
            row(f"peak memory of export {kind}", peak / 2**20, "MiB", "1 GiB", peak / 2**30)
            for kind, peak in peaks.items()
        ),
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _command(folder: pathlib.Path) -> list[str]:
    """The worker's command, with what the libraries read when they are imported."""
    variables = {
        "PYTHONPATH": ROOT,
        "MINARI_DATASETS_PATH": folder / "minari",
        "HF_HUB_OFFLINE": 1,
        "HF_HOME": folder / "huggingface",
    }
    script = ROOT / "benchmarks/speed/other_libraries_rates.py"
    told = [f"{name}={value}" for name, value in variables.items()]
    return ["env", *told, str(peer_python(PEER)), str(script), str(folder)]


def _make(folder: pathlib.Path, transitions: int) -> None:
    """The version in both file formats, and its exports."""
    for file_format in ("tfrecord", "array_record"):
        builder = publishing.Synthetic(
            source=str(transitions),
            data_dir=folder / "published",
            version="1.0.0",
            file_format=file_format,
        )
        publish(builder).path.rename(folder / file_format)
    export(folder / "tfrecord", "minari", folder / "minari" / "synthetic-v1")
    export(folder / "tfrecord", "parquet", folder / "parquet")


def _peak_memory(folder: pathlib.Path, kind: str) -> int:
    """Peak resident bytes of a separate process that exports the version."""
    script = (
        "import sys; from rl_datasets.exporting.export import export; export(*sys.argv[1:]);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    paths = [str(folder / "tfrecord"), kind, str(folder / f"peak-{kind}")]
    command = [sys.executable, "-c", script, *paths]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(output) * 1024
