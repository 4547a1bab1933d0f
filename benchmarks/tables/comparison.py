"""Compares measured scores with reported ones, and gives each row its status by a rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.tables import statistics
from benchmarks.tables.reported import STATISTICS, ReportedTable, Score
from benchmarks.tables.statistics import LEVEL, POWER, Difference
from benchmarks.training.cells import evaluations_of
from benchmarks.training.recipe import Recipe
from benchmarks.training.row import OWN, Row
from rl_datasets.errors import DatasetError

AGREES, DIFFERS, UNCERTAIN, APART = "agrees", "differs", "cannot tell", "stands apart"
IN_PART, NOT_RUN = "run in part", "not run"
COMPARED = (AGREES, DIFFERS, UNCERTAIN)

SCORED = {
    "last_10": "the mean of its last 10 evaluations",
    "last": "its last evaluation",
    "best": "its best evaluation",
    "unstated": "its last evaluation; the source does not say which of a run's it reports",
}
INTERVALS = """\
Intervals are of 95%: of a mean by Student's t, of a difference by Welch's, which lets the two
sides scatter differently. Spreads (±) are population standard deviations over seeds."""
AGGREGATE_RULE = f"""\
Scores are normalised as D4RL's are, 0 for a random policy and 100 for an expert. The interquartile
mean is that of the middle half of all seeds of all rows. P(measured > reported) is the chance that
a seed measured is above one reported, mean over rows (Agarwal et al. 2021). The rows that count are
those compared of which every seed is known on both sides. Intervals are 95% percentiles of a
bootstrap that draws seeds anew within every row ({statistics.RESAMPLES:,} resamples, seeded); with
five seeds a side, that of the difference covers the truth nine times in ten (simulated normal
scores, of the spreads of BRAC's behaviour cloning)."""

ONE_OF_A_RUN = ("seed", "step", "returns", "returns_of", "metrics", "code_version", "seconds")


APART_RULE = f"""\
A row **{APART}** where it has no reported value, or where its data are of this project's own
policies or rules: it is shown beside what was reported, and not compared with it."""


def rule(table: ReportedTable) -> str:
    """How a row of a table gets its status, and what the intervals are, as text."""
    scored = f"A seed's score is {SCORED[table.statistic]}."
    if not any(table.statistic in row.scores for row in table.rows.values()):
        return f"{scored}\n\n{INTERVALS}"
    reason = f", because {table.margin_reason}" if table.margin_reason else ""
    return f"""\
{scored}

- A row **{AGREES}** when the true difference of the means over seeds is within the margin, by two
  one-sided tests (Schuirmann 1987) at the level of {LEVEL:.0%}. The margin is {table.margin:.0%} of
  what the reported score is above a random policy's{reason}.
  A row with a difference that is certain, and smaller, agrees too.
- It **{DIFFERS}** when there is a difference, by Welch's t-test, two-sided, at the level of
  {LEVEL:.0%}. Of twenty rows that are truly equal, one would be said to differ by chance.
- Otherwise its seeds **{UNCERTAIN}**: the difference may be as large as its interval says. The
  smallest difference that could be shown is the one that the same test finds in {POWER:.0%} of such
  sets of seeds, as many and as scattered.
- No test is run where a test that knows nothing of how seeds scatter could not reach {LEVEL:.0%}:
  of n seeds against m its p is at least 2 / (n + m choose n). Two against five are too few, three
  against three, and one against fewer than 39. Nor is there a test of a value that was reported
  without a spread.
- A row is **{IN_PART}**, and not compared, until every seed of the recipe has run to its end at
  the full budget, and **{NOT_RUN}** until one has run to the end of the budget asked for.

{INTERVALS}"""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row of the table.

    Attributes:
      row: the recipe's row.
      reported: the authors' score, on their data; None if no value is known.
      measured: the score measured here, on the row's dataset; None if no seed has finished.
      status: `agrees`, `differs`, `cannot tell`, `run in part`, `not run` or `stands apart`, by
        `rule`.
      why: the reason for the status.
      difference: measured minus reported; None if it was not tested.
      margin: the row agrees within this margin, in units of the table; None if it is not known.
      others: scores that are shown but not compared, (reported, measured), by statistic or by the
        name of another scored policy.
    """

    row: Row
    reported: Score | None
    measured: Score | None
    status: str
    why: str
    difference: Difference | None
    margin: float | None
    others: Mapping[str, tuple[Score | None, Score | None]]


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """Aggregate scores of one algorithm's rows, normalised (0 random, 100 expert).

    Attributes:
      algorithm: its name in the table, and the rows' variant.
      rows: number of rows.
      measured, reported: interquartile means.
      difference: the difference of these, and its interval.
      improvement: P(measured > reported), and its interval.
    """

    algorithm: str
    rows: int
    measured: float
    reported: float
    difference: tuple[float, tuple[float, float]]
    improvement: tuple[float, tuple[float, float]]


def curves(
    results: Sequence[Mapping[str, Any]], policy: str = ""
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Steps and mean returns of one row, by seed.

    Args:
      results: the row's lines.
      policy: a policy other than the compared one; lines without it are left out.
    """
    runs: dict[int, list[tuple[int, float]]] = {}
    for result in results:
        returns = result.get("returns_of", {}).get(policy) if policy else result["returns"]
        if returns is not None:
            runs.setdefault(result["seed"], []).append((result["step"], float(np.mean(returns))))
    points = {seed: np.array(sorted(runs[seed])).T for seed in sorted(runs)}
    return {seed: (steps.astype(int), returns) for seed, (steps, returns) in points.items()}


def compare(
    table: ReportedTable, recipe: Recipe, results: Sequence[Mapping[str, Any]], budget: float = 1.0
) -> list[Comparison]:
    """Every row of a recipe, reported and measured.

    Args:
      table: the reported table.
      recipe: the recipe.
      results: lines of the recipe's rows.
      budget: the fraction of the full budget at which the results were measured.

    Raises:
      DatasetError: the results of a row do not come from one measurement.
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
    """Refuses results of a row unless they are complete so far and differ only in their seeds.

    Raises:
      DatasetError: they come from two measurements, or lack or repeat an evaluation.
    """
    for result in results:
        if result["dataset"] != row.data.dataset or result["budget"] != budget:
            raise DatasetError(
                f"results of {row.name!r} are of {result['dataset']} at budget "
                f"{result['budget']:g}, but {row.data.dataset} at budget {budget:g} was asked for: "
                "keep them in separate folders"
            )
        for field in sorted((result.keys() | results[0].keys()) - set(ONE_OF_A_RUN)):
            values = [of.get(field) for of in (results[0], result)]
            if values[0] != values[1]:
                raise DatasetError(
                    f"results of {row.name!r} mix two values of {field}, "
                    f"{values[0]!r} and {values[1]!r}: keep one and move the other away"
                )
    evaluations = evaluations_of(recipe, row, budget)
    for seed in sorted({result["seed"] for result in results}):
        steps = sorted(result["step"] for result in results if result["seed"] == seed)
        if steps != [step for step in evaluations if step <= steps[-1]]:
            raise DatasetError(
                f"results of {row.name!r}, seed {seed}, lack an evaluation or have one twice: "
                f"there must be one at each of {len(evaluations)} steps, {evaluations[0]} to "
                f"{evaluations[-1]}, restore them"
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
    unit = _unit(table, row)

    def measure(statistic: str, policy: str = "") -> Score | None:
        values = [
            unit(STATISTICS[statistic](returns))
            for steps, returns in curves(results, policy).values()
            if steps[-1] == evaluations_of(recipe, row, budget)[-1]
        ]
        return Score.over_seeds(values) if values else None

    others = [of for of in STATISTICS if of in scores and of != table.statistic]
    if table.statistic == "unstated":
        others.append("best")
    measured = measure(table.statistic)
    shown = {of: (scores.get(of), measure(of)) for of in others}
    for policy in row.scoring.policies[1:]:
        shown[policy] = None, measure(table.statistic, policy)
    margin = table.margin_of(table.rows[row.reported]) if reported else None
    status, why = _part(table, recipe, row, reported, measured, len(results), budget)
    difference = None
    if not status:
        assert measured is not None
        assert reported is not None
        seeds = table.protocol.get("seeds", 1)
        status, why, difference = _verdict(measured, reported, seeds, margin)
    return Comparison(row, reported, measured, status, why, difference, margin, shown)


def _unit(table: ReportedTable, row: Row) -> Callable[[float], float]:
    """The function that turns an undiscounted return into a value of the table."""
    if not table.normalized:
        return float
    from rl_datasets.sources.d4rl_tasks import normalized_score

    task = table.rows[row.reported].dataset
    return lambda value: 100 * normalized_score(task, value)


def _part(
    table: ReportedTable,
    recipe: Recipe,
    row: Row,
    reported: Score | None,
    measured: Score | None,
    lines: int,
    budget: float,
) -> tuple[str, str]:
    """The status of a row that is not tested, and the reason; "" for a row that is tested."""
    if measured is None:
        why = "no seed has finished" if lines else "nothing was measured"
        return NOT_RUN, row.blocked or why
    if budget != 1:
        return IN_PART, f"measured at {budget:.0%} of the budget only"
    if len(measured.per_seed) < len(recipe.seeds):
        return IN_PART, f"{len(measured.per_seed)} of {len(recipe.seeds)} seeds have finished"
    if reported is None:
        return APART, f"no reported value: {table.unreported}"
    if row.data.kind == OWN:
        return APART, "its data are this project's own"
    return "", ""


def _verdict(
    measured: Score, reported: Score, reported_seeds: int, margin: float | None
) -> tuple[str, str, Difference | None]:
    """The status, the reason, and the difference if there are enough seeds to test it."""
    ours, theirs = len(measured.per_seed), len(reported.per_seed) or reported_seeds
    if reported.spread is None:
        return UNCERTAIN, "one value was reported, without a spread", None
    if (least := statistics.least_p(ours, theirs)) > LEVEL:
        return UNCERTAIN, f"{ours} against {theirs} seeds: p is at least {least:.3f}", None
    difference = Difference.of(measured, reported, theirs)
    p = difference.p_value
    status, why = DIFFERS if p < LEVEL else UNCERTAIN, _p_text(p)
    if margin is None:
        return status, f"{why}; no margin: what a random policy returns is not known", difference
    beyond = difference.equivalence_p_value(margin)
    return (
        AGREES if beyond < LEVEL else status,
        f"{why}; beyond the margin {_p_text(beyond)}",
        difference,
    )


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def aggregates(table: ReportedTable, comparisons: Sequence[Comparison]) -> list[Aggregate]:
    """Aggregates the rows of each algorithm and variant that has two or more with known seeds."""
    groups: dict[str, list[tuple[list[float], list[float]]]] = {}
    for c in comparisons:
        scale = table.scale(table.rows[c.row.reported])
        if c.status not in COMPARED or scale is None:
            continue
        assert c.measured is not None
        assert c.reported is not None
        if c.reported.per_seed:
            random, expert = scale
            both = [
                [100 * (value - random) / (expert - random) for value in score.per_seed]
                for score in (c.measured, c.reported)
            ]
            of = " ".join(filter(None, [table.rows[c.row.reported].algorithm, c.row.variant]))
            groups.setdefault(of, []).append((both[0], both[1]))
    return [_aggregate(of, rows) for of, rows in groups.items() if len(rows) > 1]


def _aggregate(algorithm: str, rows: Sequence[tuple[list[float], list[float]]]) -> Aggregate:
    ours, theirs = (np.transpose(side) for side in zip(*rows, strict=True))
    difference, improvement = (
        (float(of(ours, theirs)), statistics.stratified_bootstrap(of, ours, theirs))
        for of in (statistics.interquartile_difference, statistics.probability_of_improvement)
    )
    measured, reported = (float(statistics.interquartile_mean(side)) for side in (ours, theirs))
    return Aggregate(algorithm, len(rows), measured, reported, difference, improvement)
