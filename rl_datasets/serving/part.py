"""A part of a split, in whole episodes: what one of several servers holds."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator

from rl_datasets.episode import Episode
from rl_datasets.published.version import Counts, Version


@dataclasses.dataclass(frozen=True)
class Part:
    """Every `of`-th episode of a split, beginning with episode `number`.

    Attributes:
      number: which part, from 1.
      of: the number of parts.

    Raises:
      ValueError: a number is out of its range.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"there is no part {self}: the first of three is 1/3")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Part:
        """The inverse of `str`.

        Raises:
          ValueError: the text is not a part.
        """
        if (match := re.fullmatch(r"([0-9]+)/([0-9]+)", text)) is None:
            raise ValueError(f"there is no part {text}: the first of three is 1/3")
        return cls(int(match[1]), int(match[2]))

    def episodes(self, version: Version, split: str, doing: str = "") -> Iterator[Episode]:
        """Its episodes, as of `Version.episodes`; the others are read too, and checked."""
        return itertools.islice(version.episodes(split, doing), self.number - 1, None, self.of)

    def counts(self, version: Version, split: str) -> Counts:
        """What it holds, which takes one more reading of the files if it is not the whole."""
        if self == WHOLE:
            return version.counts(split)
        doing = f"counting {version.location}"
        lengths = [each.num_transitions for each in self.episodes(version, split, doing)]
        return Counts(len(lengths), sum(lengths))


WHOLE = Part()
