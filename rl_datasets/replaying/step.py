"""What a step of a logged episode can have come to.

A step emulates four frames. Each executes the action that was executed before with probability
0.25, and once the new action was executed, both are the same. So a step has five outcomes: the
first 0 to 4 of its frames keep the action before.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import ale_py
import numpy as np

from rl_datasets.replaying.emulator import FRAME_SKIP, NOOP, STICKY_PROBABILITY, Emulator


@dataclasses.dataclass(eq=False, slots=True)
class State:
    """Where the game stood before a row's action.

    Attributes:
      row: its number.
      last_action: that was executed last.
      lives: left.
      log_probability: of what sticky actions did until here, in all the ways that were merged.
      ways: the steps that came here, the likeliest first; none at the start.
      pooled: the maximum of the two last screens; None where it was forgotten.
      snapshot: of the emulator; None where it was forgotten, or not taken.
    """

    row: int
    last_action: int
    lives: int
    log_probability: float
    ways: list[Way]
    pooled: np.ndarray | None
    snapshot: ale_py.ALEState | None


class Way(NamedTuple):
    """A step from a state: the action that each frame executed, and the reward, not clipped."""

    before: State
    executed: tuple[int, ...]
    reward: float


class Outcome(NamedTuple):
    """Of a step.

    Attributes:
      way: the step. Fewer than four frames were executed where the game ended.
      log_probability: of this outcome.
      is_over: whether the game ended.
      pooled: the maximum of the two last screens, as the protocol pools them.
      lives: left after it.
    """

    way: Way
    log_probability: float
    is_over: bool
    pooled: np.ndarray
    lives: int


def start(emulator: Emulator) -> State:
    """The start of an episode."""
    emulator.reset()
    return State(0, NOOP, emulator.lives, 0.0, [], emulator.screen(), emulator.clone())


def stand_at(emulator: Emulator, state: State) -> None:
    """Brings the emulator to a state: to its snapshot, or from the last one before it."""
    way_there = []
    while state.snapshot is None:
        way_there.append(state.ways[0].executed)
        state = state.ways[0].before
    emulator.restore(state.snapshot)
    for executed in reversed(way_there):
        for action in executed:
            emulator.act(action)


def outcomes(emulator: Emulator, state: State, action: int) -> Iterator[Outcome]:
    """Every outcome of an action, the likeliest first.

    The emulator must stand at the state, and stands at an outcome while that is looked at. Frames
    that outcomes have in common are emulated once.
    """
    old = state.last_action
    if old == action:
        yield _outcome(emulator, state, [], [action] * FRAME_SKIP, [], 0, 1.0)
        return
    if state.snapshot is None:
        state.snapshot = emulator.clone()
    screens: list[np.ndarray] = []
    base, reward = state.snapshot, 0  # After the frames that kept the action before.
    for kept in range(FRAME_SKIP + 1):
        rest = [] if emulator.is_over else [action] * (FRAME_SKIP - kept)
        probability = STICKY_PROBABILITY**kept * (1 - STICKY_PROBABILITY if rest else 1.0)
        yield _outcome(emulator, state, [old] * kept, rest, screens, reward, probability)
        if not rest:
            return
        emulator.restore(base)
        reward += emulator.act(old)
        if not emulator.is_over:
            base = emulator.clone()
            if kept + 1 > FRAME_SKIP - 2:
                screens = [*screens, emulator.screen()]


def _outcome(
    emulator: Emulator,
    state: State,
    executed: list[int],
    rest: list[int],
    screens: list[np.ndarray],
    reward: int,
    probability: float,
) -> Outcome:
    """Emulates the rest of a step. `executed`, `screens` and `reward` are of the frames before."""
    for action in rest:
        reward += emulator.act(action)
        executed.append(action)
        if emulator.is_over:
            break
        if len(executed) > FRAME_SKIP - 2:
            screens = [*screens, emulator.screen()]
    if len(screens) < 2:  # The game is over: the protocol pools what it has with the step before.
        assert state.pooled is not None
        screens = [state.pooled, *screens]
    return Outcome(
        Way(state, tuple(executed), float(reward)),
        math.log(probability),
        emulator.is_over,
        functools.reduce(np.maximum, screens),
        emulator.lives,
    )
