"""The scores on a version: what was reported and what was measured, row by row of all tables."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.tables import comparison, report
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.reported import ReportedTable, load_table, table_names
from benchmarks.tables.results_folder import SHIPPED, budget_of, read_row
from benchmarks.tables.scores import formatted
from benchmarks.training.recipe import Recipe, load_recipe, recipe_names
from rl_datasets.showing.page import Score

_D4RL = "d4rl/"  # The builder whose configurations are called as the tables call their datasets.


def scores_on(version: str) -> list[Score]:
    """Every score that is known of a version.

    Args:
      version: its name, such as `brac/halfcheetah-pure:2.0.0`.

    Returns:
      The rows of all recipes that are of this version, with what this package ships of their
      results. Where the version is one of D4RL's, also the rows of its dataset in tables that no
      recipe measures.
    """
    dataset = version.partition(":")[0]
    alone = _reported_alone().get(dataset.removeprefix(_D4RL), ())
    return [*_of_recipes().get(version, ()), *(alone if dataset.startswith(_D4RL) else ())]


@functools.cache
def _of_recipes() -> Mapping[str, Sequence[Score]]:
    """By the name of the version."""
    scores: dict[str, list[Score]] = {}
    for name in recipe_names():
        for version, score in _of_recipe(name, load_recipe(name)):
            scores.setdefault(version, []).append(score)
    return scores


def _of_recipe(name: str, recipe: Recipe) -> Iterator[tuple[str, Score]]:
    table, folder = report.reported_of(recipe), SHIPPED / name
    results = {row.name: read_row(folder, row) for row in recipe.rows}
    every = [result for of_row in results.values() for result in of_row]
    for of_row in comparison.compare(table, recipe, every, budget_of(folder, every)):
        if of_row.reported or of_row.measured:
            yield of_row.row.data.dataset, _score(table, of_row, results[of_row.row.name])


def _score(table: ReportedTable, of_row: Comparison, results: Sequence[Mapping[str, Any]]) -> Score:
    return Score(
        table.title,
        of_row.row.name,
        formatted(table, of_row.reported),
        formatted(table, of_row.measured),
        f"{of_row.status} ({of_row.why})",
        results[0]["fingerprint"] if of_row.measured else "",
    )


@functools.cache
def _reported_alone() -> Mapping[str, Sequence[Score]]:
    """Rows of tables that no recipe measures, by the name of their dataset."""
    scores: dict[str, list[Score]] = {}
    measured = {load_recipe(name).table for name in recipe_names()}
    for table in (load_table(name) for name in table_names() if name not in measured):
        for row in table.rows.values():
            if told := formatted(table, row.scores.get(table.statistic)):
                score = Score(table.title, row.name, told, "", "reported alone: no recipe")
                scores.setdefault(row.dataset, []).append(score)
    return scores
