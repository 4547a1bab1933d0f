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
    observe,
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
      agreed: how many frames kept the action before in the first outcome found to agree with the
        log; None before there is one.
      snapshot: of the emulator; None where there is none, or none any more.
    """

    row: int
    last_action: int
    lives: int
    ways: list[Way]
    cost: float = 0.0
    agreed: int | None = None
    snapshot: ale_py.ALEState | None = None


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
      screens: of the third frame and of the fourth, as far as the game was not over.
      lives: left after it.
    """

    way: Way
    is_over: bool
    screens: tuple[np.ndarray, ...]
    lives: int

    def shows(self, observation: np.ndarray) -> bool:
        """Whether the game goes on and this is seen: [84, 84] uint8."""
        return not self.is_over and np.array_equal(observe(np.maximum(*self.screens)), observation)


def begin(start: Start) -> State:
    """The start of an episode."""
    return State(0, NOOP, start.lives, [], snapshot=start.snapshot)


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


def outcome(emulator: Emulator, state: State, action: int, kept: int) -> Outcome:
    """Steps from a state, where the emulator must stand, to the outcome, where it stands then.

    Args:
      emulator: of the game.
      state: where it stands.
      action: the new one.
      kept: how many frames keep the action before.
    """
    reward, executed, screens = 0, [state.last_action] * kept + [action] * (FRAME_SKIP - kept), []
    for frame, each in enumerate(executed):
        reward += emulator.act(each)
        if emulator.is_over:
            executed = executed[: frame + 1]
            break
        if frame >= FRAME_SKIP - 2:
            screens.append(emulator.screen())
    way = Way(state, tuple(executed), float(reward))
    return Outcome(way, len(screens) < 2, tuple(screens), emulator.lives)


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


def after(outcome: Outcome) -> State:
    """Where an outcome led."""
    before, executed, _ = outcome.way
    return State(before.row + 1, executed[-1], outcome.lives, [outcome.way])


def final_observation(emulator: Emulator, outcome: Outcome) -> np.ndarray:
    """What is seen after an outcome: [84, 84] uint8.

    Where the game is over, that is what the protocol pools: the screens that it still took, with
    the maximum of the two before the step.
    """
    if not outcome.is_over:
        return observe(np.maximum(*outcome.screens))
    before = outcome.way.before
    if before.ways:
        earlier, executed, _ = before.ways[0]
        go_to(emulator, earlier)
        for action in executed[:-1]:
            emulator.act(action)
        third = emulator.screen()
        emulator.act(executed[-1])
        screens = (third, emulator.screen())
    else:
        starts = [emulator.first_start, *(emulator.starts if before.snapshot else ())]
        screens = tuple(each.screen for each in starts if each.snapshot is before.snapshot)
    return observe(functools.reduce(np.maximum, (*screens, *outcome.screens)))


def identity(state: State) -> Hashable:
    """Equal for states that nothing which follows can tell apart.

    That is the whole state of the emulator, and the action executed last. RAM would not do: it
    lacks Pong's paddle.
    """
    if state.snapshot is None:
        return state
    return state.last_action, hashlib.blake2b(fingerprint(state.snapshot), digest_size=16).digest()
