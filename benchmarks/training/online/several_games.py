"""Trains an agent on several copies of an Atari game at once, as Tianshou's atari_qrdqn.py does.

The schedule is that of Tianshou's examples (thu-ml/tianshou, examples/atari, commit 3592f45), whose
agents made the data of its offline examples. Each step of all games is followed by one update.
After each epoch the agent plays test episodes, and it is saved if this test is the best so far.
Training ends when a test reaches the target return. Games have no sticky actions and begin with
no-ops and FIRE. In training, rewards are clipped, and a lost life ends the learner's episode while
the game continues. Tests play whole games, and their rewards are not clipped.

There are three differences. At the start of an episode, stacks of frames are filled up with zeros,
where Tianshou repeats the first frame. Frames have ALE's own grey; Tianshou has OpenCV convert the
colours. After a lost life the agent itself continues the game, where Tianshou takes a no-op and
FIRE for it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from isal import igzip

from benchmarks.training import checkpoint
from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.game_evaluation import play_games
from benchmarks.training.online import agent_file, training_folder
from benchmarks.training.online.games_buffer import GamesBuffer
from benchmarks.training.results import code_version
from learners import qr_dqn
from learners.types import DiscreteSpec
from rl_datasets import roms
from rl_datasets.collection.atari import AtariGames
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from rl_datasets.sources.atari import ATARI_GAMES

LEARNER = "qr_dqn"
STOP_AT = {"Pong": 20.0}  # as in atari_qrdqn.py; other games train to the last epoch


@dataclasses.dataclass(frozen=True)
class GamesSchedule:
    """How long an agent learns from several games; steps are those of all games together.

    Attributes:
      games: number of games played at once.
      buffer_rows: number of rows of the replay buffer.
      n_step: number of rewards in a transition.
      warm_up: number of steps before the first update.
      batch_size: number of transitions of an update.
      epochs: the largest number of epochs.
      steps_per_epoch: number of steps of an epoch, after which the agent is tested.
      epsilon_start, epsilon: probability of a random action at the start, and at the end.
      epsilon_decay_steps: number of steps in which this probability falls, linearly.
      test_episodes: number of episodes of a test.
      test_epsilon: probability of a random action in a test.
      most_no_ops: the largest number of no-ops at the beginning of an episode.
    """

    games: int = 10
    buffer_rows: int = 100_000
    n_step: int = 3
    warm_up: int = 320
    batch_size: int = 32
    epochs: int = 100
    steps_per_epoch: int = 100_000
    epsilon_start: float = 1.0
    epsilon: float = 0.05
    epsilon_decay_steps: int = 1_000_000
    test_episodes: int = 10
    test_epsilon: float = 0.005
    most_no_ops: int = 30

    def __post_init__(self) -> None:
        for name in ("buffer_rows", "steps_per_epoch"):
            if getattr(self, name) % self.games:
                raise DatasetError(
                    f"{name} must be a multiple of games, {self.games}, got {getattr(self, name)}"
                )

    def epsilon_at(self, step: int) -> float:
        """Probability of a random action after `step` steps."""
        share = min(1.0, step / self.epsilon_decay_steps)
        return self.epsilon_start + share * (self.epsilon - self.epsilon_start)


def train_agent(
    game: str,
    path: pathlib.Path,
    *,
    seed: int = 0,
    rom_set: RomSet = RomSet.ALE,
    schedule: GamesSchedule | None = None,
    config: qr_dqn.Config | None = None,
    stop_at: float | None = None,
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> agent_file.TrainedAgent:
    """Trains an agent and saves it; the same call continues an interrupted training.

    Args:
      game: the game, as DQN Replay spells it, such as `Pong`.
      path: the agent's `.npz` file; until the training is finished, its state is in a folder beside
        it with the same name and the suffix `.training`.
      seed: the seed of networks, exploration, sampling and emulators.
      rom_set: the set whose ROM of the game is played.
      schedule: the schedule; None for Tianshou's.
      config: the learner's `Config`; None for Tianshou's.
      stop_at: mean return of a test that ends the training; None for the one in `STOP_AT`, if any.
      report: called with a line of text after each test.

    Returns:
      The agent of the best test.

    Raises:
      DatasetError: there is no such ROM; the file is not an .npz; another process trains in the
        folder, or it holds another training or a damaged one.
    """
    if path.suffix != ".npz":
        raise DatasetError(f"an agent is written to an .npz file, and {path} is not one: name one")
    if game not in ATARI_GAMES:
        raise DatasetError(f"{game} is not one of DQN Replay's games: name one, such as Pong")
    if path.exists():
        raise DatasetError(f"{path} is there already: name another file")
    schedule, config = schedule or GamesSchedule(), config or qr_dqn.TIANSHOU
    rom = roms.rom_path(game, rom_set)
    goal = STOP_AT.get(game) if stop_at is None else stop_at
    identity = {
        "game": game,
        "seed": seed,
        "rom_set": rom_set,
        "rom_md5": hashlib.md5(rom.read_bytes()).hexdigest(),
        "schedule": dataclasses.asdict(schedule),
        "config": dataclasses.asdict(config),
        "stop_at": goal,
    }
    folder = path.with_suffix(".training")
    with training_folder.opened(folder, identity):
        training = _Training(rom, schedule, config, seed, folder)
        training.resume()
        while not training.is_done(goal):
            training.play_epoch()
            training.save(lambda best: _save_agent(best, training, config, identity))
            report(f"{game}: {training.summary()}")
        agent = agent_file.load(folder / "best.npz", f"delete {folder} to train from the start")
        (folder / "best.npz").replace(path)
    shutil.rmtree(folder)
    return agent


def _save_agent(
    path: pathlib.Path, training: _Training, config: qr_dqn.Config, identity: Mapping[str, Any]
) -> None:
    facts = {
        **identity,
        "num_actions": training.games.num_actions,
        "steps": training.step,
        "tests": training.tests,
        "code_version": code_version(),
    }
    agent_file.save(path, LEARNER, config, training.state.params, facts)


class _Training:
    """Everything that changes while the agent learns.

    Attributes:
      games: the games that it plays.
      state: the learner's state.
      step: number of steps so far, of all games together.
      tests: mean return of each test so far.
    """

    def __init__(
        self,
        rom: pathlib.Path,
        schedule: GamesSchedule,
        config: qr_dqn.Config,
        seed: int,
        folder: pathlib.Path,
    ):
        self.games = AtariGames(
            rom,
            schedule.games,
            sticky_probability=0,
            most_no_ops=schedule.most_no_ops,
            presses_fire=True,
        )
        self.step, self.tests = 0, list[float]()
        self._rom, self._schedule, self._folder, self._seed = rom, schedule, folder, seed
        self._rng = np.random.default_rng(seed)
        self._learner = qr_dqn.make(config, DiscreteSpec(self.games.num_actions))
        self.state = self._learner.init(jax.random.PRNGKey(seed))
        self._buffer = GamesBuffer(
            schedule.buffer_rows // schedule.games, schedule.games, schedule.n_step, config.discount
        )
        self._actions: list[list[int]] = [[] for _ in range(schedule.games)]
        self._seeds = [self._draw_seed() for _ in range(schedule.games)]
        self._frames = self.games.begin(range(schedule.games), self._seeds)

    def is_done(self, stop_at: float | None) -> bool:
        """Whether a test has reached the target return, or all epochs have been played."""
        has_reached = stop_at is not None and bool(self.tests) and max(self.tests) >= stop_at
        return has_reached or len(self.tests) >= self._schedule.epochs

    def summary(self) -> str:
        """The result of the last test, as a line of text."""
        return (
            f"{self.step:,} steps, {int(self.state.steps):,} updates, mean return "
            f"{self.tests[-1]:,.1f} in a test, {max(self.tests):,.1f} in the best"
        )

    def play_epoch(self) -> None:
        """Plays and learns for an epoch, then tests the agent."""
        for _ in range(self._schedule.steps_per_epoch // self._schedule.games):
            self._play_step()
            if self.step > self._schedule.warm_up:
                batch = self._buffer.sample(self._rng, self._schedule.batch_size)
                self.state, _ = self._learner.update(self.state, batch)
        self.tests.append(self._test())

    def _play_step(self) -> None:
        stacks = self._buffer.stacks(self._frames)
        actions = self._choose(stacks, self._schedule.epsilon_at(self.step), self._rng)
        taken = self.games.step(actions)
        self._buffer.add(self._frames, actions, taken)
        self._frames = taken.frame
        self.step += self._schedule.games
        for game, action in enumerate(actions.tolist()):
            self._actions[game].append(action)
        for game in np.flatnonzero(taken.is_over | taken.is_truncated).tolist():
            self._actions[game], self._seeds[game] = [], self._draw_seed()
            self._frames[game] = self.games.begin([game], [self._seeds[game]])[0]

    def _greedy(self, stacks: np.ndarray) -> np.ndarray:
        return np.asarray(self._learner.act(self.state, jax.numpy.asarray(stacks)))

    def _choose(self, stacks: np.ndarray, epsilon: float, rng: np.random.Generator) -> np.ndarray:
        greedy = self._greedy(stacks)
        at_random = rng.integers(self.games.num_actions, size=len(greedy))
        return np.where(rng.random(len(greedy)) < epsilon, at_random, greedy)

    def _test(self) -> float:
        """The mean return of test episodes, each in an emulator of its own."""
        schedule = self._schedule
        protocol = AtariProtocol(
            evaluation_epsilon=schedule.test_epsilon,
            sticky_probability=0.0,
            most_no_ops=schedule.most_no_ops,
            presses_fire=True,
        )
        seed, count = [self._seed, len(self.tests), 1], schedule.test_episodes
        return float(play_games(self._rom, protocol, self._greedy, count, seed, count).mean())

    def _draw_seed(self) -> int:
        return int(self._rng.integers(2**31))

    def save(self, save_best: Callable[[pathlib.Path], None]) -> None:
        """Saves all that the next epoch needs; the training state is last, as the commit."""
        if self.tests[-1] > max(self.tests[:-1], default=-np.inf):
            save_best(self._folder / "best.npz")
        facts = {
            "step": self.step,
            "tests": self.tests,
            "rng": self._rng.bit_generator.state,
            "seeds": self._seeds,
            "actions": self._actions,
            "buffer": {
                name: (array.shape, str(array.dtype)) for name, array in self._buffer.arrays.items()
            },
            "count": self._buffer.count,
        }
        stored = {
            f"buffer-{name}": np.frombuffer(igzip.compress(array.tobytes(), 1), np.uint8)
            for name, array in self._buffer.arrays.items()
        }
        checkpoint.save(self._folder / checkpoint.FILE_NAME, self.state, facts, stored)

    def resume(self) -> None:
        """Restores an interrupted training, and plays its unfinished episodes again."""
        path = self._folder / checkpoint.FILE_NAME
        if not path.exists():
            return
        what_to_do = f"delete {self._folder} to train from the start"
        self.state, facts, arrays = checkpoint.restore(path, self.state, what_to_do)
        self.step, self.tests, self._seeds = facts["step"], facts["tests"], facts["seeds"]
        self._actions = facts["actions"]
        self._rng.bit_generator.state = facts["rng"]
        for name, (shape, dtype) in facts["buffer"].items():
            content = igzip.decompress(arrays[f"buffer-{name}"].tobytes())
            self._buffer.arrays[name][...] = np.frombuffer(content, dtype).reshape(shape)
        self._buffer.count = facts["count"]
        self._play_again()

    def _play_again(self) -> None:
        """Plays the unfinished episodes from their beginnings, so that all reach their last step
        at the same time.
        """
        longest = max(map(len, self._actions))
        begins = [longest - len(actions) for actions in self._actions]
        frames = self._frames
        for step in range(longest + 1):
            for game in [g for g, begin in enumerate(begins) if begin == step]:
                frames[game] = self.games.begin([game], [self._seeds[game]])[0]
            if step == longest:
                break
            actions = [
                self._actions[game][step - begin] if step >= begin else 0
                for game, begin in enumerate(begins)
            ]
            frames = self.games.step(np.array(actions)).frame
        self._frames = frames
