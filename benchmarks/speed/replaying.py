"""Measures replaying logged Atari episodes against emulating them without any search.

The logs are games of a random agent, which draws an action every four steps. The anchor emulates
the same actions once, without search, comparisons or screens. Both rates are per second of one
core's processor time, measured in turns. The speed of two workers is that of `rl-datasets replay`
with publishing: the rate at which further rows are done, so that start-up does not count.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.replaying import Recorded, record
from builders.dqn_replay.dqn_replay_dataset_builder import Builder
from rl_datasets import roms
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.publish import publish
from rl_datasets.replaying import replay as replaying
from rl_datasets.replaying import source
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.replaying.episodes import Replayer
from rl_datasets.replaying.publishing import ReplayedBuilder
from rl_datasets.roms import RomSet

GAMES = ("Asterix", "Pong", "SpaceInvaders", "Freeway", "Breakout", "Enduro")
PROVED = "Asterix"
SHARED = "Asterix"
FILES = (2, 6)
ACTION_STEPS = 4


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Rows replayed per second; `ratio` is relative to the emulator alone, or to one worker."""
    rows, rounds, shared = (150, 1, 200) if quick else (800, 3, 4_000)
    measured: list[dict[str, Any]] = []
    for game in GAMES:
        measured += _of_game(game, rows, rounds)
    return measured + _shared(shared)


def _of_game(game: str, rows: int, rounds: int) -> list[dict[str, Any]]:
    rom = roms.rom_path(game, RomSet.ALE)
    recorded, emulator = record(rom, rows, seed=0, action_steps=ACTION_STEPS), Emulator(rom)
    found = replaying.replay(emulator, recorded.logged)
    if not found.whole:
        raise DatasetError(f"{game} was not replayed whole, report this: {found.reason}")
    ways: dict[str, Callable[[], object]] = {
        "the emulator alone": lambda: _emulate(emulator, found),
        "replayed": lambda: replaying.replay(emulator, recorded.logged),
    }
    if game == PROVED:
        ways["replayed and proved"] = lambda: replaying.replay(
            emulator, recorded.logged, prove_unique=True
        )
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(_rows_a_second(way, recorded))
    anchor, *others = ((name, statistics.median(each)) for name, each in rates.items())
    anchor_name = f"{game}: {anchor[0]}"
    return [
        {"name": anchor_name, "value": anchor[1], "unit": "rows/s a core"},
        *(
            {
                "name": f"{game}: {name}",
                "value": rate,
                "unit": "rows/s a core",
                "anchor": anchor_name,
                "ratio": rate / anchor[1],
            }
            for name, rate in others
        ),
    ]


def _emulate(emulator: Emulator, found: replaying.Replayed) -> None:
    assert emulator.first_start.snapshot is not None
    emulator.restore(emulator.first_start.snapshot)
    for executed in found.way:
        for action in executed:
            emulator.act(action)


def _rows_a_second(way: Callable[[], object], recorded: Recorded) -> float:
    start = time.process_time()
    way()
    return len(recorded.reward) / (time.process_time() - start)


def _shared(rows: int) -> list[dict[str, Any]]:
    """Replays and publishes logs of few and of more files, with one worker and with two."""
    with tempfile.TemporaryDirectory() as scratch:
        logs = {count: pathlib.Path(scratch) / str(count) for count in FILES}
        for count, log in logs.items():
            _write_log(log / SHARED / "1" / "replay_logs", count, rows)
        rates = [_added(logs, workers) for workers in (1, 2)]
    name = f"{SHARED}: `rl-datasets replay`"
    one, two = f"{name}, 1 worker", f"{name}, 2 workers"
    return [
        {"name": one, "value": rates[0], "unit": "rows/s"},
        {
            "name": two,
            "value": rates[1],
            "unit": "rows/s",
            "anchor": one,
            "ratio": rates[1] / rates[0],
        },
    ]


def _added(logs: dict[int, pathlib.Path], workers: int) -> float:
    """Rows per second, from what the largest log takes in addition to the smallest."""
    (few_rows, few_seconds), (rows, seconds) = (
        _publish_apart(logs[count], workers) for count in FILES
    )
    return (rows - few_rows) / (seconds - few_seconds)


def _write_log(folder: pathlib.Path, files: int, rows: int) -> None:
    """Writes so many full checkpoints of games, one after another."""
    log, seed = ReplayLog(folder, rows), 0
    rom = roms.rom_path(SHARED, RomSet.ALE)
    while log.add_count < files * rows - 1:
        logged = record(rom, 100_000, seed, ACTION_STEPS).logged
        last = len(logged.actions) - 1
        for row, (action, reward) in enumerate(zip(logged.actions, logged.rewards, strict=True)):
            if log.add_count < files * rows - 1:
                log.add(logged.observations[row, ..., 0], action, reward, row == last)
        seed += 1


def _publish_apart(log: pathlib.Path, workers: int) -> tuple[int, float]:
    """The rows and the seconds of `publish_here` in a separate process."""
    script = (
        "import sys; from benchmarks.speed import replaying; replaying.publish_here(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, str(log), str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows, seconds = json.loads(done.stdout.splitlines()[-1])
    return rows, seconds


def publish_here(log: str, workers: str) -> None:
    """Replays and publishes a log, and prints rows and seconds; runs in its own process."""
    builder = Builder(config=f"{SHARED}_run_1", source=log, data_dir=f"{log}/read")
    of = source.of_builder(builder)
    replayer = Replayer(of.roms(RomSet.ALE))
    data_dir = f"{log}/by_{workers}"
    start = time.perf_counter()
    version = publish(
        ReplayedBuilder(of=of, replayer=replayer, data_dir=data_dir), num_workers=int(workers)
    )
    seconds = time.perf_counter() - start
    rows = sum(split["transitions"] for split in version.manifest["splits"].values())
    print(json.dumps([rows, seconds]))
