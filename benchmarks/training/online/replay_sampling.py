"""Draws transitions from a circular buffer of frames as Dopamine does (arXiv:1812.06110).

A row can be drawn if its stack and the n rows after it are in the buffer, and if its stack holds
frames of only one episode. This also excludes padding, which follows a terminal row.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from rl_datasets.collection.replay_log import ReplayBuffer
from rl_datasets.serving.priorities import SumTree
from rl_datasets.serving.transitions import Transition
from rl_datasets.sources.dqn_replay import STACK_SIZE

IMPORTANCE = "importance"  # the extra of a transition that has the weight of its loss
_BEFORE = np.arange(1 - STACK_SIZE, 0)


class Sampler(Protocol):
    """Draws batches from a buffer that grows."""

    @property
    def buffer(self) -> ReplayBuffer:
        """That is drawn from."""

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        """A batch [1, B, ...]; the buffer must have a row that can be drawn."""

    def update(self, priorities: np.ndarray) -> None:
        """Sets the priorities [B] of the batch that was drawn last."""


@dataclasses.dataclass
class Uniform:
    """Draws every row that can be drawn with the same probability.

    Attributes:
      buffer: that is drawn from.
      n_step: number of rewards in a transition.
      gamma: discount factor within a transition.
    """

    buffer: ReplayBuffer
    n_step: int = 1
    gamma: float = 1.0

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        oldest, end = _bounds(self.buffer, self.n_step)
        rows = rng.integers(oldest, end, batch_size)
        while np.any(is_cut := _is_cut(self.buffer, rows)):
            rows[is_cut] = rng.integers(oldest, end, np.count_nonzero(is_cut))
        return transitions_of(self.buffer, rows, self.n_step, self.gamma)

    def update(self, priorities: np.ndarray) -> None:
        pass


class Prioritized:
    """Draws rows in proportion to their priorities (Schaul et al. 2016, arXiv:1511.05952).

    As in Dopamine, the range of priorities is divided into B equal parts, one row is drawn from
    each, and a row that cannot be drawn is drawn again from all of the range. A new row has the
    highest priority that any row has had. The importance of a transition is 1 / sqrt(p), divided by
    the highest of its batch; p is the probability of its row.
    """

    def __init__(self, buffer: ReplayBuffer, n_step: int = 1, gamma: float = 1.0):
        self.buffer = buffer
        self._n_step, self._gamma = n_step, gamma
        self._capacity = len(buffer.store["action"])
        self._tree = SumTree(self._capacity)
        self._highest = 1.0
        self._count = 0  # of rows that have a priority
        self._drawn = np.zeros(0, np.int64)

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        self._add_new_rows()
        oldest, end = _bounds(self.buffer, self._n_step)
        places = self._tree.sample((np.arange(batch_size) + rng.random(batch_size)) / batch_size)
        while np.any(is_out := ~self._can_be_drawn(places, oldest, end)):
            places[is_out] = self._tree.sample(rng.random(np.count_nonzero(is_out)))
        self._drawn = places
        batch = transitions_of(self.buffer, self._rows_at(places), self._n_step, self._gamma)
        weights = 1 / np.sqrt(self._tree.probabilities(places))
        importance = (weights / weights.max()).astype(np.float32)
        return batch._replace(extras={IMPORTANCE: importance[None]})

    def update(self, priorities: np.ndarray) -> None:
        self._tree.set(self._drawn, np.asarray(priorities, np.float64))
        self._highest = max(self._highest, float(np.max(priorities)))

    def _add_new_rows(self) -> None:
        count = self.buffer.add_count
        rows = np.arange(max(self._count, count - self._capacity), count)
        self._tree.set(rows % self._capacity, np.full(len(rows), self._highest))
        self._count = count

    def _rows_at(self, places: np.ndarray) -> np.ndarray:
        """The newest rows at these places, as counted by `add_count`."""
        newest = self.buffer.add_count - 1
        return newest - (newest - places) % self._capacity

    def _can_be_drawn(self, places: np.ndarray, oldest: int, end: int) -> np.ndarray:
        rows = self._rows_at(places)
        return (rows >= oldest) & (rows < end) & ~_is_cut(self.buffer, rows)


def _bounds(buffer: ReplayBuffer, n_step: int) -> tuple[int, int]:
    """The oldest row that can be drawn, and the end of those that can."""
    capacity = len(buffer.store["action"])
    is_full = buffer.add_count >= capacity
    oldest = buffer.add_count - capacity + STACK_SIZE if is_full else STACK_SIZE - 1
    return oldest, buffer.add_count - n_step


def _is_cut(buffer: ReplayBuffer, rows: np.ndarray) -> np.ndarray:
    """Whether an episode ends within the stack of a row [N]."""
    terminal = buffer.store["terminal"]
    return terminal[(rows[:, None] + _BEFORE) % len(terminal)].any(axis=1)


def transitions_of(buffer: ReplayBuffer, rows: np.ndarray, n_step: int, gamma: float) -> Transition:
    """The transitions [1, B, ...] that begin at rows [B], as counted by `add_count`.

    After the end of an episode there are no more rewards, and the discount is 0; what follows it in
    the buffer is the next observation.
    """
    store = buffer.store
    capacity = len(store["action"])
    ahead = np.arange(n_step)
    terminal = store["terminal"][(rows[:, None] + ahead) % capacity].astype(bool)
    is_over = terminal.any(axis=1)
    length = np.where(is_over, terminal.argmax(axis=1) + 1, n_step)
    rewards = store["reward"][(rows[:, None] + ahead) % capacity]
    factors = np.where(ahead < length[:, None], gamma**ahead, 0).astype(np.float32)
    stack = np.append(_BEFORE, 0)
    return Transition(
        observation=_stacks(store["observation"], rows[:, None] + stack),
        action=store["action"][rows[None] % capacity],
        reward=np.sum(rewards * factors, axis=1, dtype=np.float32)[None],
        discount=np.where(is_over, 0, gamma ** (n_step - 1)).astype(np.float32)[None],
        next_observation=_stacks(store["observation"], (rows + length)[:, None] + stack),
        extras={},
    )


def _stacks(frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Stacks [1, B, H, W, 4] of the frames at rows [B, 4], oldest first."""
    return np.ascontiguousarray(np.moveaxis(frames[rows % len(frames)], 1, -1)[None])
