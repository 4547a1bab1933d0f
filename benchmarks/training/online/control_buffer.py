"""A replay buffer of vectors, for online soft actor-critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_datasets.serving.transitions import Transition


class ReplayBuffer:
    """A ring of transitions, sampled uniformly with replacement."""

    def __init__(self, capacity: int, observation_size: int, action_size: int):
        sizes = {
            "observation": (observation_size,),
            "action": (action_size,),
            "reward": (),
            "discount": (),
            "next_observation": (observation_size,),
            "is_last": (),
        }
        self._fields = {
            name: np.empty((capacity, *size), np.float32) for name, size in sizes.items()
        }
        self._capacity = capacity
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    def add(self, transition: Mapping[str, Any]) -> None:
        """Adds a transition, in place of the oldest if the buffer is full.

        Args:
          transition: the fields of `Transition` by name, and `is_last`: whether its episode ended.
        """
        index = self._added % self._capacity
        for name, field in self._fields.items():
            field[index] = transition[name]
        self._added += 1

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        """A batch [1, B, ...], for one update."""
        indices = rng.integers(len(self), size=batch_size)
        batch = {
            name: self._fields[name][indices][None]
            for name in Transition._fields
            if name != "extras"
        }
        return Transition(**batch, extras={})

    def latest(self, count: int) -> dict[str, np.ndarray]:
        """The last `count` transitions [N, ...] that were added, or all if there are fewer."""
        first = self._added - min(count, len(self))
        return {name: field[self._places(first)] for name, field in self._fields.items()}

    def restore(self, added: int, latest: Mapping[str, np.ndarray]) -> None:
        """Puts the transitions of `latest` back where they were after `added` additions."""
        self._added = added
        places = self._places(added - len(latest["reward"]))
        for name, field in self._fields.items():
            field[places] = latest[name]

    def _places(self, first: int) -> np.ndarray:
        return np.arange(first, self._added) % self._capacity
