"""Draws places in proportion to their priorities (Schaul et al. 2016, arXiv:1511.05952)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class SumTree:
    """Priorities of C places, in a binary tree each of whose nodes is the sum of its two children.

    To set or to draw N places takes log2(C) array operations.
    """

    def __init__(self, capacity: int):
        """Makes a tree whose priorities are all 0.

        Raises:
          ValueError: the capacity is below 1.
        """
        if capacity < 1:
            raise ValueError(f"a SumTree needs at least one place, got {capacity}")
        self.capacity = capacity
        self._levels = max(1, (capacity - 1).bit_length())
        self._leaves = 1 << self._levels
        self._nodes = np.zeros(2 * self._leaves)  # the root is node 1, node i has 2i and 2i + 1

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return float(self._nodes[1])

    def set(self, places: np.ndarray, priorities: np.ndarray) -> None:
        """Sets the priorities of places [N]; of a place that is given twice, the last one counts.

        Args:
          places: [N] integers.
          priorities: [N] numbers, none negative.

        Raises:
          ValueError: a place is outside [0, C), or a priority is negative or not finite.
        """
        self._check(places)
        if not np.all(np.isfinite(priorities) & (np.asarray(priorities) >= 0)):
            raise ValueError("a priority must be a finite number that is not negative")
        nodes = np.asarray(places) + self._leaves
        self._nodes[nodes] = priorities
        for _ in range(self._levels):
            nodes = np.unique(nodes >> 1)
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def get(self, places: np.ndarray) -> np.ndarray:
        """The priorities [N] float64 of places [N]."""
        self._check(places)
        return self._nodes[np.asarray(places) + self._leaves]

    def probabilities(self, places: np.ndarray) -> np.ndarray:
        """The probabilities [N] float64 of drawing places [N]."""
        return self.get(places) / self.total

    def sample(self, points: np.ndarray) -> np.ndarray:
        """The places [N] at which the running sum of priorities passes points [N] times the total.

        Args:
          points: numbers in [0, 1); if they are uniform, places are drawn by their priorities.

        Raises:
          ValueError: all priorities are 0.
        """
        if self.total <= 0:
            raise ValueError("no place has a priority: set some first")
        left = np.asarray(points) * self.total
        nodes = np.ones(np.shape(points), np.int64)
        for _ in range(self._levels):
            nodes = 2 * nodes
            sums = self._nodes[nodes]
            # Rounding must not lead to the right of the last place that has a priority.
            goes_right = (left >= sums) & (self._nodes[nodes + 1] > 0)
            left = np.where(goes_right, left - sums, left)
            nodes = nodes + goes_right
        return nodes - self._leaves

    def _check(self, places: np.ndarray) -> None:
        array = np.asarray(places)
        if array.size and not (array.min() >= 0 and array.max() < self.capacity):
            raise ValueError(f"places must be in [0, {self.capacity}), got {array}")


class RowPriorities:
    """The priorities of the newest C rows of a buffer that grows.

    A new row has the highest priority that any row has had, 1 at first.
    """

    def __init__(self, capacity: int):
        self._tree = SumTree(capacity)
        self._highest = 1.0
        self._count = 0

    def add_until(self, count: int) -> None:
        """Adds the new rows of a buffer that now has had `count` rows; they replace the oldest."""
        capacity = self._tree.capacity
        rows = np.arange(max(self._count, count - capacity), count)
        self._tree.set(rows % capacity, np.full(len(rows), self._highest))
        self._count = count

    def draw(self, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws rows by their priorities, one from each of N equal parts of their sum.

        Returns:
          rows [N], counted from the first that was ever added, and their probabilities [N].
        """
        places = self._tree.sample((np.arange(number) + rng.random(number)) / number)
        newest = self._count - 1
        rows = newest - (newest - places) % self._tree.capacity
        return rows, self._tree.probabilities(places)

    def set(self, rows: np.ndarray, priorities: np.ndarray) -> None:
        """Sets the priorities [N] of rows [N]."""
        self._tree.set(rows % self._tree.capacity, priorities)
        self._highest = max(self._highest, float(np.max(priorities)))

    def kept(self) -> dict[str, np.ndarray]:
        """All that `restore` needs."""
        return {
            "priorities": self._tree.get(np.arange(self._tree.capacity)),
            "highest_priority": np.array(self._highest),
            "rows_with_priority": np.array(self._count),
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continues from what `kept` gave."""
        self._tree.set(np.arange(self._tree.capacity), arrays["priorities"])
        self._highest = float(arrays["highest_priority"])
        self._count = int(arrays["rows_with_priority"])
