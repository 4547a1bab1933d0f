"""The report of a table: reported beside measured, with the rule, the curves and the data.

A results folder holds the lines of every row as `<row>.jsonl` and, in `datasets.json`, what the
manifests say of the data. `report.md` and `report.html` follow from these alone, byte for byte.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks.tables import comparison, console, figures, page
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.games_page import write_games_page
from benchmarks.tables.normalized_rows import explanation, normalized_rows
from benchmarks.tables.page import write_page
from benchmarks.tables.report_text import by_dataset, report_text
from benchmarks.tables.reported import ReportedTable, empty_table, load_table, table_names
from benchmarks.tables.results_folder import (
    DATASETS,
    SHIPPED,
    Dataset,
    budget_of,
    check_fingerprints,
    describe,
    read_row,
    returns_of,
    row_path,
)
from benchmarks.tables.scores import KINDS
from benchmarks.training.cells import Cell, Results, plan
from benchmarks.training.parts import divide
from benchmarks.training.recipe import Recipe, load_recipe, recipe_names
from benchmarks.training.results import write_results
from benchmarks.training.row import Row
from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import names
from rl_datasets.published.version import Version


def export(
    recipe: Recipe,
    runs: Mapping[Cell, Results],
    data_dir: str | os.PathLike[str],
    folder: pathlib.Path,
) -> pathlib.Path:
    """Brings the runs of a table together in a results folder, and writes its report.

    Args:
      recipe: the table's.
      runs: the recipe's cells, all of one budget, and the lines of their runs.
      data_dir: where the datasets lie; what the folder says already of one that is not there stays.
      folder: where to write.

    Returns:
      The path of `report.html`.

    Raises:
      DatasetError: results do not belong to the dataset that is published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    datasets = _datasets(folder)
    of_rows: dict[Row, list[dict[str, Any]]] = {}
    for cell, of_cell in runs.items():
        of_rows.setdefault(cell.row, []).extend(of_cell)
    for row, results in of_rows.items():
        if not results:
            continue
        write_results(row_path(folder, row.name), results)
        if names.is_published(row.data.version_path, data_dir):
            version = Version.open(f"{data_dir}/{row.data.version_path}")
            datasets[row.name] = describe(row, version)
            check_fingerprints(results, datasets[row.name], version)
    files.write(folder / DATASETS, json.dumps(datasets, indent=1) + "\n")
    return write_report(recipe, folder)


def show(
    recipe: Recipe, runs: Mapping[Cell, Results], budget: float, asked_for: Collection[str]
) -> None:
    """Prints the scores of a table by the lines of its runs so far, at that budget.

    Rows are left out of which nothing was measured and that are not among the names `asked_for`;
    and of many, also those asked for of which nothing was measured or reported.
    """
    _show(recipe, [*itertools.chain(*runs.values())], budget, asked_for)


def show_folder(
    name: str,
    folder: pathlib.Path | None = None,
    normalize: str | None = None,
    random: str | None = None,
) -> None:
    """Prints the scores of a results folder beside the reported ones; needs no data and no runs.

    Args:
      name: of the recipe; or of a table that has none.
      folder: as `export` left it; by default the results that this package ships. Where it ships
        none, what was reported is printed.
      normalize: how to normalise the measured scores of games; None prints them raw alone.
      random: see `normalized_rows`.

    Raises:
      DatasetError: there is no such recipe, or the folder holds no results of it; or nothing was
        reported or measured; or the scores cannot be normalised so.
    """
    _check_options(normalize, random)
    if name in table_names() and name not in recipe_names():
        if folder is not None:
            raise DatasetError(
                f"{name} has no recipe, so no folder holds results of it: leave {folder} out to "
                "see what was reported"
            )
        _refuse_normalizing(name, normalize)
        console.show_reported(load_table(name), "no recipe of this name measures it")
        return
    recipe = load_recipe(name)
    place = folder or SHIPPED / name
    results = [r for row in recipe.rows for r in read_row(place, row)]
    if results:
        comparisons = _show(recipe, results, budget_of(place, results))
        if normalize is not None:
            datasets = _datasets(place)
            console.show_block(normalized_rows(comparisons, results, datasets, normalize, random))
    elif folder is None and recipe.is_reported:
        _refuse_normalizing(name, normalize)
        console.show_reported(load_table(recipe.table), "nothing of it was measured yet")
    else:
        raise DatasetError(
            f"{folder or 'this package'} holds no results of {name}: name a results folder that "
            "`rl-datasets reproduce` wrote"
        )


def missing(name: str, folder: pathlib.Path, parts: int) -> list[str]:
    """A sentence for each part of a table of which a results folder lacks runs.

    Args:
      name: of the recipe.
      folder: the results folder.
      parts: the number of parts that the table was divided into.
    """
    recipe = load_recipe(name)
    of_rows = {row.name: read_row(folder, row) for row in recipe.rows}
    budget = budget_of(folder, [*itertools.chain(*of_rows.values())])
    reached = {(row, result["seed"]): result["step"] for row in of_rows for result in of_rows[row]}
    told = []
    for number, cells in enumerate(divide(plan(recipe, budget=budget), parts), start=1):
        lacking = [
            cell for cell in cells if reached.get((cell.row.name, cell.seed), 0) < cell.steps
        ]
        if lacking:
            told.append(
                f"part {number}/{parts} lacks {len(lacking)} of {len(cells)} runs: first "
                f"{lacking[0].row.name} seed {lacking[0].seed}"
            )
    return told


def _show(
    recipe: Recipe,
    results: Sequence[Mapping[str, Any]],
    budget: float,
    asked_for: Collection[str] = (),
) -> list[Comparison]:
    reported = reported_of(recipe)
    comparisons = comparison.compare(reported, recipe, results, budget)
    shown = [c for c in comparisons if c.measured or c.row.name in asked_for]
    if len(shown) > console.MOST_LISTED:
        shown = [c for c in shown if c.measured or c.reported]
    console.show_scores(reported, shown, len(comparisons) - len(shown))
    return comparisons


def _check_options(normalize: str | None, random: str | None) -> None:
    if random is not None and normalize is None:
        raise DatasetError("--random needs --normalize logged: give both, or leave it out")


def _refuse_normalizing(name: str, normalize: str | None) -> None:
    if normalize is not None:
        raise DatasetError(
            f"nothing of {name} was measured that --normalize could normalise: leave it out"
        )


def _datasets(folder: pathlib.Path) -> dict[str, Dataset]:
    """What the folder says of the data of its rows; nothing if it does not say anything yet."""
    path = folder / DATASETS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def reported_of(recipe: Recipe) -> ReportedTable:
    """The table that a recipe stands beside, empty where there is none.

    Raises:
      DatasetError: there is no such table, its values are normalised scores of games, or it has
        not a row that the recipe stands beside, or not what all of its games stand beside.
    """
    if recipe.is_reported:
        table = load_table(recipe.table)
        if table.games and table.normalized:
            raise DatasetError(
                f"{recipe.file}: the values of table {recipe.table!r} are normalised scores of "
                "games, with which no raw score can be compared: name another table"
            )
        if table.over_games:
            if recipe.over_games not in (known := {row.dataset for row in table.rows.values()}):
                raise DatasetError(
                    f"{recipe.file}: the values of table {recipe.table!r} are of many games "
                    f"together: name as over_games one of {', '.join(sorted(known))}"
                )
            return table.of_single_games(
                {
                    row.reported: (row.learning.algorithm, row.scoring.environment)
                    for row in recipe.rows
                }
            )
        for row in recipe.rows:
            if row.reported not in table.rows:
                nearest = difflib.get_close_matches(row.reported, table.rows, 1, 0)[0]
                raise DatasetError(
                    f"{recipe.file}: the table {recipe.table!r} has no row {row.reported!r}, did "
                    f"you mean {nearest!r}?"
                )
        return table
    return empty_table(recipe.title, [row.reported for row in recipe.rows])


def write_report(
    recipe: Recipe | str,
    folder: pathlib.Path,
    normalize: str | None = None,
    random: str | None = None,
) -> pathlib.Path:
    """Writes `report.md` and `report.html` into a results folder, from what it holds.

    Args:
      recipe: the recipe, or its name; or the name of a table of games, of which the page shows what
        was reported where it has no recipe or the folder no results.
      folder: as `export` left it.
      normalize, random: as of `show_folder`; the report then has a section of normalised scores.

    Returns:
      The path of `report.html`.

    Raises:
      DatasetError: there is no such recipe or table, or results are not of one measurement; or the
        scores cannot be normalised so.
    """
    _check_options(normalize, random)
    has_results = (folder / DATASETS).is_file()
    if isinstance(recipe, str):
        if recipe in table_names():
            table = load_table(recipe)
            is_of_games = table.games or table.over_games
            if recipe not in recipe_names() or (is_of_games and not has_results):
                _refuse_normalizing(recipe, normalize)
                return write_games_page(table, folder, recipe)
        recipe = load_recipe(recipe)
    if not has_results:
        raise DatasetError(f"{folder} holds no results, name a folder that has {DATASETS}")
    reported = reported_of(recipe)
    datasets = _datasets(folder)
    results = {row.name: read_row(folder, row) for row in recipe.rows}
    every = [result for of_row in results.values() for result in of_row]
    budget = budget_of(folder, every)
    comparisons = comparison.compare(reported, recipe, every, budget)
    drawn = _figures(reported, recipe, results, datasets)
    text = report_text(reported, recipe, comparisons, every, datasets, budget, drawn.keys())
    if normalize is not None:
        block = normalized_rows(comparisons, every, datasets, normalize, random)
        text += f"\n## {block.title}\n\n{explanation(normalize, random)}\n\n"
        text += page.table(block.header, block.lines)
    return write_page(folder, "report", recipe.title, text, drawn)


def _figures(
    reported: ReportedTable,
    recipe: Recipe,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    datasets: Mapping[str, Dataset],
) -> dict[str, Figure]:
    panels = [
        figures.CurvePanel(
            row.name,
            {
                "reported": [
                    (reported.steps, run) for run in reported.curves.get(row.reported, ())
                ],
                KINDS[row.data.kind][0]: list(comparison.curves(results[row.name]).values()),
                **{
                    f"policy {policy}": list(comparison.curves(results[row.name], policy).values())
                    for policy in row.scoring.policies[1:]
                },
            },
        )
        for row in recipe.rows
        if results[row.name] or row.reported in reported.curves
    ]
    drawn = {"curves": figures.learning_curves(panels)} if panels else {}
    histograms = [
        figures.HistogramPanel(name, **returns_of(dataset)["histogram"])
        for name, dataset in by_dataset(reported, recipe, datasets).items()
        if "histogram" in returns_of(dataset)
    ]
    if histograms:
        drawn["returns"] = figures.histograms(histograms)
    return drawn
