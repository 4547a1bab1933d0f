"""The possible outcomes of a step of a logged episode.

A step emulates four frames. With probability 0.25, a frame executes the same action as the frame
before it. Once the new action was executed, both are the same. So a step has five outcomes: the
first 0 to 4 of its frames keep the previous action.
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

from rl_datasets.replaying.emulator import NOOP, Emulator, Start, fingerprint, observe
from rl_datasets.sources.atari import FRAME_SKIP, STICKY_PROBABILITY

# The log probability of an outcome, by the number of frames that keep the previous action.
LOG_PROBABILITY = (
    *(math.log(STICKY_PROBABILITY**kept * (1 - STICKY_PROBABILITY)) for kept in range(FRAME_SKIP)),
    math.log(STICKY_PROBABILITY**FRAME_SKIP),
)


@dataclasses.dataclass(eq=False, slots=True)
class State:
    """The state of the game before a row's action.

    Attributes:
      row: the row's number.
      last_action: the action that was executed last.
      lives: number of lives left.
      ways: the steps that led here, the likeliest first; empty at the start.
      cost: the search's cost of the way here.
      agreed: number of frames that kept the previous action in the first outcome that agreed with
        the log; None before one was found.
      snapshot: the emulator's snapshot; None where there is none, or it was dropped.
    """

    row: int
    last_action: int
    lives: int
    ways: list[Way]
    cost: float = 0.0
    agreed: int | None = None
    snapshot: ale_py.ALEState | None = None


class Way(NamedTuple):
    """A step from a state: the action that each frame executed, and the unclipped reward."""

    before: State
    executed: tuple[int, ...]
    reward: float


class Outcome(NamedTuple):
    """The outcome of a step.

    Attributes:
      way: the step. Fewer than four frames were executed where the game ended.
      is_over: whether the game ended.
      screens: the screens of the third and the fourth frame, without those of frames in or after
        which the game was over.
      lives: number of lives left after the step.
    """

    way: Way
    is_over: bool
    screens: tuple[np.ndarray, ...]
    lives: int

    def shows(self, observation: np.ndarray) -> bool:
        """Whether the game continues and shows this observation, [84, 84] uint8."""
        return not self.is_over and np.array_equal(observe(np.maximum(*self.screens)), observation)


def begin(start: Start) -> State:
    """The state at the start of an episode."""
    return State(0, NOOP, start.lives, [], snapshot=start.snapshot)


def go_to(emulator: Emulator, state: State) -> None:
    """Brings the emulator to a state: from its snapshot, or from the last one before it."""
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
    """Takes one step, which leaves the emulator at the outcome.

    Args:
      emulator: runs the game, and must be at `state`.
      state: the state to step from.
      action: the new action.
      kept: number of frames that keep the previous action.
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
    """Whether keeping the previous action for more than `kept` frames gives another outcome."""
    old, executed = outcome.way.before.last_action, outcome.way.executed
    is_over_before = outcome.is_over and len(executed) <= kept
    return kept < FRAME_SKIP and action != old and not is_over_before


def outcomes(emulator: Emulator, state: State, action: int) -> Iterator[Outcome]:
    """All outcomes of an action; the emulator is at an outcome while it is the current one."""
    for kept in range(FRAME_SKIP + 1):
        go_to(emulator, state)
        reached = outcome(emulator, state, action, kept)
        yield reached
        if not has_more_outcomes(reached, action, kept):
            return


def after(outcome: Outcome) -> State:
    """The state that an outcome led to."""
    before, executed, _ = outcome.way
    return State(before.row + 1, executed[-1], outcome.lives, [outcome.way])


def final_observation(emulator: Emulator, outcome: Outcome) -> np.ndarray:
    """The observation after an outcome: [84, 84] uint8.

    Where the game is over, the protocol pools the screens that the step still took with the two
    screens before the step.
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
    """A key that is equal for two states if nothing that follows can tell them apart.

    It holds the whole state of the emulator and the action executed last. RAM would not be enough:
    it lacks Pong's paddle.
    """
    if state.snapshot is None:
        return state
    return state.last_action, hashlib.blake2b(fingerprint(state.snapshot), digest_size=16).digest()
