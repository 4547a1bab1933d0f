"""What an agent plays in a game, iteration by iteration, and how it is played again after a stop.

An iteration takes at least a given number of agent steps, and ends with an episode. Neither the
buffer nor the emulator is saved, only every action: the episodes are played again from their seeds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.training.online.atari_schedule import PlayedEpisode
from rl_datasets import npz
from rl_datasets.collection import atari
from rl_datasets.collection.replay_log import ReplayBuffer
from rl_datasets.errors import DatasetError
from rl_datasets.sources.atari import clipped

_PROGRESS_EVERY = 100  # steps


@dataclasses.dataclass
class PlayedRun:
    """A game, the buffer that keeps what is played in it, and the episodes so far.

    Attributes:
      name: of the game.
      environment: the game.
      buffer: that the steps are added to.
      steps_per_iteration: least number of agent steps of an iteration.
      folder: of the actions of each iteration.
      report: called with the steps of the iteration that is played, and the iterations so far.
      iterations: the episodes of each.
    """

    name: str
    environment: atari.AtariEnvironment
    buffer: ReplayBuffer
    steps_per_iteration: int
    folder: pathlib.Path
    report: Callable[[int, list[list[PlayedEpisode]]], None]
    iterations: list[list[PlayedEpisode]] = dataclasses.field(default_factory=list)
    _actions: list[int] = dataclasses.field(default_factory=list)

    def play_iteration(
        self, choose: Callable[[np.ndarray], int], begin_episode: Callable[[], None]
    ) -> None:
        """Plays an iteration.

        Args:
          choose: frame [84, 84, 1] uint8 -> action.
          begin_episode: called before each episode.
        """
        self._actions = []
        episodes: list[PlayedEpisode] = []
        steps = 0
        while steps < self.steps_per_iteration:
            begin_episode()
            episodes.append(self._play_episode(choose, steps))
            steps += episodes[-1].steps
        self.iterations.append(episodes)

    def keep_actions(self) -> None:
        """Saves the actions of the last iteration."""
        self.folder.mkdir(exist_ok=True)
        actions = {"action": np.array(self._actions, np.uint8)}
        npz.write_arrays(self._file(len(self.iterations) - 1), actions)

    def play_again(self, expected: Sequence[Sequence[PlayedEpisode]], what_to_do: str) -> None:
        """Plays iterations again from their saved actions.

        Args:
          expected: the episodes that they had.
          what_to_do: the end of an error's sentence.

        Raises:
          DatasetError: actions are missing or damaged, or the episodes are others.
        """
        for number, episodes in enumerate(expected):
            kept = npz.read_arrays(self._file(number), what_to_do)
            with contextlib.suppress(_NoActionLeft):
                self.play_iteration(_replay(kept["action"]), lambda: None)
            if self.iterations[number:] != [episodes]:
                raise DatasetError(
                    f"{self.name} does not repeat iteration {number} of {self.folder.parent} as it "
                    f"was played: {what_to_do}"
                )

    def _play_episode(
        self, choose: Callable[[np.ndarray], int], steps_before: int
    ) -> PlayedEpisode:
        timestep = self.environment.reset()
        episode_return = 0.0
        for step in itertools.count(1):
            frame, action = timestep.observation, choose(timestep.observation)
            timestep = self.environment.step(action)
            self._actions.append(action)
            episode_return += timestep.reward
            # Dopamine keeps a time limit as terminal too.
            self.buffer.add(frame[..., 0], action, clipped(timestep.reward), timestep.last())
            if step % _PROGRESS_EVERY == 0:
                self.report(steps_before + step, self.iterations)
            if timestep.last():
                break
        return PlayedEpisode(self.environment.episode_seed, step, episode_return)

    def _file(self, number: int) -> pathlib.Path:
        return self.folder / f"actions-{number:05}.npz"


class _NoActionLeft(Exception):
    """An iteration that is played again needs more actions than were saved."""


def _replay(actions: np.ndarray) -> Callable[[np.ndarray], int]:
    """A policy that takes the actions [N] one after the other, whatever it observes."""
    left: Iterator[int] = iter(actions.tolist())

    def choose(frame: np.ndarray) -> int:
        for action in left:
            return action
        raise _NoActionLeft

    return choose
