"""An agent learns an Atari game online and logs all that it saw, as DQN Replay was made.

The agent and its schedule are Dopamine's (Castro et al. 2018, arXiv:1812.06110; dqn.gin), which
Agarwal et al. 2020 (arXiv:1907.04543) logged: `<folder>/<Game>/<run>` comes to hold

    replay_logs/  the replay buffer's checkpoints, in Dopamine's layout
    log.json      what the run is, and how each iteration went
    returns.json  of every episode the seed, the steps and the return before rewards are clipped
    training/     what a run that was cut goes on from; gone when it is finished

An iteration is at least so many agent steps, and ends with an episode. A run that was cut goes on
after its last whole iteration and ends as it would have. Neither the buffer nor the emulator is
saved for that, but every action: the episodes are played again from their seeds, without learning.

Against Dopamine's TensorFlow agent one thing is not the same: target parameters are copied every
2,000 gradient steps from the first, which may be up to 2,000 later than every 8,000 agent steps.
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
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import rich.console
import rich.progress

from benchmarks.training import online_checkpoint
from benchmarks.training.results import code_version
from learners import dqn, qr_dqn
from learners.types import DiscreteSpec, Learner
from rl_datasets import files, npz, roms, run_log
from rl_datasets.collection import atari
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from rl_datasets.serving.transitions import Transition
from rl_datasets.sources.atari import ATARI_GAMES
from rl_datasets.sources.dqn_replay import FOLDER_NAME, STACK_SIZE

AGENTS: Mapping[str, dqn.Config | qr_dqn.Config | None] = {
    "dqn": dqn.Config(),
    "dqn_adam": dqn.ADAM,
    "qr_dqn": qr_dqn.Config(),
    "random": None,
}
LIBRARIES = ("ale-py", "jax", "dm-haiku", "optax", "numpy")
RETURNS = "returns.json"
COLUMNS = (
    rich.progress.TextColumn("{task.description}"),
    rich.progress.BarColumn(),
    rich.progress.TextColumn("{task.fields[iterations]} iterations, {task.fields[mean_return]}"),
    rich.progress.TimeElapsedColumn(),
    rich.progress.TimeRemainingColumn(),
)
STACK_SHAPE = (*atari.FRAME_SHAPE[:2], STACK_SIZE)
_PROGRESS_EVERY = 100  # steps


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How much is played and learned, in agent steps of four frames; defaults are Dopamine's.

    Attributes:
      iterations: how many.
      steps_per_iteration: at least; the episode that reaches it is played to its end.
      checkpoint_rows: of the replay buffer, and so of a checkpoint.
      min_replay: rows, padding included, that the buffer must exceed before the agent learns.
      update_period: steps between gradient steps.
      target_period: steps between copies of the parameters; a multiple of `update_period`.
      epsilon: probability of a random action at the end.
      epsilon_decay_steps: in which that falls from 1, linearly, after `min_replay` steps.
      batch_size: transitions of a gradient step.
      max_episode_steps: after which an episode is cut.
      sticky_probability: that a frame keeps the action before.
    """

    iterations: int = 200
    steps_per_iteration: int = 250_000
    checkpoint_rows: int = 1_000_000
    min_replay: int = 20_000
    update_period: int = 4
    target_period: int = 8_000
    epsilon: float = 0.01
    epsilon_decay_steps: int = 250_000
    batch_size: int = 32
    max_episode_steps: int = atari.MAX_STEPS
    sticky_probability: float = atari.STICKY_PROBABILITY

    def __post_init__(self) -> None:
        counts = ("iterations", "steps_per_iteration", "update_period", "batch_size")
        for name in (*counts, "epsilon_decay_steps", "max_episode_steps"):
            if getattr(self, name) < 1:
                raise DatasetError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.target_period < 1 or self.target_period % self.update_period:
            raise DatasetError(
                f"target_period must be a multiple of update_period, {self.update_period}, got "
                f"{self.target_period}"
            )
        if not 2 * STACK_SIZE <= self.min_replay < self.checkpoint_rows:
            raise DatasetError(
                f"min_replay must be at least {2 * STACK_SIZE} and below checkpoint_rows, "
                f"{self.checkpoint_rows}, got {self.min_replay}"
            )

    def epsilon_at(self, step: int) -> float:
        """Probability of a random action once `step` steps were taken."""
        left = (self.min_replay + self.epsilon_decay_steps - step) / self.epsilon_decay_steps
        return self.epsilon + (1 - self.epsilon) * float(np.clip(left, 0, 1))


class Episode(NamedTuple):
    """An episode that was played, by the emulator's seed."""

    seed: int
    steps: int
    episode_return: float  # of rewards as the game gave them


def log_run(
    game: str,
    folder: pathlib.Path,
    *,
    agent: str = "dqn",
    run: int = 1,
    seed: int = 0,
    rom_set: RomSet = RomSet.ALE,
    schedule: Schedule | None = None,
) -> pathlib.Path:
    """Logs a run of an agent that learns a game; the same call goes on with one that was cut.

    Args:
      game: as DQN Replay spells it, such as `MsPacman`.
      folder: to hold `<game>/<run>`.
      agent: of `AGENTS`.
      run: a number, which also tells the seeds of several runs apart.
      seed: of networks, exploration, sampling and emulator.
      rom_set: whose ROM of the game is played.
      schedule: None for Dopamine's in full.

    Returns:
      The folder of the run.

    Raises:
      DatasetError: there is no such game, agent or ROM; the folder holds another run, or this one
        finished, or another process logs into it; or it cannot be written.
    """
    schedule = schedule or Schedule()
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
        online_checkpoint.opened(home / run_log.TRAINING, identity),
        _replay_log(home / FOLDER_NAME, schedule) as log,
        _progress(f"{game} {run}", schedule) as report,
    ):
        environment = atari.AtariEnvironment(
            rom,
            [seed, run, 0],
            sticky_probability=schedule.sticky_probability,
            max_steps=schedule.max_episode_steps,
        )
        player = _Agent(AGENTS[agent], environment, schedule, log, [seed, run, 1])
        logged = _LoggedRun(home, identity, environment, log, player, schedule, report)
        logged.go_on()
        while len(logged.iterations) < schedule.iterations:
            logged.play_iteration()
            logged.keep()
            report(0, logged.iterations)
    logged.describe(is_finished=True)
    shutil.rmtree(home / run_log.TRAINING)
    return home


class _Agent:
    """Acts epsilon-greedily on stacks of frames, and learns from what the log holds.

    One call of `choose` is one step of Dopamine's agent: it learns, if it is time, and then acts.
    """

    def __init__(
        self,
        config: dqn.Config | qr_dqn.Config | None,
        environment: atari.AtariEnvironment,
        schedule: Schedule,
        log: ReplayLog,
        seed: list[int],
    ):
        self.steps = 0
        self.rng = np.random.default_rng(seed)
        self.state: Any = None  # of the learner, if there is one
        self._learner: Learner | None = None
        self._schedule, self._log = schedule, log
        self._num_actions = environment.action_spec().num_values
        self._stack = np.zeros(STACK_SHAPE, np.uint8)
        key = jax.random.PRNGKey(int(self.rng.integers(2**31)))
        if config is not None:
            spec = DiscreteSpec(self._num_actions, STACK_SHAPE)
            period = schedule.target_period // schedule.update_period
            module: Any = qr_dqn if isinstance(config, qr_dqn.Config) else dqn
            self._learner = module.make(dataclasses.replace(config, target_period=period), spec)
            self.state = self._learner.init(key)

    def begin_episode(self) -> None:
        self._stack[:] = 0

    def choose(self, frame: np.ndarray) -> int:
        """The action [] in a frame [84, 84, 1]."""
        self._stack = np.concatenate([self._stack[..., 1:], frame], axis=-1)
        if self._learner is None:
            return int(self.rng.integers(self._num_actions))
        is_warm = self._log.add_count > self._schedule.min_replay
        if is_warm and self.steps % self._schedule.update_period == 0:
            batch = sample_batch(self._log, self.rng, self._schedule.batch_size)
            self.state, _ = self._learner.update(self.state, batch)
        self.steps += 1
        if self.rng.random() <= self._schedule.epsilon_at(self.steps):
            return int(self.rng.integers(self._num_actions))
        return int(self._learner.act(self.state, jax.numpy.asarray(self._stack[None]))[0])


def sample_batch(log: ReplayLog, rng: np.random.Generator, batch_size: int) -> Transition:
    """A batch [1, B, ...] of stacked transitions, drawn as Dopamine's circular buffer draws them.

    A row may be drawn whose stack and successor are in the buffer, and whose stack holds no other
    episode; that leaves out padding too, which follows a terminal row.

    Args:
      log: with a valid row or more.
      rng: to draw with.
      batch_size: B.
    """
    store = log.store
    capacity = len(store["action"])
    is_full = log.add_count >= capacity
    first = log.add_count - capacity + STACK_SIZE if is_full else STACK_SIZE - 1
    before = np.arange(1 - STACK_SIZE, 0)

    def draw(size: int) -> np.ndarray:
        return rng.integers(first, log.add_count - 1, size)

    rows = draw(batch_size)
    while np.any(is_cut := store["terminal"][(rows[:, None] + before) % capacity].any(axis=1)):
        rows[is_cut] = draw(np.count_nonzero(is_cut))
    window = np.append(before, [0, 1])
    frames = store["observation"][(rows[:, None] + window) % capacity]
    frames = np.moveaxis(frames, 1, -1)[None]
    places = rows[None] % capacity
    return Transition(
        observation=np.ascontiguousarray(frames[..., :-1]),
        action=store["action"][places],
        reward=store["reward"][places],
        discount=1 - store["terminal"][places].astype(np.float32),
        next_observation=np.ascontiguousarray(frames[..., 1:]),
        extras={},
    )


@dataclasses.dataclass
class _LoggedRun:
    """A run as it stands, on disk and in memory."""

    home: pathlib.Path
    identity: Mapping[str, Any]
    environment: atari.AtariEnvironment
    log: ReplayLog
    agent: _Agent
    schedule: Schedule
    report: Callable[[int, list[list[Episode]]], None]
    iterations: list[list[Episode]] = dataclasses.field(default_factory=list)
    _actions: list[int] = dataclasses.field(default_factory=list)

    def play_iteration(self) -> None:
        """Plays with the agent."""
        self._actions = []
        self._play(self.agent.choose)

    def keep(self) -> None:
        """Writes all that the next iteration needs; the agent's state last, as the commit."""
        number = len(self.iterations) - 1
        actions = {"action": np.array(self._actions, np.uint8)}
        npz.write_arrays(self._training(f"actions-{number:05}.npz"), actions)
        self.describe(is_finished=False)
        leaves = jax.tree.leaves(self.agent.state)
        plain = {
            "iterations": self.iterations,
            "steps": self.agent.steps,
            "rng": self.agent.rng.bit_generator.state,
        }
        arrays = {f"leaf-{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)}
        arrays["plain"] = np.array(json.dumps(plain))
        npz.write_arrays(self._training("agent.npz"), arrays)

    def go_on(self) -> None:
        """Plays the iterations that were kept again, and gives the agent its state back."""
        path = self._training("agent.npz")
        if not path.exists():
            return
        anew = f"delete {self.home} to log from the start"
        arrays = npz.read_arrays(path, anew)
        plain = json.loads(str(arrays["plain"]))
        expected = [[Episode(*each) for each in episodes] for episodes in plain["iterations"]]
        for number, episodes in enumerate(expected):
            kept = npz.read_arrays(self._training(f"actions-{number:05}.npz"), anew)
            with contextlib.suppress(_NoActionLeft):
                self._play(_again(kept["action"]))
            if self.iterations[number:] != [episodes]:
                raise DatasetError(
                    f"{self.identity['game']} does not play iteration {number} of {self.home} again"
                    f" as it was: {anew}"
                )
        self.agent.steps = plain["steps"]
        self.agent.rng.bit_generator.state = plain["rng"]
        leaves, structure = jax.tree.flatten(self.agent.state)
        state = [jax.numpy.asarray(arrays[f"leaf-{index}"]) for index in range(len(leaves))]
        self.agent.state = jax.tree.unflatten(structure, state)

    def describe(self, is_finished: bool) -> None:
        """Writes what the run is and how it went."""
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
            for name in Episode._fields
        }
        files.write(self.home / RETURNS, json.dumps(returns) + "\n")
        run_log.write(self.home, description)

    def _play(self, choose: Callable[[np.ndarray], int]) -> None:
        episodes: list[Episode] = []
        steps = 0
        while steps < self.schedule.steps_per_iteration:
            episodes.append(self._play_episode(choose, steps))
            steps += episodes[-1].steps
        self.iterations.append(episodes)

    def _play_episode(self, choose: Callable[[np.ndarray], int], steps_before: int) -> Episode:
        self.agent.begin_episode()
        timestep = self.environment.reset()
        episode_return = 0.0
        for step in itertools.count(1):
            frame, action = timestep.observation, choose(timestep.observation)
            timestep = self.environment.step(action)
            self._actions.append(action)
            episode_return += timestep.reward
            # Dopamine logs a time limit as terminal too.
            self.log.add(frame[..., 0], action, np.clip(timestep.reward, -1, 1), timestep.last())
            if step % _PROGRESS_EVERY == 0:
                self.report(steps_before + step, self.iterations)
            if timestep.last():
                break
        return Episode(self.environment.episode_seed, step, episode_return)

    def _training(self, name: str) -> pathlib.Path:
        return self.home / run_log.TRAINING / name


class _NoActionLeft(Exception):
    """An iteration that is played again is longer than it was."""


def _again(actions: np.ndarray) -> Callable[[np.ndarray], int]:
    """Chooses the actions [N] one after the other, whatever is seen."""
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
    schedule: Schedule,
) -> dict[str, Any]:
    """All that a run's bytes follow from."""
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
def _replay_log(folder: pathlib.Path, schedule: Schedule) -> Iterator[ReplayLog]:
    """A log from the start: what a run that was cut had written is written again."""
    shutil.rmtree(folder, ignore_errors=True)
    with ReplayLog(folder, schedule.checkpoint_rows) as log:
        yield log


@contextlib.contextmanager
def _progress(
    name: str, schedule: Schedule
) -> Iterator[Callable[[int, list[list[Episode]]], None]]:
    """A bar on a terminal's standard error, and a line an iteration where that is no terminal."""
    console = rich.console.Console(stderr=True)
    total = schedule.iterations * schedule.steps_per_iteration
    told = 0

    def describe(iterations: list[list[Episode]]) -> str:
        if not iterations:
            return "no return yet"
        return f"mean return {np.mean([each.episode_return for each in iterations[-1]]):,.1f}"

    def tell(steps: int, iterations: list[list[Episode]]) -> None:
        nonlocal told
        if len(iterations) > told:
            told = len(iterations)
            line = f"{name}: {told} of {schedule.iterations} iterations, {describe(iterations)}"
            print(line, file=sys.stderr, flush=True)

    if not console.is_terminal:
        yield tell
        return
    with rich.progress.Progress(*COLUMNS, console=console) as bar:
        task = bar.add_task(name, total=total, iterations=0, mean_return="")
        yield lambda steps, iterations: bar.update(
            task,
            completed=len(iterations) * schedule.steps_per_iteration + steps,
            iterations=len(iterations),
            mean_return=describe(iterations),
        )
