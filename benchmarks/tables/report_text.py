"""The text of a report, section by section, as Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from benchmarks.tables import comparison, protocol
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.measured_games import measured_beside_all_games, measured_over_games
from benchmarks.tables.page import table
from benchmarks.tables.reported import ReportedTable, load_table
from benchmarks.tables.results_folder import Dataset, returns_of
from benchmarks.tables.scores import (
    KINDS,
    NAMES,
    counts,
    digits_of,
    format_interval,
    formatted,
    kinds,
    reported_score,
    score_row,
)
from benchmarks.training.recipe import Recipe
from benchmarks.training.row import OWN
from rl_datasets.episode import RAW_RETURN

NOT_ALONE = ("reported", "difference", "margin", "smallest")  # columns that need reported values


def report_text(
    reported: ReportedTable,
    recipe: Recipe,
    comparisons: Sequence[Comparison],
    results: Sequence[Mapping[str, Any]],
    datasets: Mapping[str, Dataset],
    budget: float,
    drawn: Collection[str],
) -> str:
    measured = [c for c in comparisons if c.measured]
    apart = any(c.reported is None or c.row.data.kind == OWN for c in comparisons)
    together = _aggregates(reported, comparisons)
    parts = [counts(comparisons)]
    if recipe.is_reported:
        parts.append(
            "The reported values were measured by their authors on their own data. "
            + " ".join(KINDS[kind][1] for kind in kinds(comparisons))
        )
    parts += [
        *([_scores(reported, measured)] if measured else []),
        *together,
        *_games_together(reported, comparisons),
        *_beside_all_games(recipe, comparisons, results),
        "## How a row gets its status\n\n" + comparison.rule(reported),
        *([comparison.APART_RULE] if apart else []),
        *([comparison.AGGREGATE_RULE] if together else []),
    ]
    if not_run := [c for c in comparisons if not c.measured]:
        parts.append("## Not run\n\n" + _not_run(reported, not_run))
    if others := _others(reported, comparisons):
        parts.append("## Scores that are not compared\n\n" + others)
    if seeds := _seeds(reported, comparisons):
        parts.append("## Every seed\n\n" + seeds)
    if "curves" in drawn:
        parts.append(
            "## Learning curves\n\nThin lines are seeds, thick ones their means.\n\n{curves}"
        )
    if budget != 1:
        parts.insert(1, f"Everything here was measured at **{budget:.2%} of the budget**.")
    if datasets:
        of_data = _data(by_dataset(reported, recipe, datasets))
        parts.append("## The data\n\n" + of_data + ("\n{returns}" if "returns" in drawn else ""))
    if recipe.is_reported:
        parts.append("## What was reported\n\n" + reported_text(reported))
    if results:
        parts.append("## How it was measured here\n\n" + protocol.measured(recipe, results))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _scores(table_: ReportedTable, comparisons: Sequence[Comparison]) -> str:
    columns = kinds(comparisons)
    header = (
        "row",
        "reported",
        *(KINDS[kind][0] for kind in columns),
        "95% interval",
        "difference (95% interval)",
        "margin",
        "smallest that could be shown",
        "status",
    )
    return _beside(table_, header, [score_row(table_, c, columns) for c in comparisons])


def _aggregates(table_: ReportedTable, comparisons: Sequence[Comparison]) -> list[str]:
    """The section that aggregates each algorithm's rows; empty if nothing can be aggregated."""
    rows = [
        [
            of.algorithm,
            str(of.rows),
            f"{of.reported:.1f}",
            f"{of.measured:.1f}",
            f"{of.difference[0]:+.1f} {format_interval(of.difference[1], 1)}",
            f"{of.improvement[0]:.2f} {format_interval(of.improvement[1], 2)}",
        ]
        for of in comparison.aggregates(table_, comparisons)
    ]
    if not rows:
        return []
    header = ("", "rows", "reported", "measured", "difference", "P(measured > reported)")
    of_rows = table(header, rows)
    return ["## All rows together", "Interquartile means of normalised scores.", of_rows]


def _games_together(table_: ReportedTable, comparisons: Sequence[Comparison]) -> list[str]:
    """The section that aggregates each algorithm's games; empty if nothing can be aggregated."""
    block = measured_over_games(table_, comparisons)
    if block is None:
        return []
    explanation = (
        "Normalised scores, in percent: 0 is a random policy, 100 the best iteration of an online "
        "DQN. Intervals are 95% percentiles of a bootstrap that draws seeds anew within every game."
    )
    return [f"## {block.title}", explanation, table(block.header, block.lines)]


def _beside_all_games(
    recipe: Recipe, comparisons: Sequence[Comparison], results: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The section of aggregates beside those reported over all games; empty if there are none."""
    if not recipe.over_games:
        return []
    block = measured_beside_all_games(load_table(recipe.table), recipe, comparisons, results)
    if block is None:
        return []
    explanation = (
        "A game's score is the best iteration of the mean over its runs. Normalised scores are in "
        "percent: 0 is a random policy, 100 the best iteration of an online DQN. Reported values "
        "are of all games of the source, measured ones of as many games as are named."
    )
    return [f"## {block.title}", explanation, table(block.header, block.lines)]


def _not_run(table_: ReportedTable, comparisons: Sequence[Comparison]) -> str:
    rows = [[c.row.name, reported_score(table_, c), c.why] for c in comparisons]
    return _beside(table_, ("row", "reported", "why"), rows)


def _beside(table_: ReportedTable, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, without the columns that need reported values if there are none."""
    if not any(row.scores for row in table_.rows.values()):
        shown = [not name.startswith(NOT_ALONE) for name in header]
        header = tuple(itertools.compress(header, shown))
        rows = [list(itertools.compress(row, shown)) for row in rows]
    return table(header, rows)


def _others(table_: ReportedTable, comparisons: Sequence[Comparison]) -> str:
    """The rows' scores other than the compared one; "" if there are none."""
    rows = [
        [
            c.row.name,
            NAMES.get(of, f"{NAMES[table_.statistic]}, policy {of}"),
            *(formatted(table_, score) for score in scores),
        ]
        for c in comparisons
        for of, scores in c.others.items()
        if any(scores)
    ]
    return table(["row", "", "reported", "measured"], rows) if rows else ""


def _seeds(table_: ReportedTable, comparisons: Sequence[Comparison]) -> str:
    """The score of each known seed; "" if none is known."""
    rows = [
        [c.row.name, of, *(f"{value:.{digits_of(table_)}f}" for value in score.per_seed)]
        for c in comparisons
        for of, score in (("reported", c.reported), ("measured", c.measured))
        if score is not None and score.per_seed
    ]
    if not rows:
        return ""
    header = ["row", "", *(str(seed) for seed in range(max(map(len, rows)) - 2))]
    return table(header, [row + [""] * (len(header) - len(row)) for row in rows])


def _data(datasets: Mapping[str, Dataset]) -> str:
    header = ("row", "dataset", "episodes", "transitions", "return", "fingerprint")
    rows = []
    for row, dataset in datasets.items():
        returns = returns_of(dataset)
        is_raw = RAW_RETURN in dataset
        rows.append(
            [
                row,
                f"`{dataset['dataset']}`",
                f"{dataset['episodes']:,}",
                f"{dataset['transitions']:,}",
                f"{returns['mean']:.0f} ± {returns['standard_deviation']:.0f}"
                + (", raw" if is_raw else ""),
                f"`{dataset['fingerprint'][:12]}`",
            ]
        )
    return table(header, rows)


def reported_text(reported: ReportedTable) -> str:
    """A table's source, how it was measured, and its known defects, as a list."""
    protocol = ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in reported.protocol.items())
    lines = [
        f"- Paper: {' '.join(reported.paper.split())}",
        f"- Source: {' '.join(reported.source.split())} ({reported.license})",
        f"- Metric: {reported.metric}",
        *([f"- Spread: {reported.spread}"] if reported.spread else []),
        f"- Protocol: {protocol}",
        f"- Exact: {'yes' if reported.exact else 'no'}",
        *([f"- Without a value: {reported.unreported}"] if reported.unreported else []),
        *(f"- Doubtful, {of}: {why}" for of, why in reported.doubtful_datasets.items()),
        *(f"- Known defect: {defect}" for defect in reported.defects),
        *(
            f"- Known defect of {algorithm}: {defect}"
            for algorithm, defects in reported.defects_of.items()
            for defect in defects
        ),
    ]
    return "\n".join(lines).replace("<", "&lt;")


def by_dataset(
    reported: ReportedTable, recipe: Recipe, datasets: Mapping[str, Dataset]
) -> dict[str, Dataset]:
    """Each dataset once, in the recipe's order, by its name in the reported table.

    Several rows may use the same dataset.
    """
    called = {row.name: reported.rows[row.reported].dataset for row in recipe.rows}
    every: dict[str, Dataset] = {}
    for name, call in called.items():
        dataset = datasets.get(name)
        if dataset and dataset not in every.values():
            every[call if call not in every else dataset["dataset"]] = dataset
    return every
