"""Measured beside reported: the scores, their spread, and the rule that gives a row its status."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from benchmarks.recipe import Recipe, Row
from benchmarks.tables import ReportedTable
from rl_datasets.errors import DatasetError

REPRODUCED, DIFFERS, NOT_RUN = "reproduced", "differs", "not run"
LEVEL = 0.05
LAST = 10  # evaluations that a score averages

RULE = f"""\
A seed's score is the mean of its last {LAST} evaluations. A row is **{REPRODUCED}** when an exact
permutation test on the difference of the means over seeds, two-sided, does not tell the seeds
measured from the seeds reported at the level of {LEVEL:.0%}, and **{DIFFERS}** when it does. It is
**{NOT_RUN}** until every seed of the recipe has run to its end at the full budget. Among twenty
rows that reproduce, one will be said to differ by chance; and where seeds scatter widely, few of
them show no more than the interval beside the difference."""
INTERVAL = """\
Intervals are 95 % percentile bootstraps over seeds (10,000 resamples, seeded), which with five
seeds are somewhat too narrow. Spreads (±) are population standard deviations over seeds."""

ONE_OF_A_RUN = ("seed", "step", "returns", "metrics", "code_version", "seconds")


@dataclasses.dataclass(frozen=True)
class Score:
    """A value for each seed; `mean`, `spread` (population standard deviation) and a 95 % interval
    of the mean follow from them.
    """

    per_seed: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.per_seed))

    @property
    def spread(self) -> float:
        return float(np.std(self.per_seed))

    @property
    def interval(self) -> tuple[float, float]:
        return _bootstrap(np.mean, self.per_seed)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row of the table.

    Attributes:
      row: of the recipe.
      reported: by the authors, on their data.
      measured: here, on the dataset that the row names; None if no seed has finished.
      status: `reproduced`, `differs` or `not run`, by `RULE`.
      why: what stands behind the status.
    """

    row: Row
    reported: Score
    measured: Score | None
    status: str
    why: str

    @property
    def difference(self) -> float:
        """Measured less reported."""
        return self._measured.mean - self.reported.mean

    @property
    def difference_interval(self) -> tuple[float, float]:
        return _bootstrap(_difference, self._measured.per_seed, self.reported.per_seed)

    @property
    def _measured(self) -> Score:
        assert self.measured is not None
        return self.measured


def curves(results: Sequence[Mapping[str, Any]]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Steps and mean returns of every seed of one row, by seed."""
    seeds = sorted({result["seed"] for result in results})
    points = {
        seed: sorted(
            (r["step"], float(np.mean(r["returns"]))) for r in results if r["seed"] == seed
        )
        for seed in seeds
    }
    return {seed: (np.array(p)[:, 0], np.array(p)[:, 1]) for seed, p in points.items()}


def compare(
    table: ReportedTable, recipe: Recipe, results: Sequence[Mapping[str, Any]], budget: float = 1.0
) -> list[Comparison]:
    """Every row of a recipe, reported and measured.

    Args:
      table: what was reported.
      recipe: what was to be run.
      results: lines of any of the recipe's rows.
      budget: the fraction of the full budget at which the results were measured.

    Raises:
      DatasetError: results of a row are not of one measurement.
    """
    comparisons = []
    for row in recipe.rows:
        of_row = [result for result in results if result["row"] == row.reported]
        check_one_measurement(of_row, recipe, row, budget)
        comparisons.append(_compare_row(table, recipe, row, of_row, budget))
    return comparisons


def check_one_measurement(
    results: Sequence[Mapping[str, Any]], recipe: Recipe, row: Row, budget: float
) -> None:
    """Raises `DatasetError` unless the lines differ only in what one run differs from another."""
    for result in results:
        if result["dataset"] != row.dataset or result["budget"] != budget:
            raise DatasetError(
                f"results of {row.reported!r} are of {result['dataset']} at budget "
                f"{result['budget']:g}, and {row.dataset} at budget {budget:g} was asked for: "
                "keep them apart"
            )
        for field in result.keys() - set(ONE_OF_A_RUN):
            if result[field] != results[0][field]:
                raise DatasetError(
                    f"results of {row.reported!r} mix two values of {field}, "
                    f"{results[0][field]!r} and {result[field]!r}: keep one and move the other away"
                )


def _compare_row(
    table: ReportedTable,
    recipe: Recipe,
    row: Row,
    results: Sequence[Mapping[str, Any]],
    budget: float,
) -> Comparison:
    reported = Score(table.rows[row.reported].last_10)
    finished = {
        seed: returns
        for seed, (steps, returns) in curves(results).items()
        if steps[-1] == recipe.steps_at(budget)
    }
    if not finished:
        why = "no seed has finished" if results else "nothing was measured"
        return Comparison(row, reported, None, NOT_RUN, why)
    measured = Score(tuple(float(np.mean(r[-LAST:])) for r in finished.values()))
    if budget != 1:
        why = f"measured at {budget:.0%} of the budget only"
        return Comparison(row, reported, measured, NOT_RUN, why)
    if len(finished) < len(recipe.seeds):
        why = f"{len(finished)} of {len(recipe.seeds)} seeds have finished"
        return Comparison(row, reported, measured, NOT_RUN, why)
    p = permutation_p_value(measured.per_seed, reported.per_seed)
    status = DIFFERS if p < LEVEL else REPRODUCED
    return Comparison(row, reported, measured, status, f"p = {p:.3f}")


def permutation_p_value(measured: Sequence[float], reported: Sequence[float]) -> float:
    """Two-sided p of the difference of means over all ways to deal the values to two groups."""
    return scipy.stats.permutation_test(
        (measured, reported), _difference, vectorized=True, n_resamples=np.inf
    ).pvalue


def _difference(measured: Any, reported: Any, axis: int = -1) -> Any:
    return np.mean(measured, axis=axis) - np.mean(reported, axis=axis)


@functools.cache
def _bootstrap(statistic: Any, *samples: tuple[float, ...]) -> tuple[float, float]:
    if min(map(len, samples)) < 2:
        return (np.nan, np.nan)
    interval = scipy.stats.bootstrap(
        samples,
        statistic,
        n_resamples=10_000,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)
