"""`python -m benchmarks.first_actions`: measures what the first action of a game can earn.

RL Unplugged's episodes lack the reward of their first action. Every game begins in one of a few
states, and sticky actions may keep the initial no-op for the first 0 to 4 of the action's frames.
So all possible outcomes can be emulated: every action of the minimal set, from every start, with
every number of kept frames. Both sets of ROMs must be installed (`rl-datasets roms`).

Writes `benchmarks/results/first_actions.json`.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import typer

from rl_datasets import files, roms
from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.roms import RomSet
from rl_datasets.sources import atari

RESULTS = pathlib.Path(__file__).parent / "results" / "first_actions.json"


def measure(rom: pathlib.Path) -> Mapping[str, Any]:
    """The number of outcomes of a game's first action, and the least and most that they earn."""
    emulator = Emulator(rom)
    rewards = [
        outcome.way.reward
        for start in emulator.starts
        for action in range(emulator.num_actions)
        for outcome in step.outcomes(emulator, step.begin(start), action)
    ]
    return {"outcomes": len(rewards), "least": min(rewards), "most": max(rewards)}


def main() -> None:
    """Measures all games of DQN Replay and writes the results, one line for each game."""
    measured = {
        game: {str(rom_set): measure(roms.rom_path(game, rom_set)) for rom_set in RomSet}
        for game in atari.ATARI_GAMES
    }
    lines = [f"{json.dumps(game)}: {json.dumps(of)}" for game, of in measured.items()]
    files.write(RESULTS, "{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    typer.run(main)
