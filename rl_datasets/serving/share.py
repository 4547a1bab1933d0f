"""A uniform share of the transitions of a split, such as 1% of a run, drawn once.

Which transitions are in a share depends on its seed and on the number of transitions of the split,
so every feed that takes a share serves the same ones. Their stacks, their rewards of n steps and
their next observations are those of the whole data.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of a split, which each of its transitions is equally likely to be in.

    Attributes:
      part: the part of all transitions that is in the share, above 0 and at most 1.
      seed: seeds the draw.

    Raises:
      ValueError: the part is out of its range.
    """

    part: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.part <= 1:  # This also refuses nan.
            raise ValueError(f"a share must be above 0 and at most 1, got {self.part}")

    def size(self, transitions: int) -> int:
        """How many of so many transitions are in the share: the nearest number, at least 1."""
        return max(1, round(self.part * transitions))

    def drawn(self, transitions: int) -> np.ndarray:
        """Draws the share: whether each of so many transitions is in it, [transitions] bool."""
        is_in = np.zeros(transitions, bool)
        is_in[: self.size(transitions)] = True
        np.random.default_rng(self.seed).shuffle(is_in)
        return is_in
