"""Searches for one way through a logged episode, by sequential decoding.

The search always tries the next step of the likeliest way, and a longer way is worth more (Jelinek
1969, "Fast sequential decoding algorithm using a stack"). The probability of a step is divided by
that of the likeliest step from the same state that agrees with the log, so a step costs nothing
where the log leaves no other. The search therefore goes straight on while the log agrees. Where the
log disagrees, an earlier choice was wrong without showing it, and the search goes back to the
likeliest alternative. It never continues twice from the same state.
"""

from __future__ import annotations

import collections
import heapq
from collections.abc import Hashable
from typing import NamedTuple

from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import Emulator, Start
from rl_datasets.replaying.log import Log
from rl_datasets.replaying.step import LOG_PROBABILITY, Outcome, State

# What a step is worth, so that the search continues the longer of two ways that are equally likely.
# Keeping the action for one more frame costs 1.4, as much as going back three choices. With 1.2 the
# search loses Gravitar, which shows a wrong choice a hundred rows later; with 0.2, Skiing.
STEP_WORTH = 0.5
# These bound the memory. Snapshots are kept of the last states that were reached, and of the first
# state in every so many rows. States are recognized again in the last rows only. When there are too
# many choices, the worse half is forgotten.
_SNAPSHOTS = 2_000
_SPARSE_ROWS = 64
_KNOWN_ROWS = 1_000
_MOST_CHOICES = 200_000


FIRST_FRAME_DIFFERS = "its first frame is not the game's"


class Found(NamedTuple):
    """How far a search came.

    Attributes:
      state: the state before the last row's action, or the furthest that was reached; None where
        the first frame is not the game's.
      last: outcomes of the last row's action that agree with the log; empty where the search
        failed.
      objection: why the steps from the furthest row contradict the log, where the search failed.
      steps: number of steps that were tried.
    """

    state: State | None
    last: list[Outcome]
    objection: str
    steps: int


class _Choice(NamedTuple):
    """A step that can be tried; the smallest is tried first.

    Attributes:
      cost: smaller where the way with this step is likelier, or longer.
      order: distinguishes choices of equal cost; a newer one comes first.
      state: the state to step from.
      kept: number of frames that keep the previous action.
    """

    cost: float
    order: int
    state: State
    kept: int


class Search:
    """One search through one episode."""

    def __init__(self, emulator: Emulator, log: Log):
        self._emulator = emulator
        self._log = log
        self._choices: list[_Choice] = []
        self._num_choices = 0
        self._known: dict[int, set[Hashable]] = {}
        self._with_snapshot: collections.deque[State] = collections.deque()

    def run(self, starts: list[Start], patience: int) -> Found:
        """Searches for one way.

        Args:
          starts: possible starts of the episode; those that do not show its first frame are left
            out.
          patience: how many steps may be tried without reaching a new row.
        """
        begun = [step.begin(each) for each in starts if self._log.begins_with(each)]
        if not begun:
            return Found(None, [], FIRST_FRAME_DIFFERS, 0)
        for state in begun:
            self._offer(state, 0)
        steps, given_up_at = 0, patience
        furthest, objections = begun[0], set[str]()
        standing_at: State | None = None
        while self._choices and steps < given_up_at:
            _, _, state, kept = heapq.heappop(self._choices)
            action = self._log.actions[state.row]
            if standing_at is not state:
                step.go_to(self._emulator, state)
            outcome = step.outcome(self._emulator, state, action, kept)
            standing_at, steps = None, steps + 1
            objection = self._log.objection(outcome)
            if not objection and state.agreed is None:
                state.agreed = kept
            if step.has_more_outcomes(outcome, action, kept):
                self._offer(state, kept + 1)
            if objection:
                if state.row == furthest.row:
                    objections.add(objection)
            elif state.row == self._log.last_row:
                return Found(state, self._last_outcomes(state), "", steps)
            else:
                standing_at = step.after(outcome)
                standing_at.cost = self._cost(state, kept)
                if self._is_known(standing_at):
                    continue
                self._offer(standing_at, 0)
                if standing_at.row > furthest.row:
                    furthest, objections = standing_at, set[str]()
                    given_up_at = steps + patience
        objection = max(objections, key=_informativeness, default="the search was given up")
        if self._choices:
            objection += f"; no other way was found in {patience:,} steps"
        return Found(furthest, [], objection, steps)

    def _last_outcomes(self, state: State) -> list[Outcome]:
        every = step.outcomes(self._emulator, state, self._log.actions[state.row])
        return [outcome for outcome in every if not self._log.objection(outcome)]

    def _cost(self, state: State, kept: int) -> float:
        """The cost of the way to a state and a step from it."""
        if self._log.actions[state.row] == state.last_action:
            return state.cost
        likeliest = kept if state.agreed is None else state.agreed
        return state.cost + LOG_PROBABILITY[likeliest] - LOG_PROBABILITY[kept] - STEP_WORTH

    def _offer(self, state: State, kept: int) -> None:
        """Adds a step to those that can be tried."""
        self._num_choices += 1
        choice = _Choice(self._cost(state, kept), -self._num_choices, state, kept)
        heapq.heappush(self._choices, choice)
        if len(self._choices) > _MOST_CHOICES:
            self._choices = heapq.nsmallest(_MOST_CHOICES // 2, self._choices)  # It is a heap.

    def _is_known(self, state: State) -> bool:
        """Whether a state was reached before; if not, it is known from now on."""
        if self._log.actions[state.row] == state.last_action:
            return False  # Its action has one outcome, so the search does not go back to it.
        state.snapshot = self._emulator.clone()
        if state.row not in self._known:
            self._known[state.row] = set()
            self._known.pop(state.row - _KNOWN_ROWS, None)
        states = self._known[state.row]
        if states or state.row % _SPARSE_ROWS:
            self._with_snapshot.append(state)
        if len(self._with_snapshot) > _SNAPSHOTS:
            self._with_snapshot.popleft().snapshot = None
        number, identity = len(states), step.identity(state)
        states.add(identity)
        return len(states) == number


def _informativeness(objection: str) -> tuple[bool, str]:
    """A key that sorts objections: one against a step that shows the logged frame says more."""
    return ("frame" not in objection, objection)
