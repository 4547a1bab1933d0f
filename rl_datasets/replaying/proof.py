"""Follows all ways through a logged episode at once, and finds what they have in common.

States of a row are merged where nothing that follows can tell them apart. A merged state keeps all
the ways to it, so that no way is lost.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.replaying.log import Log
from rl_datasets.replaying.step import Outcome, State, Way
from rl_datasets.sources.atari import FRAME_SKIP


class Proof(NamedTuple):
    """What all ways through an episode of T rows have in common.

    Attributes:
      states: number of states before the last row's action.
      last: outcomes of the last row's action that agree with the log.
      only_return: whether all ways have the same raw return.
      only_reward: [T] bool, whether all ways have the same raw reward in a row.
      only_lives: [T] bool, whether all ways have the same lives left before a row's action.
      only_executed: [T, 4] bool, whether all ways execute the same action in a frame.
    """

    states: int
    last: list[Outcome]
    only_return: bool
    only_reward: np.ndarray
    only_lives: np.ndarray
    only_executed: np.ndarray


def prove(emulator: Emulator, log: Log, most_states: int) -> Proof | None:
    """Follows all ways through an episode that has at least one.

    Returns:
      What they have in common; None where more than `most_states` states are open at once, or more
      than a twentieth of that on average.
    """
    states = [step.begin(each) for each in emulator.starts if log.begins_with(each)]
    states_left = len(log.actions) * most_states // 20
    for _ in range(log.last_row):
        states = _advance(emulator, log, states, most_states)
        states_left -= len(states)
        if len(states) > most_states or states_left < 0:
            return None
    last = [
        outcome
        for state in states
        for outcome in step.outcomes(emulator, state, log.actions[state.row])
        if not log.objection(outcome)
    ]
    return _in_common([outcome.way for outcome in last], last)


def _advance(emulator: Emulator, log: Log, states: list[State], most_states: int) -> list[State]:
    """The states of the next row."""
    after: dict[Hashable, State] = {}
    for state in states:
        for outcome in step.outcomes(emulator, state, log.actions[state.row]):
            if log.objection(outcome):
                continue
            new = step.after(outcome)
            new.snapshot = emulator.clone()
            known = after.setdefault(step.identity(new), new)
            if known is not new:
                known.ways.append(outcome.way)
        if len(after) > most_states:
            break
    # For some games the emulator restores the previous step's snapshot, which is kept until here.
    for before in {way.before for state in states for way in state.ways}:
        if before.ways:  # Otherwise it is a start, which no step can reach again.
            before.snapshot = None
    return list(after.values())


def _in_common(ways: list[Way], last: list[Outcome]) -> Proof:
    """Compares the ways from the end to the start, so that dead ends do not count."""
    rows = last[0].way.before.row + 1
    only_reward = np.empty(rows, bool)
    only_lives = np.empty(rows, bool)
    only_executed = np.empty((rows, FRAME_SKIP), bool)
    returns = [(0.0, 0.0)] * len(ways)  # The least and the greatest after each way.
    for row in reversed(range(rows)):
        only_reward[row] = len({way.reward for way in ways}) == 1
        for frame in range(FRAME_SKIP):
            only_executed[row, frame] = len({way.executed[frame : frame + 1] for way in ways}) == 1
        bounds: dict[State, tuple[float, float]] = {}
        for (before, _, reward), (least, greatest) in zip(ways, returns, strict=True):
            lowest, highest = bounds.get(before, (np.inf, -np.inf))
            bounds[before] = (min(lowest, least + reward), max(highest, greatest + reward))
        only_lives[row] = len({state.lives for state in bounds}) == 1
        ways = [way for state in bounds for way in state.ways]
        returns = [bounds[state] for state in bounds for _ in state.ways]
    return Proof(
        len({outcome.way.before for outcome in last}),
        last,
        len({each for pair in bounds.values() for each in pair}) == 1,
        only_reward,
        only_lives,
        only_executed,
    )
