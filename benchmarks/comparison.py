"""Measured beside reported: the scores, their spread, and the rule that gives a row its status."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from benchmarks.recipe import OWN, Recipe, Row
from benchmarks.tables import STATISTICS, ReportedTable, Score
from rl_datasets.errors import DatasetError

REPRODUCED, DIFFERS, APART = "reproduced", "differs", "stands apart"
IN_PART, NOT_RUN = "run in part", "not run"
LEVEL = 0.05

SCORED = {
    "last_10": "the mean of its last 10 evaluations",
    "last": "its last evaluation",
    "best": "its best evaluation",
    "unstated": "its last evaluation; the source does not say which of a run's it reports",
}
PERMUTATION = """\
an exact
permutation test on the difference of the means over seeds, two-sided, does not tell the seeds
measured from the seeds reported"""
WELCH = """\
Welch's
t-test, two-sided, does not tell the seeds measured from the mean and spread reported"""
ONE_RUN = """\
a t-test,
two-sided, does not tell the one run reported, taken to scatter as those measured do, from the seeds
measured"""
INTERVAL = """\
Intervals are 95 % percentile bootstraps over seeds (10,000 resamples, seeded), which with five
seeds are somewhat too narrow. Spreads (±) are population standard deviations over seeds."""
T_INTERVAL = " Of a\ndifference to what was reported without its seeds they are Student's t."

ONE_OF_A_RUN = ("seed", "step", "returns", "metrics", "code_version", "seconds")


APART_RULE = f"""\
A row **{APART}** where it has no reported value, or where its data are of this project's own
policies or rules: it is shown beside what was reported, and not compared with it."""


def rule(table: ReportedTable) -> str:
    """How a row of a table gets its status, and what the intervals are, as text."""
    scores = [of for row in table.rows.values() if (of := row.scores.get(table.statistic))]
    tests = dict.fromkeys(_test(score) for score in scores)
    if not tests:
        return f"A seed's score is {SCORED[table.statistic]}.\n\n{INTERVAL}"
    when = f"{', or '.join(tests)} at the level of {LEVEL:.0%}"
    differs = f"and **{DIFFERS}** when it does"
    return f"""\
A seed's score is {SCORED[table.statistic]}. A row is **{REPRODUCED}** when {when}, {differs}. It is
**{IN_PART}**, and not compared, until every seed of the recipe has run to its end at the full
budget, and **{NOT_RUN}** until one has run to the end of the budget asked for. Among twenty
rows that reproduce, one will be said to differ by chance; and where seeds scatter widely, few of
them show no more than the interval beside the difference.

{INTERVAL}{T_INTERVAL if {*tests} - {PERMUTATION} else ""}"""


def _test(reported: Score) -> str:
    if reported.per_seed:
        return PERMUTATION
    return ONE_RUN if reported.spread is None else WELCH


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row of the table.

    Attributes:
      row: of the recipe.
      reported: by the authors, on their data; None if no value is known.
      reported_seeds: how many runs that is of.
      measured: here, on the dataset that the row names; None if no seed has finished.
      status: `reproduced`, `differs`, `run in part`, `not run` or `stands apart`, by `rule`.
      why: what stands behind the status.
      others: scores that are shown and not compared, by statistic, as reported and as measured.
    """

    row: Row
    reported: Score | None
    reported_seeds: int
    measured: Score | None
    status: str
    why: str
    others: Mapping[str, tuple[Score | None, Score | None]]

    @property
    def difference(self) -> float:
        """Measured less reported."""
        measured, reported = self._both
        return measured.mean - reported.mean

    @property
    def difference_interval(self) -> tuple[float, float]:
        """Of 95 %: bootstrapped where the seeds reported are known, and else Student's t's."""
        measured, reported = self._both
        if reported.per_seed:
            return _bootstrap(_difference, measured.per_seed, reported.per_seed)
        error, freedom = _error(measured, reported, self.reported_seeds)
        reach = float(scipy.stats.t.ppf(0.975, freedom)) * error
        return self.difference - reach, self.difference + reach

    @property
    def _both(self) -> tuple[Score, Score]:
        assert self.measured is not None
        assert self.reported is not None
        return self.measured, self.reported


def interval(score: Score) -> tuple[float, float]:
    """95 % interval of a mean over seeds; NaN where there are no two."""
    return _bootstrap(np.mean, score.per_seed)


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
        of_row = [result for result in results if result["row"] == row.name]
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
                f"results of {row.name!r} are of {result['dataset']} at budget "
                f"{result['budget']:g}, and {row.dataset} at budget {budget:g} was asked for: "
                "keep them apart"
            )
        for field in result.keys() - set(ONE_OF_A_RUN):
            if result[field] != results[0][field]:
                raise DatasetError(
                    f"results of {row.name!r} mix two values of {field}, "
                    f"{results[0][field]!r} and {result[field]!r}: keep one and move the other away"
                )


def _compare_row(
    table: ReportedTable,
    recipe: Recipe,
    row: Row,
    results: Sequence[Mapping[str, Any]],
    budget: float,
) -> Comparison:
    scores = table.rows[row.reported].scores
    reported = scores.get(table.statistic)
    finished = [
        returns
        for steps, returns in curves(results).values()
        if steps[-1] == recipe.steps_at(budget)
    ]

    def measure(statistic: str) -> Score | None:
        values = [_unit(table, row)(STATISTICS[statistic](returns)) for returns in finished]
        return Score.over_seeds(values) if values else None

    others = [of for of in STATISTICS if of in scores and of != table.statistic]
    if table.statistic == "unstated":
        others.append("best")
    measured = measure(table.statistic)
    status, why = _status(table, recipe, row, reported, measured, len(results), budget)
    return Comparison(
        row,
        reported,
        table.protocol.get("seeds", 1),
        measured,
        status,
        why,
        {of: (scores.get(of), measure(of)) for of in others},
    )


def _unit(table: ReportedTable, row: Row) -> Callable[[float], float]:
    """From an undiscounted return to what the table's values are."""
    if not table.normalized:
        return float
    from rl_datasets.sources.d4rl_tasks import normalized_score

    task = table.rows[row.reported].dataset
    return lambda value: 100 * normalized_score(task, value)


def _status(
    table: ReportedTable,
    recipe: Recipe,
    row: Row,
    reported: Score | None,
    measured: Score | None,
    lines: int,
    budget: float,
) -> tuple[str, str]:
    if measured is None:
        why = "no seed has finished" if lines else "nothing was measured"
        return NOT_RUN, row.blocked or why
    if budget != 1:
        return IN_PART, f"measured at {budget:.0%} of the budget only"
    if len(measured.per_seed) < len(recipe.seeds):
        return IN_PART, f"{len(measured.per_seed)} of {len(recipe.seeds)} seeds have finished"
    if reported is None:
        return APART, f"no reported value: {table.unreported}"
    if row.data == OWN:
        return APART, "its data are this project's own"
    if len(measured.per_seed) < 2 and not reported.per_seed:
        return IN_PART, "one seed has no spread to compare by"
    p = p_value(measured, reported, table.protocol.get("seeds", 1))
    return (DIFFERS if p < LEVEL else REPRODUCED), f"p = {p:.3f}"


def p_value(measured: Score, reported: Score, reported_seeds: int) -> float:
    """Two-sided p of the difference of means, by the test that the reported score allows.

    Args:
      measured: two or more seeds.
      reported: what is known of it decides: its seeds, its mean and spread, or one run's value.
      reported_seeds: how many runs a mean and spread are of.
    """
    if reported.per_seed:
        return permutation_p_value(measured.per_seed, reported.per_seed)
    difference = measured.mean - reported.mean
    error, freedom = _error(measured, reported, reported_seeds)
    if error == 0:
        return float(difference == 0)
    return float(2 * scipy.stats.t.sf(abs(difference) / error, freedom))


def _error(measured: Score, reported: Score, reported_seeds: int) -> tuple[float, float]:
    """Standard error of the difference of means, and its degrees of freedom; NaN of one seed.

    Of a mean and spread it is Welch's; the one run of a single value is taken to scatter as the
    measured ones do.
    """
    n = len(measured.per_seed)
    if n < 2:
        return math.nan, math.nan
    variance = float(np.var(measured.per_seed, ddof=1))
    if reported.spread is None:
        return math.sqrt(variance * (1 + 1 / n)), n - 1
    ours, theirs = variance / n, reported.spread**2 / (reported_seeds - 1)
    if ours + theirs == 0:
        return 0.0, math.inf
    freedom = (ours + theirs) ** 2 / (ours**2 / (n - 1) + theirs**2 / (reported_seeds - 1))
    return math.sqrt(ours + theirs), freedom


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
