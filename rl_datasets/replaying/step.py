"""What a step of a logged episode can have come to.

A step emulates four frames. Each executes the action that was executed before with probability
0.25, and once the new action was executed, both are the same. So a step has five outcomes: the
first 0 to 4 of its frames keep the action before.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import ale_py
import numpy as np

from rl_datasets.replaying.emulator import (
    FRAME_SKIP,
    NOOP,
    STICKY_PROBABILITY,
    Emulator,
    Start,
    fingerprint,
)

# Of an outcome, by how many frames keep the action before.
LOG_PROBABILITY = (
    *(math.log(STICKY_PROBABILITY**kept * (1 - STICKY_PROBABILITY)) for kept in range(FRAME_SKIP)),
    math.log(STICKY_PROBABILITY**FRAME_SKIP),
)


@dataclasses.dataclass(eq=False, slots=True)
class State:
    """Where the game stood before a row's action.

    Attributes:
      row: its number.
      last_action: that was executed last.
      lives: left.
      ways: the steps that came here, the likeliest first; none at the start.
      cost: that the search gives the way here.
      pooled: the maximum of the two last screens; None where it was forgotten.
      snapshot: of the emulator; None where it was forgotten.
    """

    row: int
    last_action: int
    lives: int
    ways: list[Way]
    cost: float
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
      is_over: whether the game ended.
      pooled: the maximum of the two last screens, as the protocol pools them.
      lives: left after it.
    """

    way: Way
    is_over: bool
    pooled: np.ndarray
    lives: int


def begin(start: Start) -> State:
    """The start of an episode."""
    return State(0, NOOP, start.lives, [], 0.0, start.screen, start.snapshot)


def go_to(emulator: Emulator, state: State) -> None:
    """Brings the emulator to a state: to its snapshot, or on from the last one before it."""
    way_there: list[tuple[int, ...]] = []
    while state.ways and (state.snapshot is None or (emulator.needs_run_up and not way_there)):
        way_there.append(state.ways[0].executed)
        state = state.ways[0].before
    if state.snapshot is None:
        emulator.reset()
    else:
        emulator.restore(state.snapshot)
    for executed in reversed(way_there):
        for action in executed:
            emulator.act(action)


def has_more_outcomes(outcome: Outcome, action: int, kept: int) -> bool:
    """Whether to keep the action before for more than `kept` frames is another outcome."""
    old, executed = outcome.way.before.last_action, outcome.way.executed
    is_over_before = outcome.is_over and len(executed) <= kept
    return kept < FRAME_SKIP and action != old and not is_over_before


def outcomes(emulator: Emulator, state: State, action: int) -> Iterator[Outcome]:
    """Every outcome of an action; the emulator stands at each while it is looked at."""
    for kept in range(FRAME_SKIP + 1):
        go_to(emulator, state)
        reached = outcome(emulator, state, action, kept)
        yield reached
        if not has_more_outcomes(reached, action, kept):
            return


def state_after(emulator: Emulator, outcome: Outcome) -> State:
    """Where an outcome led, at which the emulator stands."""
    before, executed, _ = outcome.way
    return State(
        before.row + 1,
        executed[-1],
        outcome.lives,
        [outcome.way],
        0.0,
        outcome.pooled,
        emulator.clone(),
    )


def identity(state: State) -> Hashable:
    """Equal for states that nothing which follows can tell apart.

    That is the whole state of the emulator, and the action executed last. RAM would not do: it
    lacks Pong's paddle.
    """
    if state.snapshot is None:
        return state
    return state.last_action, hashlib.blake2b(fingerprint(state.snapshot), digest_size=16).digest()


def forget(state: State) -> None:
    """Frees what a state can be come to again without."""
    if state.ways:
        state.pooled = state.snapshot = None


def outcome(emulator: Emulator, state: State, action: int, kept: int) -> Outcome:
    """Steps from a state, where the emulator must stand, to the outcome, where it stands then.

    Args:
      emulator: of the game.
      state: where it stands.
      action: the new one.
      kept: how many frames keep the action before.
    """
    executed, reward, screens = [], 0, []
    for frame in range(FRAME_SKIP):
        executed.append(state.last_action if frame < kept else action)
        reward += emulator.act(executed[-1])
        if emulator.is_over:
            break
        if frame >= FRAME_SKIP - 2:
            screens.append(emulator.screen())
    if len(screens) < 2:  # The game is over: the protocol pools what it has with the step before.
        assert state.pooled is not None
        screens.insert(0, state.pooled)
    return Outcome(
        Way(state, tuple(executed), float(reward)),
        emulator.is_over,
        functools.reduce(np.maximum, screens),
        emulator.lives,
    )
