"""Measures publishing a DQN Replay log against the work that no method can avoid.

The logs are runs of 1, 4 and 16 checkpoints of 50,000 rows, in episodes of 500 rows, with frames of
about 1.6 kB as PNG. The unavoidable work is gunzip and PNG encoding of the same frames. Every
publication runs in a separate process that was warmed up on a small log, so that start-up does not
count. The work of one core is measured in seconds of processor time, that of two workers by the
clock: as the time that the last 12 of 16 checkpoints add to the first 4, because starting a worker
takes seconds whatever it does.

`python -m benchmarks.speed.dqn_replay` extrapolates the saved rows to all of DQN Replay, and writes
the result to `docs/dqn_replay_cost.md`.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from isal import igzip

from builders.dqn_replay.dqn_replay_dataset_builder import Builder
from rl_datasets import files, frames
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.publishing.publish import publish

ROOT = pathlib.Path(__file__).parents[2]
SAVED = ROOT / "benchmarks" / "results" / "speed"
PAGE = ROOT / "docs" / "dqn_replay_cost.md"
MARK = "<!-- `python -m benchmarks.speed.dqn_replay` overwrites everything below this line. -->\n"
ALL_TRANSITIONS = 15_000_000_000  # 60 games, 5 runs each, 50 million agent steps a run.
WORKERS = (1, 16, 100, 1_000)

CHECKPOINTS = (1, 4, 16)
EPISODE_LENGTH = 500
ANCHOR = "gunzip and PNG encoding alone"
_BATCH = 64
_SIDE = 84


def synthetic_frames(count: int, seed: int = 0) -> np.ndarray:
    """Frames [count, 84, 84] uint8 of a made-up game: five sprites in front of a scene."""
    rng = np.random.default_rng(seed)
    scene = np.repeat(rng.integers(40, 200, (14, 1), np.uint8), 6, axis=0).repeat(_SIDE, axis=1)
    scene[60:] += rng.integers(0, 40, (24, 21), np.uint8).repeat(4, axis=1)
    sprites = rng.integers(0, 255, (5, 7, 8), np.uint8)
    start, velocity = rng.integers(0, 76, (5, 2)), rng.integers(-3, 4, (5, 2))
    film = np.repeat(scene[None], count, axis=0)
    for step, frame in enumerate(film):
        for sprite, (y, x) in zip(sprites, (start + step * velocity) % 76, strict=True):
            frame[y : y + 7, x : x + 8] = sprite
    return film


def write_log(folder: pathlib.Path, checkpoints: int, capacity: int) -> None:
    """Writes a run of so many full checkpoints, without the final checkpoint of a real run."""
    film, rng = synthetic_frames(2_000), np.random.default_rng(0)
    log = ReplayLog(folder, capacity)
    row = 0
    while log.add_count < checkpoints * capacity - 1:
        row += 1
        action, reward = rng.integers(6), rng.integers(-1, 2)
        log.add(film[row % len(film)], action, reward, row % EPISODE_LENGTH == 0)


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Transitions published per second; `ratio` is relative to `anchor`."""
    capacity = 5_000 if quick else 50_000
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        for count in (*CHECKPOINTS, 0):
            # Checkpoint 0 of a small run, to warm up a process.
            folder = root / str(count) / "Pong" / "1" / "replay_logs"
            write_log(folder, count or 1, capacity if count else 1_200)
        parts = _unavoidable(root / "1" / "Pong" / "1" / "replay_logs")
        one, two = (
            [_publish_apart(root, count, workers) for count in CHECKPOINTS] for workers in (1, 2)
        )
    alone = sum(parts.values())
    core = _added(one, "work")
    rows = [
        _row(ANCHOR, 1 / alone, "transitions/s a core"),
        *(_row(name, 1 / each, "transitions/s a core") for name, each in parts.items()),
        _row("publish", 1 / core, "transitions/s a core", ANCHOR, alone / core),
        _row("publish, 1 worker", 1 / _added(one, "clock"), "transitions/s"),
        _row(
            "publish, 2 workers",
            1 / _added(two, "clock"),
            "transitions/s",
            "publish, 1 worker",
            _added(one, "clock") / _added(two, "clock"),
        ),
    ]
    for count, each in zip(CHECKPOINTS, one, strict=True):
        name = f"{count} checkpoints of {capacity:,} rows"
        took, first = (1e6 * run["work"] / run["transitions"] for run in (each, one[0]))
        rows.append(_row(f"{name}: work", took, "s a million", "1", took / first))
        peak = each["peak"] / one[0]["peak"]
        rows.append(_row(f"{name}: peak memory", each["peak"] / 2**20, "MiB", "1", peak))
    size = one[-1]["bytes"] / one[-1]["transitions"]
    return [*rows, _row("published", size, "bytes a transition"), *_encodings()]


def _row(
    name: str, value: float, unit: str, anchor: str | None = None, ratio: float | None = None
) -> dict[str, Any]:
    row = {"name": name, "value": value, "unit": unit}
    return row if anchor is None else {**row, "anchor": anchor, "ratio": ratio}


def _added(runs: list[dict[str, float]], seconds: str) -> float:
    """Seconds per transition that the largest run has in addition to the second largest."""
    *_, before, largest = runs
    return (largest[seconds] - before[seconds]) / (largest["transitions"] - before["transitions"])


def _unavoidable(folder: pathlib.Path) -> dict[str, float]:
    """Seconds of work per frame: gunzip, then PNG encoding."""
    path = folder / "$store$_observation_ckpt.0.gz"
    batch = np.empty((_BATCH, _SIDE, _SIDE, 1), np.uint8)
    spent = {"gunzip": 0.0, "PNG encoding": 0.0}
    count = 0
    with igzip.open(path, "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while True:
            start = time.process_time()
            size = file.readinto(batch.data.cast("B"))
            read = time.process_time()
            if size < batch.nbytes:
                break
            frames.encode_png(batch)
            spent["gunzip"] += read - start
            spent["PNG encoding"] += time.process_time() - read
            count += _BATCH
    return {name: seconds / count for name, seconds in spent.items()}


def _encodings() -> list[dict[str, Any]]:
    """Compares PNG with the other lossless encoding that plain TFDS decodes, a tensor in zlib."""
    film = synthetic_frames(1_000)[..., None]
    ways: dict[str, Callable[[], list[bytes]]] = {
        "PNG": lambda: frames.encode_png(film),
        "tensor in zlib": lambda: [zlib.compress(frame.tobytes()) for frame in film],
    }
    rates, sizes = {}, {}
    for name, encode in ways.items():
        start = time.process_time()
        encoded = encode()
        rates[name] = len(film) / (time.process_time() - start)
        sizes[name] = sum(map(len, encoded)) / len(film)
    anchor = "tensor in zlib"
    return [
        _row(f"{what}: {name}", of[name], unit, anchor, of[name] / of[anchor])
        for what, of, unit in (
            ("encode", rates, "frames/s a core"),
            ("encoded", sizes, "bytes a frame"),
        )
        for name in ways
    ]


def _publish_apart(root: pathlib.Path, checkpoints: int, workers: int) -> dict[str, float]:
    script = (
        "import sys; from benchmarks.speed import dqn_replay as speed;"
        "speed.publish_here(*sys.argv[1:])"
    )
    with tempfile.TemporaryDirectory() as data_dir:
        command = [
            sys.executable,
            "-c",
            script,
            str(root),
            str(checkpoints),
            str(workers),
            data_dir,
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def publish_here(root: str, checkpoints: str, workers: str, data_dir: str) -> None:
    """Publishes a run of so many checkpoints and prints what it took; runs in its own process."""
    publish(_builder(root, "0", f"{data_dir}/warm-up"))
    clock, work = time.perf_counter(), time.process_time()
    version = publish(_builder(root, checkpoints, f"{data_dir}/timed"), num_workers=int(workers))
    took = {"clock": time.perf_counter() - clock, "work": time.process_time() - work}
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    splits = version.manifest["splits"].values()
    took["peak"] = 1024 * int(status.split("VmHWM:")[1].split()[0])
    took["transitions"] = sum(split["transitions"] for split in splits)
    took["bytes"] = sum(entry["size"] for entry in version.manifest["files"].values())
    print(json.dumps(took))


def _builder(root: str, checkpoints: str, data_dir: str) -> Builder:
    return Builder(config="Pong_run_1", source=f"{root}/{checkpoints}", data_dir=data_dir)


def cost_of_all(measured: dict[str, Any]) -> str:
    """The table of `docs/dqn_replay_cost.md`, from the saved rows of `measure`."""
    rows = {row["name"]: row for row in measured["rows"]}
    work = ALL_TRANSITIONS / rows["publish"]["value"]
    shared = rows["publish, 2 workers"]["ratio"] / 2
    largest = max(CHECKPOINTS)
    peak = next(r for n, r in rows.items() if n.startswith(f"{largest} ") and n.endswith("memory"))
    lines = [
        f"Measured by `{measured['command']}` on {measured['machine']}, code version",
        f"{measured['code_version']}.",
        "",
        "| | |",
        "|---|---|",
        f"| work for a million transitions | {1e6 / rows['publish']['value']:.0f} core seconds |",
        f"| gunzip and PNG encoding alone | {rows['publish']['ratio']:.0%} of that |",
        f"| two workers | {rows['publish, 2 workers']['ratio']:.2f} times as fast as one |",
        f"| peak memory of a worker | {peak['value']:.0f} MiB |",
        f"| published | {ALL_TRANSITIONS * rows['published']['value'] / 1e12:.0f} TB |",
        "",
        "| workers, one core each | days |",
        "|---:|---:|",
    ]
    for workers in WORKERS:
        days = work / workers / (1 if workers == 1 else shared) / 86_400
        lines.append(f"| {workers:,} | {days:,.1f} |")
    return "\n".join(lines) + "\n"


def cost_of_replaying(speed: dict[str, Any]) -> str:
    """The tables about replaying, from the saved rows of `replaying`."""
    rows = {row["name"]: row for row in speed["rows"]}
    rates = {name: row for name, row in rows.items() if row["unit"] == "rows/s a core"}
    found = {name: row for name, row in rates.items() if name.endswith(": replayed")}
    (shared,) = (row["ratio"] / 2 for name, row in rows.items() if name.endswith("2 workers"))
    extremes = [pick(row["value"] for row in found.values()) for pick in (max, min)]
    lines = [
        f"Measured by `{speed['command']}` on {speed['machine']}, code version",
        f"{speed['code_version']}. Publishing is not included.",
        "",
        "| a random agent's play | rows/s per core | of the emulator's speed | core days for all |",
        "|---|---:|---:|---:|",
    ]
    for name, row in rates.items():
        if "anchor" in row:
            days = ALL_TRANSITIONS / row["value"] / 86_400
            lines.append(f"| {name} | {row['value']:,.0f} | {row['ratio']:.0%} | {days:,.0f} |")
    lines += [
        "",
        f"Two workers are {2 * shared:.2f} times as fast as one, publishing included.",
        "",
        "| workers, one core each | days at the fastest game's rate | at the slowest game's |",
        "|---:|---:|---:|",
    ]
    for workers in WORKERS:
        cores = workers * (1 if workers == 1 else shared)
        fast, slow = (ALL_TRANSITIONS / rate / cores / 86_400 for rate in extremes)
        lines.append(f"| {workers:,} | {fast:,.1f} | {slow:,.1f} |")
    return "\n".join(lines) + "\n"


def memory_of_replaying(measured: dict[str, Any]) -> str:
    """The table about memory, from the saved rows of `replay_memory`."""
    lines = [
        f"Measured by `{measured['command']}` on {measured['machine']}, code version",
        f"{measured['code_version']}.",
        "",
        "| one worker | MiB |",
        "|---|---:|",
        *(f"| {row['name']} | {row['value']:,.0f} |" for row in measured["rows"]),
    ]
    return "\n".join(lines) + "\n"


PARTS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("dqn_replay", "", cost_of_all),
    ("replaying", "## Replaying\n\n", cost_of_replaying),
    ("replay_memory", "## Memory of replaying\n\n", memory_of_replaying),
)


def main() -> None:
    """Writes the tables of the saved rows into their page."""
    kept, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    saved = [(SAVED / f"{room}.json", title, table) for room, title, table in PARTS]
    tables = [
        title + table(json.loads(path.read_text(encoding="utf-8")))
        for path, title, table in saved
        if path.is_file()
    ]
    files.write(PAGE, kept + mark + "\n" + "\n".join(tables))


if __name__ == "__main__":
    main()
