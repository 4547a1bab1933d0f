"""Scores a policy for a game on whole episodes, which several emulators play at once."""

from __future__ import annotations

import collections
import itertools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.game_player import Act, Chance, GamePlayer, PlayedStep
from rl_datasets.collection import atari

EMULATORS = 8  # at once


def play_games(
    rom: pathlib.Path,
    protocol: AtariProtocol,
    act: Act,
    episodes: int,
    seed: int | Sequence[int],
    emulators: int = EMULATORS,
) -> np.ndarray:
    """Plays whole episodes, and returns their undiscounted returns.

    If the protocol has `evaluation_steps`, the first episodes count that have this number of steps
    together, as if one emulator had played them all; later ones are left out.

    Args:
      rom: the file of the game's ROM.
      protocol: the protocol, with the probability of sticky actions.
      act: the policy, as `GamePlayer` takes it.
      episodes: number of episodes, if the protocol has no `evaluation_steps`.
      seed: the seed of the episodes.
      emulators: number of emulators; fewer are used if there are fewer episodes.

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
    chance = _chance(seed, protocol.evaluation_epsilon, games.num_actions)
    player, scores = GamePlayer(games, act, chance), _Scores()
    player.begin(range(count))
    returns, lengths = scores.of_ended()
    while lengths.sum() < steps if steps else len(returns) < episodes:
        step = player.step()
        scores.add(step)
        if ended := step.ended:
            left = len(ended) if steps else episodes - player.begun
            player.begin(ended[:left])
            returns, lengths = scores.of_ended()
    if steps:
        returns = returns[: int(np.searchsorted(np.cumsum(lengths), steps)) + 1]
    return returns


def _chance(seed: int | Sequence[int], epsilon: float, num_actions: int) -> Chance:
    sequence = np.random.SeedSequence(seed)

    def of(number: int) -> tuple[int, Callable[[int], int]]:
        of_episode = int(sequence.generate_state(number + 1)[number])
        rng = np.random.default_rng([of_episode, 1])

        def explore(action: int) -> int:
            return int(rng.integers(num_actions)) if rng.random() <= epsilon else action

        return int(np.random.default_rng([of_episode, 0]).integers(2**31)), explore

    return of


class _Scores:
    """Returns and lengths of episodes, by their numbers."""

    def __init__(self) -> None:
        self._return_of: dict[int, float] = collections.defaultdict(float)
        self._length_of: dict[int, int] = collections.defaultdict(int)
        self._has_ended: set[int] = set()

    def add(self, step: PlayedStep) -> None:
        """Adds a step of every episode that is being played."""
        for number, reward in zip(step.number.tolist(), step.taken.reward.tolist(), strict=True):
            if number >= 0:
                self._return_of[number] += reward
                self._length_of[number] += 1
        self._has_ended.update(step.number[step.ended].tolist())

    def of_ended(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns [E] float64 and lengths [E] of the episodes before the first unfinished one."""
        first = next(n for n in itertools.count() if n not in self._has_ended)
        returns = np.array([self._return_of[number] for number in range(first)], np.float64)
        return returns, np.array([self._length_of[number] for number in range(first)], np.int64)
