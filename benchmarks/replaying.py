"""`python -m benchmarks.replaying`: logs whose truth is known, replayed; what replays on which ROM.

    games    the first rows that a random agent plays in each of DQN Replay's 60 games, logged on
             the ROM of either set and replayed on both
    truth    longer logs of some games, by an agent that changes its mind at every step and by one
             that does so every few

The logs are recorded by this project's environment, and hold what Dopamine's logs do. What the
replay says is held against what the environment said and a log has lost: raw rewards and the final
observation. The actions that the frames executed are known too, by ALE's own random numbers: the
Mersenne Twister of the environment's seed, two numbers a frame. That they are the truth is shown by
a run without any chance, in which they lead to the same frames.

Each writes a JSON file under `benchmarks/results/replaying`, and continues an interrupted run.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from benchmarks.training import results
from rl_datasets import files, roms
from rl_datasets.collection.atari import AtariEnvironment
from rl_datasets.errors import DatasetError
from rl_datasets.replaying.emulator import Emulator, observe
from rl_datasets.replaying.replay import NOT_KNOWN, LoggedEpisode, Replayed, replay
from rl_datasets.roms import RomSet
from rl_datasets.sources.atari import ATARI_GAMES, FRAME_SKIP, STICKY_PROBABILITY

FOLDER = pathlib.Path(__file__).resolve().parent / "results" / "replaying"
PATIENCE = 5_000
MOST_STATES = 300
ROWS = {"games": 500, "truth": 2_000}
TRUTH_GAMES = (  # In eight the sets' ROMs differ; Asteroids and MsPacman flicker.
    "Asterix",
    "Asteroids",
    "Breakout",
    "DoubleDunk",
    "Enduro",
    "Freeway",
    "Gravitar",
    "MsPacman",
    "Pong",
    "Qbert",
    "Seaquest",
    "Skiing",
    "SpaceInvaders",
    "Tennis",
    "VideoPinball",
    "YarsRevenge",
)


class Recorded(NamedTuple):
    """A log of T rows, and the truth that it has lost.

    Attributes:
      logged: what a log says.
      reward: [T], the game's own.
      final_observation: [84, 84, 1] uint8.
      executed: [T, 4], the action that each frame executed, where the game was not over before;
        None where it is not known.
    """

    logged: LoggedEpisode
    reward: np.ndarray
    final_observation: np.ndarray
    executed: np.ndarray | None


def record(rom: pathlib.Path, rows: int, seed: int, action_steps: int = 1) -> Recorded:
    """The first episode of an agent that draws an action every so many steps, or its beginning."""
    environment, rng = AtariEnvironment(rom, seed), np.random.default_rng(seed)
    num_actions = environment.action_spec().num_values
    timestep = environment.reset()
    observations: list[np.ndarray] = []
    actions: list[int] = []
    rewards: list[float] = []
    while len(actions) < rows and not timestep.last():
        is_drawn = len(actions) % action_steps == 0
        action = int(rng.integers(num_actions)) if is_drawn else actions[-1]
        observations.append(timestep.observation)
        actions.append(action)
        timestep = environment.step(action)
        rewards.append(timestep.reward)
    logged = LoggedEpisode(
        np.stack(observations), np.array(actions), np.clip(rewards, -1, 1), timestep.last()
    )
    executed = executed_actions(environment.episode_seed, actions)
    is_truth = leads_there(Emulator(rom), executed, logged)
    return Recorded(logged, np.array(rewards), timestep.observation, executed if is_truth else None)


def executed_actions(episode_seed: int, actions: list[int]) -> np.ndarray:
    """[T, 4], by the random numbers that ALE draws after a seed."""
    twister = np.random.MT19937()
    twister._legacy_seeding(episode_seed)
    drawn = twister.random_raw(len(actions) * FRAME_SKIP * 2)[::2] / 2**32  # The others: player B.
    is_kept = (drawn < STICKY_PROBABILITY).reshape(-1, FRAME_SKIP)
    executed, last = np.empty_like(is_kept, int), 0
    for row, action in enumerate(actions):
        for frame in range(FRAME_SKIP):
            last = last if is_kept[row, frame] else action
            executed[row, frame] = last
    return executed


def leads_there(emulator: Emulator, executed: np.ndarray, logged: LoggedEpisode) -> bool:
    """Whether executed actions show the frames of a log, in a run without chance."""
    emulator.begin()
    for row, actions in enumerate(executed[:-1]):
        screens = []
        for action in actions:
            emulator.act(action)
            screens.append(emulator.screen())
        shown = observe(np.maximum(*screens[-2:]))
        if not np.array_equal(shown, logged.observations[row + 1, ..., 0]):
            return False
    return True


def compare(recorded: Recorded, replayed: Replayed) -> dict[str, Any]:
    """What a replay says, beside the truth."""
    logged, reward, final_observation, executed = recorded
    return {
        "rows": len(reward),
        "reached": replayed.rows,
        "whole": replayed.whole,
        "reason": replayed.reason,
        "steps": replayed.steps,
        "raw_return": float(reward.sum()),
        "clipped_return": float(logged.rewards.sum()),
        "found_return": None if np.isnan(replayed.raw_return) else replayed.raw_return,
        "rewards": _right(replayed.reward, reward, ~np.isnan(replayed.reward)),
        "final_observation": "not known"
        if replayed.final_observation is None
        else "right"
        if np.array_equal(replayed.final_observation, final_observation)
        else "wrong",
        "only_return": replayed.only_return,
        "open_states": replayed.open_states,
        "executed": None
        if executed is None or replayed.only_return is None
        else _right(replayed.executed, executed, replayed.executed != NOT_KNOWN),
    }


def _right(said: np.ndarray, truth: np.ndarray, is_said: np.ndarray) -> dict[str, int]:
    """How many values are told, and how many of them are right."""
    return {"told": int(is_said.sum()), "right": int((said == truth)[is_said].sum())}


class Task(NamedTuple):
    """What is recorded and how it is replayed."""

    game: str
    recorded_on: RomSet
    replayed_on: RomSet
    action_steps: int


def tasks(part: str) -> Iterator[Task]:
    """Of `games` or `truth`."""
    if part == "truth":
        for game in TRUTH_GAMES:
            for action_steps in (1, 4):
                yield Task(game, RomSet.LEGACY, RomSet.LEGACY, action_steps)
        return
    differs = {rom.game: rom.differs for rom in roms.show()}
    for game in ATARI_GAMES:
        path = roms.rom_path(game, RomSet.ALE)
        sets = list(RomSet) if differs[path.stem] else [RomSet.LEGACY]
        for recorded_on in sets:
            for replayed_on in sets:
                yield Task(game, recorded_on, replayed_on, 1)


def run(task: Task, part: str, folder: pathlib.Path | None) -> dict[str, Any]:
    """Records and replays; what is `truth` is proved too."""
    game, recorded_on, replayed_on, action_steps = task
    recorded = record(roms.rom_path(game, recorded_on, folder), ROWS[part], 0, action_steps)
    emulator = Emulator(roms.rom_path(game, replayed_on, folder))
    replayed = replay(emulator, recorded.logged, patience=PATIENCE)
    if replayed.whole and part == "truth":
        replayed = replay(
            emulator,
            recorded.logged,
            prove_unique=True,
            patience=PATIENCE,
            most_states=MOST_STATES,
        )
    return {**task._asdict(), **compare(recorded, replayed)}


def main(
    parts: Annotated[
        list[str] | None, typer.Argument(help="games, truth; both by default.")
    ] = None,
    roms_folder: Annotated[
        pathlib.Path | None, typer.Option(help="Of atari-py's ROMs; by default in your cache.")
    ] = None,
    only: Annotated[str, typer.Option(help="One game alone.")] = "",
) -> None:
    """Records logs whose truth is known, replays them, and holds what comes out against it."""
    for part in parts or ROWS:
        if part not in ROWS:
            raise DatasetError(f"there is no part {part}: name {' or '.join(ROWS)}")
        path = FOLDER / f"{part}.json"
        done = json.loads(path.read_text(encoding="utf-8"))["logs"] if path.is_file() else []
        known = {tuple(each[field] for field in Task._fields) for each in done}
        for task in tasks(part):
            if task in known or only not in ("", task.game):
                continue
            replayed = run(task, part, roms_folder)
            done.append({**replayed, "code_version": results.code_version()})
            print(json.dumps(done[-1]), flush=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            measured = {
                "command": f"python -m benchmarks.replaying {part}",
                "machine": results.machine(),
                "patience": PATIENCE,
                "most_states": MOST_STATES,
                "logs": done,
            }
            files.write(path, json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
