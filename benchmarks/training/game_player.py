"""Plays episodes of a game in several emulators at once, to score or to log them.

Episodes are numbered in the order in which they begin. Everything random in an episode follows from
its number: the emulator's seed and the policy's random actions. So an episode depends neither on
the number of cores nor on which emulator plays it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rl_datasets.collection.atari import AtariGames, GameSteps
from rl_datasets.sources.atari import FRAME_SHAPE
from rl_datasets.sources.dqn_replay import STACK_SIZE

Act = Callable[[np.ndarray], np.ndarray]
# (episode number) -> the emulator's seed, and a function from the policy's action to the one taken.
Chance = Callable[[int], tuple[int, Callable[[int], int]]]


class PlayedStep(NamedTuple):
    """One step of N emulators.

    Attributes:
      number: [N], the number of the episode that each plays; -1 for an idle emulator, whose other
        values are stale.
      frame: [N, 84, 84, 1] uint8, the frames in which the actions were taken.
      action: [N], the actions.
      taken: the results of the actions.
    """

    number: np.ndarray
    frame: np.ndarray
    action: np.ndarray
    taken: GameSteps

    @property
    def ended(self) -> list[int]:
        """The emulators whose episode ended."""
        is_last = self.taken.is_over | self.taken.is_truncated
        return np.flatnonzero(is_last & (self.number >= 0)).tolist()


class GamePlayer:
    """A policy that plays in several emulators.

    The policy's batches always have the same size, so a jitted policy is compiled once.

    Attributes:
      begun: number of episodes that have begun.
    """

    def __init__(self, games: AtariGames, act: Act, chance: Chance):
        """Makes a player whose emulators are all idle.

        Args:
          games: the N emulators.
          act: stacks of frames [N, 84, 84, 4] uint8, oldest frame first, with zeros before the
            episode -> actions [N].
          chance: gives what is random in an episode.
        """
        self.begun = 0
        self._games, self._act, self._chance = games, act, chance
        self._number = np.full(games.count, -1)
        self._explore: dict[int, Callable[[int], int]] = {}
        self._stacks = np.zeros((games.count, *FRAME_SHAPE[:2], STACK_SIZE), np.uint8)

    def begin(self, emulators: Sequence[int]) -> None:
        """Begins the next episodes, one in each of these emulators."""
        if not emulators:
            return
        seeds = []
        for emulator in emulators:
            seed, self._explore[emulator] = self._chance(self.begun)
            seeds.append(seed)
            self._number[emulator] = self.begun
            self.begun += 1
        self._stacks[list(emulators)] = 0
        self._stacks[list(emulators), ..., -1:] = self._games.begin(emulators, seeds)

    def step(self) -> PlayedStep:
        """Takes one step in every emulator; those whose episodes end in it become idle."""
        number, seen = self._number.copy(), self._stacks
        actions = np.array(self._act(seen))
        for emulator in np.flatnonzero(number >= 0).tolist():
            actions[emulator] = self._explore[emulator](int(actions[emulator]))
        taken = self._games.step(actions)
        self._stacks = np.concatenate([seen[..., 1:], taken.frame], axis=-1)
        step = PlayedStep(number, seen[..., -1:], actions, taken)
        self._number[step.ended] = -1
        return step
