"""Plays episodes of a game in several emulators at once, for whoever scores or logs them.

Episodes are numbered in the order in which they begin, and all that is random in one follows from
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
# An episode's number -> the emulator's seed, and the policy's action -> the one that is taken.
Chance = Callable[[int], tuple[int, Callable[[int], int]]]


class PlayedStep(NamedTuple):
    """One step of N emulators.

    Attributes:
      number: [N] of the episode that each plays; -1 of an idle one, of which all else is stale.
      frame: [N, 84, 84, 1] uint8, what the actions were taken in.
      action: [N].
      taken: what followed.
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

    The policy always sees one fixed batch, so a jitted one compiles once.

    Attributes:
      begun: how many episodes have begun.
    """

    def __init__(self, games: AtariGames, act: Act, chance: Chance):
        """Makes a player, all of whose emulators are idle.

        Args:
          games: N of them.
          act: stacks of frames [N, 84, 84, 4] uint8, oldest frame first, and zeros before the
            episode -> actions [N].
          chance: of each episode.
        """
        self.begun = 0
        self._games, self._act, self._chance = games, act, chance
        self._number = np.full(games.count, -1)
        self._explore: dict[int, Callable[[int], int]] = {}
        self._stacks = np.zeros((games.count, *FRAME_SHAPE[:2], STACK_SIZE), np.uint8)

    def begin(self, emulators: Sequence[int]) -> None:
        """Begins the next episodes in these emulators."""
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
        """One step of every emulator; those whose episodes ended are idle after it."""
        number, seen = self._number.copy(), self._stacks
        actions = np.array(self._act(seen))
        for emulator in np.flatnonzero(number >= 0).tolist():
            actions[emulator] = self._explore[emulator](int(actions[emulator]))
        taken = self._games.step(actions)
        self._stacks = np.concatenate([seen[..., 1:], taken.frame], axis=-1)
        step = PlayedStep(number, seen[..., -1:], actions, taken)
        self._number[step.ended] = -1
        return step
