"""Formats scores: digits, spreads, intervals, and one column for each kind of data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.tables import comparison, statistics
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.reported import ReportedTable, Score
from benchmarks.training.row import AGAIN, OWN, PUBLISHED

KINDS = {  # kinds of data: the heading of their column, and an explanation
    PUBLISHED: (
        "measured on the published data",
        "Those in the column of the published data were measured here on the files that the "
        "authors' data were published as.",
    ),
    AGAIN: (
        "measured on data collected again",
        "The measured ones "
        "stand in columns of their own: their data were **collected again**, by the datasets "
        "named below, and are not the published data.",
    ),
    OWN: (
        "measured on this project's own data",
        "Data of **this project's own** policies or rules are neither: what was measured on them "
        "stands apart and is not compared.",
    ),
}
NAMES = {
    "last_10": "mean of the last 10",
    "last": "last",
    "best": "best",
    "unstated": "not said which",
}  # which evaluations of a run each statistic takes
PLURALS = {
    comparison.AGREES: "agree",
    comparison.DIFFERS: "differ",
    comparison.APART: "stand apart",
}


def counts(comparisons: Sequence[Comparison]) -> str:
    """How many rows have each status, as a sentence."""
    statuses = [c.status for c in comparisons]
    shown = [*comparison.COMPARED]
    shown += [s for s in (comparison.IN_PART, comparison.APART) if s in statuses]
    shown.append(comparison.NOT_RUN)
    numbers = {status: statuses.count(status) for status in shown}
    of_each = [f"{n} {s if n == 1 else PLURALS.get(s, s)}" for s, n in numbers.items()]
    return f"{len(comparisons)} rows: {', '.join(of_each)}."


def reported_score(table_: ReportedTable, c: Comparison) -> str:
    return formatted(table_, c.reported) or f"none: {table_.unreported}"


def score_row(table_: ReportedTable, c: Comparison, columns: Sequence[str]) -> list[str]:
    """The cells of a row: its name, the reported score, the measured score in the column of its
    kind of data, the interval, the difference, the margin, the smallest difference that could be
    shown, and the status.
    """
    digits = digits_of(table_)
    difference = margin = smallest = interval = ""
    if c.measured is not None:
        interval = format_interval(statistics.mean_interval(c.measured), digits)
        if c.reported is not None and c.status in comparison.COMPARED:
            difference = f"{c.measured.mean - c.reported.mean:+.{digits}f}"
            margin = "" if c.margin is None else f"±{c.margin:.{digits}f}"
    if c.difference is not None:
        difference += f" {format_interval(c.difference.interval(), digits)}"
        smallest = f"{c.difference.smallest_shown():.{digits}f}"
    return [
        c.row.name,
        reported_score(table_, c),
        *(formatted(table_, c.measured) if kind == c.row.data.kind else "" for kind in columns),
        interval,
        difference,
        margin,
        smallest,
        f"**{c.status}** ({c.why})",
    ]


def kinds(comparisons: Sequence[Comparison]) -> list[str]:
    """The kinds of data among the rows; each kind has its own column."""
    return [kind for kind in KINDS if kind in {c.row.data.kind for c in comparisons}]


def digits_of(reported: ReportedTable) -> int:
    """Decimal places: normalised scores go to 100, returns to thousands, games' scores to both."""
    return 1 if reported.normalized or reported.games else 0


def formatted(table_: ReportedTable, score: Score | None) -> str:
    """Mean ± spread, without what is not known."""
    digits = digits_of(table_)
    if score is None:
        return ""
    spread = "" if score.spread is None else f" ± {score.spread:.{digits}f}"
    return f"{score.mean:z.{digits}f}{spread}"


def format_interval(interval: tuple[float, float], digits: int) -> str:
    low, high = interval
    return "" if np.isnan(low) else f"[{low:z.{digits}f}, {high:z.{digits}f}]"
