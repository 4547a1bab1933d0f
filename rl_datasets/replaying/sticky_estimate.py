"""Estimates the probability of sticky actions from replayed episodes.

Often several numbers of kept frames lead to the same next observation, so the frames that kept the
previous action do not show. The way that was found has the likeliest number, so counting on it
would give a biased estimate. Instead, each step shows which numbers lead to the logged observation.
The probability of these numbers follows from the probability that a frame keeps the action; the
estimate is the probability with the greatest likelihood.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.sources.atari import FRAME_SKIP

_PROBABILITIES = np.linspace(0, 1, 201)
_INTERVAL = 1.92  # In log likelihood below the greatest: 95 %, by Wilks's theorem.

# The number of steps whose logged observation follows from just these numbers of kept frames.
Shown = Mapping[tuple[int, ...], int]


class StickyEstimate(NamedTuple):
    """The estimated probability that a frame keeps the previous action.

    Attributes:
      estimate: the maximum-likelihood estimate.
      least, most: the ends of its 95 % confidence interval.
    """

    estimate: float
    least: float
    most: float


def shown(
    emulator: Emulator,
    observations: np.ndarray,
    actions: Sequence[int],
    way: Sequence[tuple[int, ...]],
    start: int = 0,
) -> collections.Counter[tuple[int, ...]]:
    """What the steps of an episode of T rows, except the last, show of sticky actions.

    Args:
      emulator: runs the game.
      observations: [T, 84, 84, 1] uint8, or T + 1 of them.
      actions: [T], the logged actions.
      way: the way that was found through the episode.
      start: index of the start, among the emulator's, from which the way begins.
    """
    counts: collections.Counter[tuple[int, ...]] = collections.Counter()
    state = step.begin(emulator.starts[start] if start else emulator.first_start)
    for row, executed in enumerate(way[:-1]):
        numbers, after = [], None
        for kept, outcome in enumerate(step.outcomes(emulator, state, int(actions[row]))):
            if outcome.shows(observations[row + 1].reshape(84, 84)):
                numbers.append(kept)
            if outcome.way.executed == executed:
                after = step.after(outcome)
                after.snapshot = emulator.clone()
        assert after is not None
        if actions[row] != state.last_action and len(numbers) <= FRAME_SKIP:
            counts[tuple(numbers)] += 1
        if state.row > 1:  # `go_to` needs the snapshot of at most one state before.
            state.ways[0].before.snapshot = None
        state = after
    return counts


def estimate(counts: Shown) -> StickyEstimate:
    """The maximum-likelihood estimate from what steps show."""
    kept = np.arange(FRAME_SKIP + 1)
    with np.errstate(divide="ignore"):
        of_number = _PROBABILITIES[:, None] ** kept
        of_number[:, :-1] *= 1 - _PROBABILITIES[:, None]
        likelihood = sum(
            count * np.log(of_number[:, list(numbers)].sum(axis=1))
            for numbers, count in counts.items()
        ) + np.zeros(len(_PROBABILITIES))
    within = _PROBABILITIES[likelihood >= likelihood.max() - _INTERVAL]
    return StickyEstimate(
        float(_PROBABILITIES[likelihood.argmax()]), float(within[0]), float(within[-1])
    )
