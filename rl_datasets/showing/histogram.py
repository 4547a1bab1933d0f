"""Histograms of a stream of numbers whose range is not known before its end.

A bin is [i * width, (i + 1) * width), and the width is a power of two: the smallest for which no
more than `MOST_BINS` bins reach from the least number to the greatest. So the result does not
depend on the order of the numbers, or on how they were cut into pieces.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

MOST_BINS = 65  # Numbers from -1 to 1 take 65 bins: 64 of 1/32, and one that begins at 1.
_FINEST = -30  # The exponent of the least width, 1e-9.
_PRECISION = 52  # Bits in which a float's bin is still exact.


@dataclasses.dataclass(frozen=True)
class Histogram:
    """How many numbers fell into each bin.

    Attributes:
      counts: of each bin, from the first that is not empty to the last.
      first: the number of the first bin; it begins at `first * width`.
      exponent: the width of a bin is 2 ** exponent.
      least, greatest: the extremes of the numbers; NaN where there are none.
    """

    counts: tuple[int, ...] = ()
    first: int = 0
    exponent: int = _FINEST
    least: float = math.nan
    greatest: float = math.nan

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def width(self) -> float:
        return 2.0**self.exponent

    @property
    def edges(self) -> list[float]:
        """Of the bins, one more than there are bins."""
        return [(self.first + place) * self.width for place in range(len(self.counts) + 1)]

    def plus(self, numbers: np.ndarray) -> Histogram:
        """The histogram with more numbers, of any shape; those that are not finite are left out."""
        numbers = np.asarray(numbers, np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if not numbers.size:
            return self
        least, greatest = float(numbers.min()), float(numbers.max())
        if self.counts:
            least, greatest = min(least, self.least), max(greatest, self.greatest)
        exponent = _exponent(least, greatest)
        bins, places = np.unique(
            np.floor(np.ldexp(numbers, -exponent)).astype(np.int64), return_counts=True
        )
        shift = exponent - self.exponent
        ours = [(self.first + place) >> shift for place in range(len(self.counts))]
        first = int(min([bins[0], *ours[:1]]))
        counts = np.zeros(max([bins[-1], *ours[-1:]]) - first + 1, np.int64)
        np.add.at(counts, np.array(ours, np.int64) - first, np.array(self.counts, np.int64))
        counts[bins - first] += places
        return Histogram(tuple(counts.tolist()), first, exponent, least, greatest)


def _exponent(least: float, greatest: float) -> int:
    """Of the width that numbers in this range take."""
    largest = max(abs(least), abs(greatest))
    exponent = max(_FINEST, math.frexp(largest)[1] - _PRECISION)
    while _bin(greatest, exponent) - _bin(least, exponent) >= MOST_BINS:
        exponent += 1
    return exponent


def _bin(number: float, exponent: int) -> int:
    return math.floor(math.ldexp(number, -exponent))
