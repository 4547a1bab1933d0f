"""Measures how much memory it takes to replay the longest possible episode.

The log is a game of ElevatorAction, which a random agent plays until the time limit. Each version
is published in a separate process, by one worker. The peak is the kernel's (VmHWM).
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.replaying import record
from builders.dqn_replay.dqn_replay_dataset_builder import Builder
from rl_datasets import roms
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.publishing.publish import publish
from rl_datasets.replaying import source
from rl_datasets.replaying.episodes import Replayer
from rl_datasets.replaying.publishing import ReplayedBuilder
from rl_datasets.roms import RomSet

GAME = "ElevatorAction"
ROWS = 26_990  # a little less than the time limit, which logs store as the end of a game
PUBLISHED, REPLAYED, WITH_SCREENS = "published", "replayed", "replayed with full-size frames"


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Peak memory in MiB; `ratio` is relative to publishing without replaying."""
    rows = 300 if quick else ROWS
    with tempfile.TemporaryDirectory() as scratch:
        _write_log(pathlib.Path(scratch), rows)
        peaks = {how: _peak(scratch, how) for how in (PUBLISHED, REPLAYED, WITH_SCREENS)}
    episode = f"an episode of {rows:,} rows"
    return [
        {
            "name": f"{episode}, {how}: peak memory",
            "value": peak / 2**20,
            "unit": "MiB",
            "anchor": f"{episode}, {PUBLISHED}: peak memory",
            "ratio": peak / peaks[PUBLISHED],
        }
        for how, peak in peaks.items()
    ]


def _write_log(home: pathlib.Path, rows: int) -> None:
    """Writes one checkpoint with one episode, whose end is cut off."""
    logged = record(roms.rom_path(GAME, RomSet.ALE), rows, seed=0, action_steps=4).logged
    with ReplayLog(home / GAME / "1" / "replay_logs", 2 * rows) as log:
        for row in range(rows):
            frame = logged.observations[row, ..., 0]
            log.add(frame, logged.actions[row], logged.rewards[row], False)


def _peak(home: str, how: str) -> int:
    """Bytes."""
    script = (
        "import sys; from benchmarks.speed import replay_memory;"
        "replay_memory.publish_here(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, home, how]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def publish_here(home: str, how: str) -> None:
    """Publishes a log and prints this process's peak memory, in bytes."""
    data_dir = f"{home}/{how}"
    builder = Builder(config=f"{GAME}_run_1", source=home, data_dir=data_dir)
    if how == PUBLISHED:
        publish(builder)
    else:
        of = source.of_builder(builder)
        replayer = Replayer(of.roms(RomSet.ALE), screens=how == WITH_SCREENS)
        version = publish(ReplayedBuilder(of=of, replayer=replayer, data_dir=data_dir))
        splits = version.manifest["splits"].values()
        assert sum(split["flags"]["replayed_whole"] for split in splits) == 1
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    print(1024 * int(status.split("VmHWM:")[1].split()[0]))
