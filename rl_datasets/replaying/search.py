"""The search for one way through a logged episode, by sequential decoding.

Of all steps that can be tried, the next is that of the likeliest way, and to have come further is
worth something (Jelinek 1969, "Fast sequential decoding algorithm using a stack"). How likely a
step is counts beside the likeliest one from its state that agrees with the log, so that a step
costs nothing where the log leaves no other. So the search goes straight on while the log agrees.
Where it does not, a choice before was wrong and did not show yet, and the search goes back to the
likeliest other one. It goes on from no state twice.
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

# What a step is worth, so that of two ways that are as likely the longer is gone on with. To keep
# the action for a frame more costs 1.4, as much as to go back three choices. With 1.2 Gravitar is
# lost, which shows a wrong choice a hundred rows later; with 0.2, Skiing.
STEP_WORTH = 0.5
# Memory is bounded: snapshots of so many states that were come to last are kept, and of the first
# state in every so many rows; states of so many last rows are known again; of more choices than the
# most, the worse half is forgotten.
_SNAPSHOTS = 2_000
_SPARSE_ROWS = 64
_KNOWN_ROWS = 1_000
_MOST_CHOICES = 200_000


FIRST_FRAME_DIFFERS = "its first frame is not the game's"


class Found(NamedTuple):
    """How far a search came.

    Attributes:
      state: before the last row's action, or the furthest that was come to; None where the first
        frame is not the game's.
      last: outcomes of the last row's action that agree with the log; none where it was lost.
      objection: what spoke against the steps from the furthest row, where it was lost.
      steps: how many were tried.
    """

    state: State | None
    last: list[Outcome]
    objection: str
    steps: int


class _Choice(NamedTuple):
    """A step that can be tried; the least is tried first.

    Attributes:
      cost: less where the way with this step is likelier, or longer.
      order: tells choices apart, the newer before.
      state: to step from.
      kept: how many of its frames keep the action before.
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
          starts: of the episode, those that do not show its first frame among them.
          patience: how many steps may be tried without coming further.
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
        objection = max(objections, key=_tells, default="the search was given up")
        if self._choices:
            objection += f"; no other way was found in {patience:,} steps"
        return Found(furthest, [], objection, steps)

    def _last_outcomes(self, state: State) -> list[Outcome]:
        every = step.outcomes(self._emulator, state, self._log.actions[state.row])
        return [outcome for outcome in every if not self._log.objection(outcome)]

    def _cost(self, state: State, kept: int) -> float:
        """Of the way to a state and a step from it."""
        if self._log.actions[state.row] == state.last_action:
            return state.cost
        likeliest = kept if state.agreed is None else state.agreed
        return state.cost + LOG_PROBABILITY[likeliest] - LOG_PROBABILITY[kept] - STEP_WORTH

    def _offer(self, state: State, kept: int) -> None:
        """Makes a step one that can be tried."""
        self._num_choices += 1
        choice = _Choice(self._cost(state, kept), -self._num_choices, state, kept)
        heapq.heappush(self._choices, choice)
        if len(self._choices) > _MOST_CHOICES:
            self._choices = heapq.nsmallest(_MOST_CHOICES // 2, self._choices)  # It is a heap.

    def _is_known(self, state: State) -> bool:
        """Whether a state was come to before; if not, it is known from now on."""
        if self._log.actions[state.row] == state.last_action:
            return False  # It has one outcome, so that it is not gone back to.
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


def _tells(objection: str) -> tuple[bool, str]:
    """Orders objections: where a step shows the frame, what else speaks against it tells more."""
    return ("frame" not in objection, objection)
