"""The search for what sticky actions did in a logged episode.

It follows the likeliest outcome of every step that agrees with the log: the observation and the
clipped reward are the logged ones, and the game goes on. Where none agrees, a choice before was
wrong: the search goes back some rows, and follows many states at once from there until it has
passed the place. Where that fails too, it goes back further and follows more.

States are merged where the whole state of the emulator and the action executed last are equal. RAM
alone would not tell them apart: it lacks Pong's paddle. Of more states than may be followed, the
likeliest stay.
"""

from __future__ import annotations

import collections
import hashlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import Emulator, observe
from rl_datasets.replaying.step import Outcome, State

_WIDENINGS = ((8, 32), (64, 128), (512, 512), (None, 1024))  # Rows to go back, states to follow.
_KEPT_ROWS = 64  # Of so many last rows a snapshot is kept, and of one in so many before.


class LoggedEpisode(NamedTuple):
    """What a log says of an episode of T rows.

    Attributes:
      observations: [T, 84, 84] or [T, 84, 84, 1] uint8, each before its row's action.
      actions: [T] indices into the game's minimal action set.
      rewards: [T], clipped to -1..1, each of its row's action; NaN where it is not known.
      is_terminal: whether the game ended after the last action.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    is_terminal: bool


class Found(NamedTuple):
    """How far a search came.

    Attributes:
      states: where it stood before the last row's action, or before the one that lost it.
      last: outcomes of the last row's action that agree with the log; none where it was lost.
    """

    states: list[State]
    last: list[Outcome]


class Search:
    """Searches through one episode."""

    def __init__(self, emulator: Emulator, logged: LoggedEpisode, work: int):
        """Prepares a search.

        Args:
          emulator: of the game.
          logged: the episode.
          work: from how many states a step may be tried.
        """
        self._emulator = emulator
        self._observations = np.asarray(logged.observations).reshape(
            -1, *logged.observations.shape[1:3]
        )
        self._actions = [int(action) for action in logged.actions]
        self._rewards = [float(reward) for reward in logged.rewards]
        self._is_terminal = logged.is_terminal
        self._last_row = len(self._actions) - 1
        self._work_left = work
        self._standing_at: State | None = None
        self._trail: collections.deque[State] = collections.deque()

    def likeliest(self) -> Found:
        """One way through the episode, or the states that came furthest."""
        states, width, level, passed = self._starts(), 1, -1, -1
        furthest = Found(states, [])
        while states:
            row = states[0].row
            if row > furthest.states[0].row:
                furthest = Found(states, [])
            if row == self._last_row and (last := self._last(states)):
                return Found(states, last)
            children = self._advance(states, width) if row < self._last_row else []
            if children:
                states = children
                if row + 1 > passed:
                    states, width, level = states[:1], 1, -1
                continue
            level += 1
            if level == len(_WIDENINGS) or self._work_left <= 0:
                break
            passed = max(passed, row + 1)
            back, width = _WIDENINGS[level]
            states = self._back(states[0], back)
        return furthest

    def all(self, width: int) -> Found | None:
        """Every way through the episode; None where there are more states than `width` at once."""
        states = self._starts()
        for _ in range(self._last_row):
            children = self._advance(states, width + 1, keep_ways=True)
            if len(children) > width or self._work_left <= 0:
                return None
            if not children:
                return Found(states, [])
            states = children
        return Found(states, self._last(states))

    def _starts(self) -> list[State]:
        state = step.start(self._emulator)
        self._standing_at = None
        is_first = np.array_equal(observe(self._emulator.screen()), self._observations[0])
        return [state] if is_first else []

    def _advance(self, states: list[State], width: int, keep_ways: bool = False) -> list[State]:
        """Those of the next row, the likeliest first; with a width of 1 the first that is found."""
        children: dict[bytes, State] = {}
        for state in states:
            for outcome in self._outcomes(state):
                if not self._agrees(outcome, state.row):
                    continue
                child = self._child(outcome)
                if width == 1:
                    self._standing_at = child
                    if child.row % _KEPT_ROWS == 0:
                        child.snapshot = self._emulator.clone()
                    children[b""] = child
                    break
                child.snapshot = self._emulator.clone()
                key = hashlib.blake2b(child.snapshot.serialize(), digest_size=16).digest()
                key += bytes([child.last_action])
                if key in children:
                    _merge(children[key], child, keep_ways)
                else:
                    children[key] = child
            if width == 1 and children:
                break
        for state in states[1:]:
            _forget(state)
        self._keep(states[0])
        return sorted(children.values(), key=lambda child: -child.log_probability)[:width]

    def _keep(self, state: State) -> None:
        self._trail.append(state)
        if len(self._trail) > _KEPT_ROWS and (oldest := self._trail.popleft()).row % _KEPT_ROWS:
            _forget(oldest)

    def _back(self, state: State, rows: int | None) -> list[State]:
        target = 0 if rows is None else max(0, state.row - rows)
        while self._trail and self._trail[-1].row >= target:
            self._trail.pop()
        if target == 0:
            return self._starts()
        while state.row > target:
            state = state.ways[0].before
        return [state]

    def _outcomes(self, state: State) -> Iterator[Outcome]:
        self._work_left -= 1
        if self._standing_at is not state:
            step.stand_at(self._emulator, state)
        self._standing_at = None
        return step.outcomes(self._emulator, state, self._actions[state.row])

    def _agrees(self, outcome: Outcome, row: int) -> bool:
        return (
            not outcome.is_over
            and self._has_reward(outcome, row)
            and np.array_equal(observe(outcome.pooled), self._observations[row + 1])
        )

    def _has_reward(self, outcome: Outcome, row: int) -> bool:
        logged = self._rewards[row]
        return math.isnan(logged) or np.clip(outcome.way.reward, -1, 1) == logged

    def _last(self, states: list[State]) -> list[Outcome]:
        return [
            outcome
            for state in states
            for outcome in self._outcomes(state)
            if outcome.is_over == self._is_terminal and self._has_reward(outcome, self._last_row)
        ]

    def _child(self, outcome: Outcome) -> State:
        before = outcome.way.before
        return State(
            before.row + 1,
            outcome.way.executed[-1],
            outcome.lives,
            before.log_probability + outcome.log_probability,
            [outcome.way],
            outcome.pooled,
            None,
        )

    def why_lost(self, states: list[State]) -> str:
        """What speaks against every outcome of the states that came furthest, in one sentence."""
        if not states:
            return "its first frame is not the game's"
        row = states[0].row
        reached = [outcome for state in states for outcome in self._outcomes(state)]
        if row == self._last_row:
            reached = [outcome for outcome in reached if outcome.is_over == self._is_terminal]
            if not reached:
                return f"the game {'goes on' if self._is_terminal else 'ends'} after row {row}"
        else:
            following = self._observations[row + 1]
            reached = [each for each in reached if np.array_equal(observe(each.pooled), following)]
            if not reached:
                return f"no outcome of row {row}'s action shows row {row + 1}'s frame"
            if all(outcome.is_over for outcome in reached):
                return f"the game ends after row {row}"
        rewards = sorted({outcome.way.reward for outcome in reached})
        return f"row {row} has the reward {self._rewards[row]:g}, and the game gives {rewards}"


def _forget(state: State) -> None:
    if state.ways:  # A start cannot be come to again.
        state.snapshot = state.pooled = None


def _merge(state: State, other: State, keep_ways: bool) -> None:
    """Takes in another state that is equal."""
    is_likelier = other.log_probability > state.log_probability
    ways = [*other.ways, *state.ways] if is_likelier else [*state.ways, *other.ways]
    state.ways = ways if keep_ways else ways[:1]
    state.log_probability = float(np.logaddexp(state.log_probability, other.log_probability))
