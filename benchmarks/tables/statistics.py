"""Compares two sets of seeds statistically: pure functions of scores.

Differences of means are tested by Welch's t (Welch 1947, Biometrika 34), equivalence by two
one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15). Rows are
aggregated by the interquartile mean and the probability of improvement (Agarwal et al. 2021,
arXiv:2108.13264, and its library rliable).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats

from benchmarks.tables.reported import Score

LEVEL = 0.05
POWER = 0.8
RESAMPLES = 10_000


def least_p(ours: int, theirs: int) -> float:
    """The smallest two-sided p of a permutation test, which assumes no distribution of scores.

    It is 2 divided by the number of ways to split all scores into groups of these sizes.
    """
    return 2 / math.comb(ours + theirs, ours)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of two means over seeds.

    Attributes:
      value: the first mean minus the second.
      error: its standard error, not pooled.
      freedom: its degrees of freedom, by Welch and Satterthwaite.
    """

    value: float
    error: float
    freedom: float

    @classmethod
    def of(cls, ours: Score, theirs: Score, their_seeds: int) -> Difference:
        """The mean of `ours` minus that of `theirs`.

        Args:
          ours: scores of two or more seeds.
          theirs: scores of their seeds, or only mean and spread.
          their_seeds: number of their seeds, two or more.
        """
        assert ours.spread is not None
        assert theirs.spread is not None
        sides = ((ours.spread, len(ours.per_seed)), (theirs.spread, their_seeds))
        squares = [
            spread**2 / (seeds - 1) for spread, seeds in sides
        ]  # squared errors of the means
        square = sum(squares)
        freedom = math.inf
        if square:
            freedom = square**2 / sum(
                s**2 / (n - 1) for s, (_, n) in zip(squares, sides, strict=True)
            )
        return cls(ours.mean - theirs.mean, math.sqrt(square), freedom)

    def interval(self, coverage: float = 1 - LEVEL) -> tuple[float, float]:
        """Two-sided."""
        reach = float(scipy.stats.t.ppf((1 + coverage) / 2, self.freedom)) * self.error
        return self.value - reach, self.value + reach

    @property
    def p_value(self) -> float:
        """Two-sided p of the hypothesis that there is no difference."""
        return min(1.0, 2 * self._tail(abs(self.value)))

    def equivalence_p_value(self, margin: float) -> float:
        """The p of a difference of at least `margin`: the larger p of two one-sided tests."""
        return self._tail(margin - abs(self.value))

    def smallest_shown(self) -> float:
        """The true difference that the test would find at `LEVEL` with probability `POWER`."""
        if not self.error:
            return 0.0
        critical = scipy.stats.t.ppf(1 - LEVEL / 2, self.freedom)
        return self.error * float(scipy.special.nctdtrinc(self.freedom, 1 - POWER, critical))

    def _tail(self, distance: float) -> float:
        """The probability of an estimate that exceeds the truth by at least this distance."""
        if not self.error:
            return float(distance <= 0)
        return float(scipy.stats.t.sf(distance / self.error, self.freedom))


def mean_interval(score: Score) -> tuple[float, float]:
    """95 % interval of a mean over seeds, by Student's t; NaN for fewer than two seeds."""
    seeds = len(score.per_seed)
    if seeds < 2:
        return math.nan, math.nan
    error = np.std(score.per_seed, ddof=1) / math.sqrt(seeds)
    reach = float(scipy.stats.t.ppf(1 - LEVEL / 2, seeds - 1) * error)
    return score.mean - reach, score.mean + reach


def interquartile_mean(scores: npt.ArrayLike) -> np.ndarray:
    """Mean of the middle half of all scores of all rows: [..., seeds, rows] -> [...]."""
    scores = np.asarray(scores)
    return scipy.stats.trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1)


def probability_of_improvement(ours: npt.ArrayLike, theirs: npt.ArrayLike) -> np.ndarray:
    """Probability that one of our seeds exceeds one of theirs, mean over rows; a tie counts half.

    Args:
      ours: [..., seeds, rows].
      theirs: [..., seeds, rows], with the same number of rows.
    """
    ours, theirs = np.asarray(ours)[..., :, None, :], np.asarray(theirs)[..., None, :, :]
    return np.mean((ours > theirs) + 0.5 * (ours == theirs), axis=(-3, -2, -1))


def interquartile_difference(ours: npt.ArrayLike, theirs: npt.ArrayLike) -> np.ndarray:
    """Interquartile mean of ours minus that of theirs, [..., seeds, rows] each."""
    return interquartile_mean(ours) - interquartile_mean(theirs)


def stratified_bootstrap(
    statistic: Callable[..., np.ndarray], *samples: npt.ArrayLike
) -> tuple[Any, Any]:
    """95 % percentile interval of a statistic, by a seeded bootstrap of seeds within each row.

    Args:
      statistic: takes each sample as [resamples, seeds, rows], and returns [resamples, ...].
      samples: [seeds, rows] each.

    Returns:
      The low and the high end: two numbers, or two arrays [...].
    """
    rng = np.random.default_rng(0)

    def resampled(scores: npt.ArrayLike) -> np.ndarray:
        scores = np.asarray(scores)
        drawn = rng.integers(len(scores), size=(RESAMPLES, *scores.shape))
        return np.take_along_axis(scores[None], drawn, axis=1)

    values = statistic(*map(resampled, samples))
    low, high = np.quantile(values, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return low, high
