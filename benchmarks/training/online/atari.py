"""Trains an agent online on an Atari game and logs all that it saw, as DQN Replay was made.

The agent and its schedule are Dopamine's (Castro et al. 2018, arXiv:1812.06110; dqn.gin), which
Agarwal et al. 2020 (arXiv:1907.04543) logged. The folder of a run, `<folder>/<Game>/<run>`, holds

    replay_logs/  the replay buffer's checkpoints, in Dopamine's layout
    log.json      what the run is, and how each iteration went
    returns.json  the seed, the steps and the return, with rewards not clipped, of every episode
    training/     what an interrupted run continues from; deleted when the run is finished

An iteration takes at least a given number of agent steps, and ends with an episode. An interrupted
run continues after its last whole iteration, and ends as it would have without the interruption.
Neither the buffer nor the emulator is saved for this, only every action: the episodes are played
again from their seeds, without learning.

There is one difference to Dopamine's TensorFlow agent: target parameters are copied every 2,000
gradient steps from the first, which may be up to 2,000 later than every 8,000 agent steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import itertools
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.training import checkpoint
from benchmarks.training.online import training_folder
from benchmarks.training.online.atari_agent import AGENTS, Agent
from benchmarks.training.online.atari_schedule import AtariSchedule, PlayedEpisode, progress
from benchmarks.training.results import code_version
from rl_datasets import files, npz, roms, run_log
from rl_datasets.collection import atari
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from rl_datasets.sources.atari import ATARI_GAMES, clipped
from rl_datasets.sources.dqn_replay import FOLDER_NAME

LIBRARIES = ("ale-py", "jax", "dm-haiku", "optax", "numpy")
RETURNS = "returns.json"
_PROGRESS_EVERY = 100  # steps


def log_run(
    game: str,
    folder: pathlib.Path,
    *,
    agent: str = "dqn",
    run: int = 1,
    seed: int = 0,
    rom_set: RomSet = RomSet.ALE,
    schedule: AtariSchedule | None = None,
) -> pathlib.Path:
    """Logs a run of an agent that learns a game; the same call continues an interrupted run.

    Args:
      game: the game, as DQN Replay spells it, such as `MsPacman`.
      folder: the folder in which to make `<game>/<run>`.
      agent: a name in `AGENTS`.
      run: the run's number; runs with different numbers have different random numbers.
      seed: the seed of networks, exploration, sampling and emulator.
      rom_set: the set whose ROM of the game is played.
      schedule: the schedule; None for Dopamine's in full.

    Returns:
      The folder of the run.

    Raises:
      DatasetError: there is no such game, agent or ROM; the folder holds another run or a finished
        one, another process logs into it, or it cannot be written.
    """
    schedule = schedule or AtariSchedule()
    if game not in ATARI_GAMES:
        raise DatasetError(f"{game} is not one of DQN Replay's games: name one, such as Pong")
    if agent not in AGENTS:
        raise DatasetError(f"there is no agent {agent}: name one of {', '.join(AGENTS)}")
    rom = roms.rom_path(game, rom_set)
    home = folder / game / str(run)
    if run_log.is_finished(home):
        raise DatasetError(f"{home} holds a run that is finished: name another run or folder")
    identity = _identity(game, agent, run, seed, rom_set, rom, schedule)
    with (
        training_folder.opened(home / run_log.TRAINING, identity),
        _replay_log(home / FOLDER_NAME, schedule) as log,
        progress(f"{game} {run}", schedule) as report,
    ):
        environment = atari.AtariEnvironment(
            rom,
            [seed, run, 0],
            sticky_probability=schedule.sticky_probability,
            max_steps=schedule.max_episode_steps,
        )
        player = Agent(AGENTS[agent], environment, schedule, log, [seed, run, 1])
        logged = _LoggedRun(home, identity, environment, log, player, schedule, report)
        logged.resume()
        while len(logged.iterations) < schedule.iterations:
            logged.play_iteration()
            logged.keep()
            report(0, logged.iterations)
    logged.describe(is_finished=True)
    shutil.rmtree(home / run_log.TRAINING)
    return home


@dataclasses.dataclass
class _LoggedRun:
    """The current state of a run, on disk and in memory."""

    home: pathlib.Path
    identity: Mapping[str, Any]
    environment: atari.AtariEnvironment
    log: ReplayLog
    agent: Agent
    schedule: AtariSchedule
    report: Callable[[int, list[list[PlayedEpisode]]], None]
    iterations: list[list[PlayedEpisode]] = dataclasses.field(default_factory=list)
    _actions: list[int] = dataclasses.field(default_factory=list)

    def play_iteration(self) -> None:
        """Plays with the agent."""
        self._actions = []
        self._play(self.agent.choose)

    def keep(self) -> None:
        """Saves all that the next iteration needs; writing the agent's state last commits it."""
        number = len(self.iterations) - 1
        actions = {"action": np.array(self._actions, np.uint8)}
        npz.write_arrays(self._training(f"actions-{number:05}.npz"), actions)
        self.describe(is_finished=False)
        facts = {
            "iterations": self.iterations,
            "steps": self.agent.steps,
            "rng": self.agent.rng.bit_generator.state,
        }
        checkpoint.save(self._training(checkpoint.FILE_NAME), self.agent.state, facts)

    def resume(self) -> None:
        """Plays the saved iterations again, and restores the agent's state."""
        path = self._training(checkpoint.FILE_NAME)
        if not path.exists():
            return
        what_to_do = f"delete {self.home} to log from the start"
        state, facts, _ = checkpoint.restore(path, self.agent.state, what_to_do)
        expected = [[PlayedEpisode(*each) for each in episodes] for episodes in facts["iterations"]]
        for number, episodes in enumerate(expected):
            kept = npz.read_arrays(self._training(f"actions-{number:05}.npz"), what_to_do)
            with contextlib.suppress(_NoActionLeft):
                self._play(_replay(kept["action"]))
            if self.iterations[number:] != [episodes]:
                raise DatasetError(
                    f"{self.identity['game']} does not repeat iteration {number} of {self.home} "
                    f"as it was played: {what_to_do}"
                )
        self.agent.steps, self.agent.state = facts["steps"], state
        self.agent.rng.bit_generator.state = facts["rng"]

    def describe(self, is_finished: bool) -> None:
        """Writes what the run is and how its iterations went."""
        summaries = [
            {
                "steps": sum(each.steps for each in episodes),
                "episodes": len(episodes),
                "mean_return": float(np.mean([each.episode_return for each in episodes])),
            }
            for episodes in self.iterations
        ]
        description = {
            **self.identity,
            "code_version": code_version(),
            "is_finished": is_finished,
            "iterations": summaries,
        }
        returns = {
            name: [[getattr(each, name) for each in episodes] for episodes in self.iterations]
            for name in PlayedEpisode._fields
        }
        files.write(self.home / RETURNS, json.dumps(returns) + "\n")
        run_log.write(self.home, description)

    def _play(self, choose: Callable[[np.ndarray], int]) -> None:
        episodes: list[PlayedEpisode] = []
        steps = 0
        while steps < self.schedule.steps_per_iteration:
            episodes.append(self._play_episode(choose, steps))
            steps += episodes[-1].steps
        self.iterations.append(episodes)

    def _play_episode(
        self, choose: Callable[[np.ndarray], int], steps_before: int
    ) -> PlayedEpisode:
        self.agent.begin_episode()
        timestep = self.environment.reset()
        episode_return = 0.0
        for step in itertools.count(1):
            frame, action = timestep.observation, choose(timestep.observation)
            timestep = self.environment.step(action)
            self._actions.append(action)
            episode_return += timestep.reward
            # Dopamine logs a time limit as terminal too.
            self.log.add(frame[..., 0], action, clipped(timestep.reward), timestep.last())
            if step % _PROGRESS_EVERY == 0:
                self.report(steps_before + step, self.iterations)
            if timestep.last():
                break
        return PlayedEpisode(self.environment.episode_seed, step, episode_return)

    def _training(self, name: str) -> pathlib.Path:
        return self.home / run_log.TRAINING / name


class _NoActionLeft(Exception):
    """An iteration that is played again needs more actions than were saved."""


def _replay(actions: np.ndarray) -> Callable[[np.ndarray], int]:
    """A policy that takes the actions [N] one after the other, whatever it observes."""
    left = iter(actions.tolist())

    def choose(frame: np.ndarray) -> int:
        for action in left:
            return action
        raise _NoActionLeft

    return choose


def _identity(
    game: str,
    agent: str,
    run: int,
    seed: int,
    rom_set: RomSet,
    rom: pathlib.Path,
    schedule: AtariSchedule,
) -> dict[str, Any]:
    """All that determines a run's bytes."""
    config = AGENTS[agent]
    identity = {
        "game": game,
        "run": run,
        "agent": agent,
        "seed": seed,
        "rom_set": rom_set,
        "rom_md5": hashlib.md5(rom.read_bytes()).hexdigest(),
        "sticky_probability": schedule.sticky_probability,
        "time_limit": schedule.max_episode_steps,
        "schedule": dataclasses.asdict(schedule),
        "config": None if config is None else dataclasses.asdict(config),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
    return json.loads(json.dumps(identity))


@contextlib.contextmanager
def _replay_log(folder: pathlib.Path, schedule: AtariSchedule) -> Iterator[ReplayLog]:
    """An empty log: files that an interrupted run wrote are deleted, and will be written again."""
    shutil.rmtree(folder, ignore_errors=True)
    with ReplayLog(folder, schedule.checkpoint_rows) as log:
        yield log
