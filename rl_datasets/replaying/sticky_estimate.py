"""How probable sticky actions were, by episodes that were replayed.

Which frames of a step kept the action before often does not show: another number of kept frames
leads to the same next frame. So the way that was found, which has the likeliest, would tell too
little. But each step tells which numbers lead to the frame that was logged, and the probability of
those is known for any probability that a frame keeps the action: the estimate is the likeliest.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import FRAME_SKIP, Emulator

_PROBABILITIES = np.linspace(0, 1, 201)
_INTERVAL = 1.92  # In log likelihood below the greatest: 95 %, by Wilks's theorem.

# How many steps lead to their frame with just these numbers of kept frames.
Shown = Mapping[tuple[int, ...], int]


class StickyEstimate(NamedTuple):
    """The probability that a frame keeps the action before.

    Attributes:
      estimate: the likeliest.
      least, most: of the interval that holds it with 95 %.
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
    """What the steps of an episode of T rows show, but for the last.

    Args:
      emulator: of the game.
      observations: [T, 84, 84, 1] uint8, or one more.
      actions: [T], asked for.
      way: that was found through the episode.
      start: which of the emulator's starts it begins at.
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
        if state.row > 1:  # To go to a state begins one before it at most.
            state.ways[0].before.snapshot = None
        state = after
    return counts


def estimate(counts: Shown) -> StickyEstimate:
    """The likeliest probability, by what steps show."""
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
