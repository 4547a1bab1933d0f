"""Trains an agent online on an Atari game and logs all that it saw, as DQN Replay was made.

The agent and its schedule are Dopamine's (Castro et al. 2018, arXiv:1812.06110; dqn.gin), which
Agarwal et al. 2020 (arXiv:1907.04543) logged. The folder of a run, `<folder>/<Game>/<run>`, holds

    replay_logs/  the replay buffer's checkpoints, in Dopamine's layout
    log.json      what the run is, and how each iteration went
    returns.json  the seed, the steps and the return, with rewards not clipped, of every episode
    agent.npz     the agent at the end, if it learned: see `training.teacher`
    training/     what an interrupted run continues from; deleted when the run is finished

An interrupted run continues after its last whole iteration, and ends as it would have without the
interruption: see `played_run.py`.

There is one difference to Dopamine's TensorFlow agent: target parameters are copied every 2,000
gradient steps from the first, which may be up to 2,000 later than every 8,000 agent steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.training import checkpoint
from benchmarks.training.online import agent_file, training_folder
from benchmarks.training.online.atari_agent import AGENTS, Agent, learner_of, paced
from benchmarks.training.online.atari_schedule import AtariSchedule, PlayedEpisode, progress
from benchmarks.training.online.played_run import PlayedRun
from benchmarks.training.online.replay_sampling import Uniform
from benchmarks.training.results import code_version
from learners import dqn, qr_dqn
from rl_datasets import files, roms, run_log
from rl_datasets.collection import atari
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from rl_datasets.sources.atari import ATARI_GAMES
from rl_datasets.sources.dqn_replay import FOLDER_NAME

LIBRARIES = ("ale-py", "jax", "dm-haiku", "optax", "numpy")
RETURNS = "returns.json"


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
        played = PlayedRun(
            game, environment, log, schedule.steps_per_iteration, home / run_log.TRAINING, report
        )
        player = _agent(agent, environment, schedule, log, [seed, run, 1])
        logged = _LoggedRun(home, identity, played, player)
        logged.resume()
        while len(played.iterations) < schedule.iterations:
            logged.play_iteration()
            report(0, played.iterations)
        _save_agent(home / run_log.AGENT, AGENTS[agent], player, schedule, identity)
    logged.describe(is_finished=True)
    shutil.rmtree(home / run_log.TRAINING)
    return home


@dataclasses.dataclass
class _LoggedRun:
    """A run that is played, and what it keeps on disk."""

    home: pathlib.Path
    identity: Mapping[str, Any]
    played: PlayedRun
    agent: Agent

    def play_iteration(self) -> None:
        """Plays an iteration, and saves all that the next one needs; the agent's state commits."""
        self.played.play_iteration(self.agent.choose, self.agent.begin_episode)
        self.played.keep_actions()
        self.describe(is_finished=False)
        facts = {
            "iterations": self.played.iterations,
            "steps": self.agent.steps,
            "rng": self.agent.rng.bit_generator.state,
        }
        checkpoint.save(self._checkpoint, self.agent.state, facts)

    def resume(self) -> None:
        """Plays the saved iterations again, and restores the agent's state."""
        if not self._checkpoint.exists():
            return
        what_to_do = f"delete {self.home} to log from the start"
        state, facts, _ = checkpoint.restore(self._checkpoint, self.agent.state, what_to_do)
        expected = [[PlayedEpisode(*each) for each in episodes] for episodes in facts["iterations"]]
        self.played.play_again(expected, what_to_do)
        self.agent.steps, self.agent.state = facts["steps"], state
        self.agent.rng.bit_generator.state = facts["rng"]

    def describe(self, is_finished: bool) -> None:
        """Writes what the run is and how its iterations went."""
        iterations = self.played.iterations
        summaries = [
            {
                "steps": sum(each.steps for each in episodes),
                "episodes": len(episodes),
                "mean_return": float(np.mean([each.episode_return for each in episodes])),
            }
            for episodes in iterations
        ]
        description = {
            **self.identity,
            "code_version": code_version(),
            "is_finished": is_finished,
            "iterations": summaries,
        }
        agent = self.home / run_log.AGENT
        if is_finished and agent.exists():
            description["agent_sha256"] = files.sha256_of(agent)
        returns = {
            name: [[getattr(each, name) for each in episodes] for episodes in iterations]
            for name in PlayedEpisode._fields
        }
        files.write(self.home / RETURNS, json.dumps(returns) + "\n")
        run_log.write(self.home, description)

    @property
    def _checkpoint(self) -> pathlib.Path:
        return self.home / run_log.TRAINING / checkpoint.FILE_NAME


def _agent(
    name: str,
    environment: atari.AtariEnvironment,
    schedule: AtariSchedule,
    log: ReplayLog,
    seed: list[int],
) -> Agent:
    num_actions = environment.action_spec().num_values
    learner = learner_of(AGENTS[name], num_actions, schedule)
    rng = np.random.default_rng(seed)
    key = jax.random.PRNGKey(int(rng.integers(2**31)))
    return Agent(
        learner,
        None if learner is None else learner.init(key),
        num_actions,
        Uniform(log),
        rng,
        schedule.epsilon_at,
        schedule.min_replay,
        schedule.update_period,
        schedule.batch_size,
    )


def _save_agent(
    path: pathlib.Path,
    config: dqn.Config | qr_dqn.Config | None,
    agent: Agent,
    schedule: AtariSchedule,
    identity: Mapping[str, Any],
) -> None:
    """Writes what the agent has learned, if it is one that learns."""
    if config is not None:
        name = "qr_dqn" if isinstance(config, qr_dqn.Config) else "dqn"
        facts = {**identity, "num_actions": agent.num_actions}
        agent_file.save(path, name, paced(config, schedule), agent.state.params, facts)


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
