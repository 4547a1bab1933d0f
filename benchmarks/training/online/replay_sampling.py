"""Draws transitions from a circular buffer of frames as Dopamine does (arXiv:1812.06110).

A row can be drawn if its stack and the n rows after it are in the buffer, and if its stack holds
frames of only one episode. This also excludes padding, which follows a terminal row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from rl_datasets.collection.replay_log import ReplayBuffer
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.priorities import RowPriorities
from rl_datasets.serving.transitions import Transition
from rl_datasets.sources.dqn_replay import STACK_SIZE

IMPORTANCE = "importance"  # an extra: the weight of a transition's loss
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

    def kept(self) -> dict[str, np.ndarray]:
        """What a checkpoint needs besides the buffer."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continues from what `kept` gave, with the buffer of that time."""


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

    def kept(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        pass


class Mixed:
    """Replaces each transition of a batch, with a probability, by one of another source."""

    def __init__(self, played: Uniform, given: ArrayFeed, share: float):
        """Makes a sampler.

        Args:
          played: draws from the buffer.
          given: gives batches [1, B, ...] of the other source, as many as are drawn.
          share: the probability.
        """
        self.buffer = played.buffer
        self._played, self._given, self._share = played, given, share

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        is_given = rng.random((1, batch_size)) < self._share

        def chosen(given: np.ndarray, played: np.ndarray) -> np.ndarray:
            mask = is_given.reshape(*is_given.shape, *(1,) * (np.ndim(played) - 2))
            return np.where(mask, given, played).astype(played.dtype)

        given, played = next(self._given), self._played.sample(rng, batch_size)
        return Transition(
            observation=chosen(given.observation, played.observation),
            action=chosen(given.action, played.action),
            reward=chosen(given.reward, played.reward),
            discount=chosen(given.discount, played.discount),
            next_observation=chosen(given.next_observation, played.next_observation),
            extras={},
        )

    def update(self, priorities: np.ndarray) -> None:
        pass

    def kept(self) -> dict[str, np.ndarray]:
        return {"given": np.array(self._given.position)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._given.seek(int(arrays["given"]))


class Prioritized:
    """Draws rows in proportion to their priorities (Schaul et al. 2016, arXiv:1511.05952).

    As in Dopamine, a row that cannot be drawn is replaced by another draw. The importance of a
    transition is 1 / sqrt(p), divided by the highest of its batch; p is the probability of its row.
    """

    def __init__(
        self, buffer: ReplayBuffer, priorities: RowPriorities, n_step: int = 1, gamma: float = 1.0
    ):
        """Makes a sampler; the priorities must be of as many rows as the buffer has."""
        self.buffer = buffer
        self._priorities = priorities
        self._n_step, self._gamma = n_step, gamma
        self._drawn = np.zeros(0, np.int64)

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        self._priorities.add_until(self.buffer.add_count)
        rows, probabilities = self._priorities.draw(rng, batch_size)
        oldest, end = _bounds(self.buffer, self._n_step)
        while np.any(is_out := (rows < oldest) | (rows >= end) | _is_cut(self.buffer, rows)):
            others = self._priorities.draw(rng, np.count_nonzero(is_out))
            rows[is_out], probabilities[is_out] = others
        self._drawn = rows
        weights = 1 / np.sqrt(probabilities)
        importance = (weights / weights.max()).astype(np.float32)
        batch = transitions_of(self.buffer, rows, self._n_step, self._gamma)
        return batch._replace(extras={IMPORTANCE: importance[None]})

    def update(self, priorities: np.ndarray) -> None:
        self._priorities.set(self._drawn, np.asarray(priorities, np.float64))

    def kept(self) -> dict[str, np.ndarray]:
        return self._priorities.kept()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._priorities.restore(arrays)


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
