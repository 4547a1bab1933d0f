"""Fixed shares of a table's cells, for as many machines as there are.

The shares depend on the table alone, not on what is published or done anywhere, so machines need
not know of each other. A cell is in the same part as those that start from its policy, so no part
waits for another one and nothing is trained twice.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from benchmarks.training.cells import Cell
from rl_datasets.errors import DatasetError

_PART = re.compile(r"(\d+)/(\d+)")


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several shares.

    Attributes:
      number: which one, from 1 on.
      of: how many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """A part such as `3/8`.

        Raises:
          DatasetError: it is written otherwise, or there is no such part.
        """
        found = _PART.fullmatch(text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise DatasetError(
                f"{text!r} is no part of a table: write 3/8 for the third of eight parts"
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def divide(cells: Sequence[Cell], of: int) -> list[list[Cell]]:
    """The cells of each part, in the table's order; parts have about as many steps to train.

    Args:
      cells: all cells of the table.
      of: the number of parts; of more parts than there are cells to share, some are empty.
    """
    groups: dict[Cell, list[int]] = {}
    for index, cell in enumerate(cells):
        groups.setdefault(cell.behavior or cell, []).append(index)
    every = set(cells)
    costs = {
        first: sum(cells[index].steps for index in indices) + (0 if first in every else first.steps)
        for first, indices in groups.items()
    }
    parts: list[list[int]] = [[] for _ in range(of)]
    loads = [0] * of
    for first in sorted(groups, key=lambda first: (-costs[first], groups[first][0])):
        least = loads.index(min(loads))
        parts[least] += groups[first]
        loads[least] += costs[first]
    return [[cells[index] for index in sorted(part)] for part in parts]
