"""`python -m benchmarks.replaying`: replays logs with a known truth, on the ROMs of both sets.

    games    the first rows of a random agent in each of DQN Replay's 60 games, logged on the ROM of
             each set and replayed on both
    truth    longer logs of some games, by an agent that draws an action in every step and by one
             that draws an action every four steps

This project's environment records the logs, which hold what Dopamine's logs hold. The results of a
replay are compared with what the environment returned and a log lacks: the raw rewards and the
final observation. The actions that the frames executed are known too. They follow from ALE's own
random numbers: the Mersenne Twister of the environment's seed, two numbers per frame. A run without
any chance shows that they are right: in it they lead to the same frames.

Each part writes a JSON file under `benchmarks/results/replaying`, and continues an interrupted run.
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
TRUTH_GAMES = (  # The sets' ROMs differ in eight of them; Asteroids and MsPacman flicker.
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
    """A log of T rows, and the truth that it lacks.

    Attributes:
      logged: the log.
      reward: [T], the game's own rewards.
      final_observation: [84, 84, 1] uint8.
      executed: [T, 4], the action that each frame executed, as long as the game was not over; None
        where it is not known.
    """

    logged: LoggedEpisode
    reward: np.ndarray
    final_observation: np.ndarray
    executed: np.ndarray | None


def record(rom: pathlib.Path, rows: int, seed: int, action_steps: int = 1) -> Recorded:
    """Records the first episode of an agent that draws an action every `action_steps` steps.

    Only the first `rows` rows of a longer episode are recorded.
    """
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
    """The executed actions [T, 4], from the random numbers that ALE draws after a seed."""
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
    """Whether the executed actions lead to the frames of a log, in a run without chance."""
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
    """Compares the result of a replay with the truth."""
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
        "rewards": _count_right(replayed.reward, reward, ~np.isnan(replayed.reward)),
        "final_observation": "not known"
        if replayed.final_observation is None
        else "right"
        if np.array_equal(replayed.final_observation, final_observation)
        else "wrong",
        "only_return": replayed.only_return,
        "open_states": replayed.open_states,
        "executed": None
        if executed is None or replayed.only_return is None
        else _count_right(replayed.executed, executed, replayed.executed != NOT_KNOWN),
    }


def _count_right(found: np.ndarray, truth: np.ndarray, is_found: np.ndarray) -> dict[str, int]:
    """How many values were recovered (`told`), and how many of them are right."""
    return {"told": int(is_found.sum()), "right": int((found == truth)[is_found].sum())}


class Task(NamedTuple):
    """A log to record and replay."""

    game: str
    recorded_on: RomSet
    replayed_on: RomSet
    action_steps: int


def tasks(part: str) -> Iterator[Task]:
    """The tasks of a part, `games` or `truth`."""
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
    """Records and replays a log; in the part `truth` a proof is tried too."""
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
        pathlib.Path | None,
        typer.Option(help="Folder of atari-py's ROMs; by default your cache's."),
    ] = None,
    only: Annotated[str, typer.Option(help="Run only this game.")] = "",
) -> None:
    """Records logs with a known truth, replays them, and compares the results with the truth."""
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
