"""Draws rows by their priorities with Reverb's own sampler, in the place of `RowPriorities`."""

from __future__ import annotations

import numpy as np
import reverb

_TABLE = "rows"


class ReverbPriorities:
    """As `priorities.RowPriorities`, with three differences.

    Draws are independent, Reverb cannot seed them, and a checkpoint does not keep the priorities.
    """

    def __init__(self, capacity: int):
        """Starts a server in this process, with the numbers of rows as items."""
        table = reverb.Table(
            _TABLE,
            sampler=reverb.selectors.Prioritized(1.0),
            remover=reverb.selectors.Fifo(),
            max_size=capacity,
            rate_limiter=reverb.rate_limiters.MinSize(1),
        )
        self._capacity = capacity
        self._server = reverb.Server([table])
        self._client = reverb.Client(f"localhost:{self._server.port}")
        self._highest = 1.0
        self._count = 0
        self._keys: dict[int, int] = {}  # Reverb's number of an item, by row, of the rows drawn

    def add_until(self, count: int) -> None:
        """As of `RowPriorities`."""
        for row in range(max(self._count, count - self._capacity), count):
            self._client.insert([np.int64(row)], {_TABLE: self._highest})
        self._count = count

    def draw(self, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        """As of `RowPriorities`; the generator is not used."""
        del rng
        samples = [step for (step,) in self._client.sample(_TABLE, number)]
        rows = np.array([int(sample.data[0]) for sample in samples], np.int64)
        keys = [int(sample.info.key) for sample in samples]
        self._keys |= dict(zip(rows.tolist(), keys, strict=True))
        return rows, np.array([sample.info.probability for sample in samples])

    def set(self, rows: np.ndarray, priorities: np.ndarray) -> None:
        """As of `RowPriorities`, of rows that were drawn since the last call."""
        of_rows = zip(rows.tolist(), np.asarray(priorities).tolist(), strict=True)
        updates = {self._keys[row]: priority for row, priority in of_rows}
        self._client.mutate_priorities(_TABLE, updates=updates)
        self._highest = max(self._highest, float(np.max(priorities)))
        self._keys = {}
