"""How a policy of a game is scored: whole episodes, played by several emulators at once.

Episodes are numbered, and all that is random in one follows from its number: the emulator's seed
and the policy's random actions. So the returns depend neither on the number of cores nor on which
emulator plays which episode.
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.training.atari_protocol import AtariProtocol
from rl_datasets.collection import atari
from rl_datasets.sources.dqn_replay import STACK_SIZE

EMULATORS = 8  # at once

Act = Callable[[np.ndarray], np.ndarray]


def play_games(
    rom: pathlib.Path,
    protocol: AtariProtocol,
    act: Act,
    episodes: int,
    seed: int | Sequence[int],
    emulators: int = EMULATORS,
) -> np.ndarray:
    """Undiscounted returns of whole episodes.

    The policy always sees one fixed batch, so a jitted one compiles once; the rows of emulators
    that have nothing left to play are stale, and their actions unused. By `evaluation_steps`, the
    episodes that count are the first ones that together have so many steps, as one emulator would
    have played them; what others have begun after those is left out.

    Args:
      rom: file of the game's ROM.
      protocol: with the probability of sticky actions.
      act: stacks of frames [N, 84, 84, 4] uint8, oldest frame first, and zeros before the episode
        -> actions [N].
      episodes: how many, where the protocol gives no steps.
      seed: of the episodes.
      emulators: N, and never more than the episodes.

    Returns:
      [episodes] float64, in the order of their numbers.
    """
    assert protocol.sticky_probability is not None
    steps = protocol.evaluation_steps
    count = emulators if steps else min(emulators, episodes)
    games = atari.AtariGames(
        rom,
        count,
        sticky_probability=protocol.sticky_probability,
        max_steps=protocol.max_episode_steps,
        most_no_ops=protocol.most_no_ops,
        presses_fire=protocol.presses_fire,
    )
    playing = _Playing(games, act, protocol.evaluation_epsilon, seed)
    playing.begin(range(count))
    returns, lengths = playing.ended()
    while lengths.sum() < steps if steps else len(returns) < episodes:
        if ended := playing.step():
            left = len(ended) if steps else episodes - playing.begun
            playing.begin(ended[:left])
            returns, lengths = playing.ended()
    if steps:
        returns = returns[: int(np.searchsorted(np.cumsum(lengths), steps)) + 1]
    return returns


class _Playing:
    """Episodes that emulators play, and those that have ended.

    Attributes:
      begun: how many episodes have begun.
    """

    def __init__(
        self, games: atari.AtariGames, act: Act, epsilon: float, seed: int | Sequence[int]
    ):
        self.begun = 0
        self._games, self._act, self._epsilon = games, act, epsilon
        self._seed = np.random.SeedSequence(seed)
        self._number = np.full(games.count, -1)  # of the episode; -1 of an idle emulator
        self._explore = [np.random.default_rng(0)] * games.count
        self._stacks = np.zeros((games.count, *atari.FRAME_SHAPE[:2], STACK_SIZE), np.uint8)
        self._return_of: dict[int, float] = {}  # of every episode so far, by its number
        self._length_of: dict[int, int] = {}
        self._has_ended: set[int] = set()

    def begin(self, emulators: Sequence[int]) -> None:
        """Begins the next episodes in these emulators."""
        if not emulators:
            return
        seeds = []
        for emulator in emulators:
            number, self.begun = self.begun, self.begun + 1
            of_episode = int(self._seed.generate_state(number + 1)[number])
            seeds.append(int(np.random.default_rng([of_episode, 0]).integers(2**31)))
            self._explore[emulator] = np.random.default_rng([of_episode, 1])
            self._number[emulator] = number
            self._return_of[number], self._length_of[number] = 0.0, 0
        self._stacks[list(emulators)] = 0
        self._stacks[list(emulators), ..., -1:] = self._games.begin(emulators, seeds)

    def step(self) -> list[int]:
        """One step of every emulator; gives those whose episodes ended."""
        actions = np.array(self._act(self._stacks))
        running = np.flatnonzero(self._number >= 0)
        for emulator in running:
            explore = self._explore[emulator]
            if explore.random() <= self._epsilon:
                actions[emulator] = explore.integers(self._games.num_actions)
        taken = self._games.step(actions)
        self._stacks = np.concatenate([self._stacks[..., 1:], taken.frame], axis=-1)
        for emulator, number in zip(running, self._number[running].tolist(), strict=True):
            self._return_of[number] += float(taken.reward[emulator])
            self._length_of[number] += 1
        ended = running[(taken.is_over | taken.is_truncated)[running]]
        self._has_ended.update(self._number[ended].tolist())
        self._number[ended] = -1
        return ended.tolist()

    def ended(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns [E] float64 and lengths [E] of the episodes before the first that still runs."""
        first = next(n for n in itertools.count() if n not in self._has_ended)
        returns = np.array([self._return_of[number] for number in range(first)], np.float64)
        return returns, np.array([self._length_of[number] for number in range(first)], np.int64)
