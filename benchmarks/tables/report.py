"""The report of a table: reported beside measured, with the rule, the curves and the data.

A results folder holds the lines of every row as `<row>.jsonl` and, in `datasets.json`, what the
manifests say of the data. `report.md` and `report.html` follow from these alone, byte for byte.
"""

from __future__ import annotations

import difflib
import itertools
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.tables import comparison, figures, protocol, statistics
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.page import table, write_page
from benchmarks.tables.reported import ReportedTable, Score, empty_table, load_table, table_names
from benchmarks.training.cells import Cell
from benchmarks.training.recipe import AGAIN, OWN, PUBLISHED, Recipe, Row, load_recipe, recipe_names
from benchmarks.training.results import (
    RESULTS,
    fingerprint,
    read_results,
    write_atomically,
    write_results,
)
from rl_datasets.episode import RAW_RETURN, RAW_RETURN_IS_KNOWN
from rl_datasets.errors import DatasetError
from rl_datasets.publishing import manifest

DATASETS = "datasets.json"
EPISODE_RETURN = "episode_return"
SHIPPED = pathlib.Path(__file__).parents[1] / "results"

NAMES = {
    "last_10": "mean of the last 10",
    "last": "last",
    "best": "best",
    "unstated": "not said which",
}  # of statistics

KINDS = {  # of data: the heading of their column, and what is said of them
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

NOT_ALONE = ("reported", "difference", "margin", "smallest")  # columns beside reported values

Dataset = dict[str, Any]  # dataset, fingerprint, episodes, transitions, statistics of its returns


def adopt(cells: Sequence[Cell], folder: pathlib.Path, runs_dir: pathlib.Path) -> None:
    """Takes the seeds that a results folder has whole as done, so that they are not run again.

    Raises:
      DatasetError: its results are of another budget, or of fewer policies.
    """
    for cell in cells:
        results = _read_row(folder, cell.row)
        for result in results:
            if result["budget"] != cell.budget:
                raise DatasetError(
                    f"{folder} holds results at {result['budget']:.2%} of the budget, and "
                    f"{cell.budget:.2%} is asked for: name another results folder"
                )
            if result.get("policies", ["act"]) != [*cell.row.policies]:
                raise DatasetError(
                    f"{folder} holds results of {cell.row.name!r} without the returns of every "
                    f"policy that is scored, {' and '.join(cell.row.policies)}: name another "
                    "results folder"
                )
        whole = [result for result in results if result["seed"] == cell.seed]
        if whole and whole[-1]["step"] == cell.steps and not cell.step_reached(runs_dir):
            cell.folder(runs_dir).mkdir(parents=True, exist_ok=True)
            write_results(cell.folder(runs_dir) / RESULTS, whole)


def export(
    cells: Sequence[Cell],
    data_dir: pathlib.Path,
    runs_dir: pathlib.Path,
    folder: pathlib.Path | None = None,
) -> pathlib.Path:
    """Brings the runs of a table together in a results folder, and writes its report.

    Args:
      cells: which runs, all of one recipe and budget.
      data_dir: where the datasets lie; what the folder says already of one that is not there stays.
      runs_dir: where the runs lie.
      folder: where to write; by default `results` beside the runs.

    Returns:
      The path of `report.html`.

    Raises:
      DatasetError: results do not belong to the dataset that is published.
    """
    folder = folder or cells[0].table_folder(runs_dir) / "results"
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / DATASETS
    datasets = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    for row in dict.fromkeys(cell.row for cell in cells):
        results = [
            result
            for cell in cells
            if cell.row == row
            for result in read_results(cell.folder(runs_dir) / RESULTS)
        ]
        if not results:
            continue
        write_results(_row_path(folder, row.name), results)
        version_dir = data_dir / row.version_path
        if (version_dir / manifest.FILE_NAME).is_file():
            datasets[row.name] = _describe(row, version_dir)
            _check_fingerprints(results, datasets[row.name], version_dir)
    write_atomically(known, json.dumps(datasets, indent=1) + "\n")
    return write_report(cells[0].recipe, folder)


def show(
    recipe: Recipe,
    cells: Sequence[Cell],
    runs_dir: pathlib.Path,
    budget: float,
    asked_for: Collection[str],
) -> None:
    """Prints the scores of a table as its runs, at that budget, stand.

    Rows are left out of which nothing was measured and that are not among the names `asked_for`.
    """
    results = [r for cell in cells for r in read_results(cell.folder(runs_dir) / RESULTS)]
    _show(recipe, results, budget, asked_for)


def show_folder(name: str, folder: pathlib.Path | None = None) -> None:
    """Prints the scores of a results folder beside the reported ones; needs no data and no runs.

    Args:
      name: of the recipe.
      folder: as `export` left it; by default the results that this package ships.

    Raises:
      DatasetError: there is no such recipe, or the folder holds no results of it.
    """
    if name in table_names() and name not in recipe_names():
        raise DatasetError(
            f"{name} has no recipe, so none of it was measured: `rl-datasets reproduce {name}` "
            "shows what was reported"
        )
    recipe = load_recipe(name)
    folder = folder or SHIPPED / name
    results = [r for row in recipe.rows for r in _read_row(folder, row)]
    if not results:
        raise DatasetError(
            f"{folder} holds no results of {name}: name a results folder that `rl-datasets "
            "reproduce` wrote"
        )
    _show(recipe, results, _budget(folder, results))


def _show(
    recipe: Recipe,
    results: Sequence[Mapping[str, Any]],
    budget: float,
    asked_for: Collection[str] = (),
) -> None:
    from benchmarks.tables import console

    reported = reported_of(recipe)
    comparisons = comparison.compare(reported, recipe, results, budget)
    shown = [c for c in comparisons if c.measured or c.row.name in asked_for]
    console.show_scores(reported, shown, len(comparisons) - len(shown))


def reported_of(recipe: Recipe) -> ReportedTable:
    """The table that a recipe stands beside, empty where there is none.

    Raises:
      DatasetError: there is no such table, or it has not a row that the recipe stands beside.
    """
    if recipe.is_reported:
        table = load_table(recipe.table)
        for row in recipe.rows:
            if row.reported not in table.rows:
                nearest = difflib.get_close_matches(row.reported, table.rows, 1, 0)[0]
                raise DatasetError(
                    f"{recipe.file}: the table {recipe.table!r} has no row {row.reported!r}, did "
                    f"you mean {nearest!r}?"
                )
        return table
    return empty_table(recipe.title, [row.reported for row in recipe.rows])


def write_report(recipe: Recipe | str, folder: pathlib.Path) -> pathlib.Path:
    """Writes `report.md` and `report.html` into a results folder, from what it holds.

    Args:
      recipe: the recipe, or its name.
      folder: as `export` left it.

    Returns:
      The path of `report.html`.

    Raises:
      DatasetError: there is no such recipe or table, or results are not of one measurement.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe)
    if not (folder / DATASETS).is_file():
        raise DatasetError(f"{folder} holds no results, name a folder that has {DATASETS}")
    reported = reported_of(recipe)
    datasets = json.loads((folder / DATASETS).read_text(encoding="utf-8"))
    results = {row.name: _read_row(folder, row) for row in recipe.rows}
    every = [result for of_row in results.values() for result in of_row]
    budget = _budget(folder, every)
    comparisons = comparison.compare(reported, recipe, every, budget)
    drawn = _figures(reported, recipe, results, datasets)
    text = _text(reported, recipe, comparisons, every, datasets, budget, drawn.keys())
    return write_page(folder, "report", recipe.title, text, drawn)


def _budget(folder: pathlib.Path, results: Sequence[Mapping[str, Any]]) -> float:
    """The fraction of the full budget that all results of a folder are of."""
    budgets = {result["budget"] for result in results} or {1.0}
    if len(budgets) > 1:
        told = " and ".join(f"{budget:.2%}" for budget in sorted(budgets))
        raise DatasetError(f"{folder} holds results at {told} of the budget: keep those of one")
    return budgets.pop()


def _read_row(folder: pathlib.Path, row: Row) -> list[dict[str, Any]]:
    """A row's lines in a results folder, which was written whole."""
    return read_results(_row_path(folder, row.name), may_grow=False)


def _row_path(folder: pathlib.Path, row: str) -> pathlib.Path:
    return folder / f"{row.replace('/', '-')}.jsonl"


def _describe(row: Row, version_dir: pathlib.Path) -> Dataset:
    published = manifest.read(version_dir)
    splits = [published["splits"][name] for name in manifest.split_names(published, row.split)]
    statistics = splits[0] if len(splits) == 1 else _together(splits)
    return {"dataset": row.dataset, "fingerprint": fingerprint(version_dir), **statistics}


def _together(splits: Sequence[Mapping[str, Any]]) -> Dataset:
    """Counts and returns of several splits; their histograms have edges of their own."""
    together: Dataset = {
        "episodes": sum(split["episodes"] for split in splits),
        "transitions": sum(split["transitions"] for split in splits),
        EPISODE_RETURN: _mean_and_spread(
            [split[EPISODE_RETURN] for split in splits], [split["episodes"] for split in splits]
        ),
    }
    if raw := [split for split in splits if RAW_RETURN in split]:
        together[RAW_RETURN] = _mean_and_spread(
            [split[RAW_RETURN] for split in raw],
            [split["flags"][RAW_RETURN_IS_KNOWN] for split in raw],
        )
    return together


def _mean_and_spread(
    returns: Sequence[Mapping[str, Any]], episodes: Sequence[int]
) -> dict[str, float]:
    """Of all episodes, by those of each split."""
    mean = np.average([each["mean"] for each in returns], weights=episodes)
    squares = [each["standard_deviation"] ** 2 + (each["mean"] - mean) ** 2 for each in returns]
    spread = np.average(squares, weights=episodes) ** 0.5
    return {"mean": float(mean), "standard_deviation": float(spread)}


def _returns(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the agent that logged it: in the game's own score, where the log was replayed."""
    return dataset.get(RAW_RETURN, dataset[EPISODE_RETURN])


def _check_fingerprints(
    results: Sequence[Mapping[str, Any]], dataset: Dataset, version_dir: pathlib.Path
) -> None:
    for result in results:
        if result["fingerprint"] != dataset["fingerprint"]:
            raise DatasetError(
                f"results of {result['row']!r} were measured on another {result['dataset']} than "
                f"the one at {version_dir} (its manifest differs): name the data_dir that they "
                "were measured on, or move the runs away and measure again"
            )


def _text(
    reported: ReportedTable,
    recipe: Recipe,
    comparisons: Sequence[Comparison],
    results: Sequence[Mapping[str, Any]],
    datasets: Mapping[str, Dataset],
    budget: float,
    drawn: Collection[str],
) -> str:
    measured = [c for c in comparisons if c.measured]
    apart = any(c.reported is None or c.row.data == OWN for c in comparisons)
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
        of_data = _data(_by_dataset(reported, recipe, datasets))
        parts.append("## The data\n\n" + of_data + ("\n{returns}" if "returns" in drawn else ""))
    if recipe.is_reported:
        parts.append("## What was reported\n\n" + _reported(reported))
    if results:
        parts.append("## How it was measured here\n\n" + protocol.measured(recipe, results))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _scores(table_: ReportedTable, comparisons: Sequence[Comparison]) -> str:
    columns = kinds(comparisons)
    header = (
        "row",
        "reported",
        *(KINDS[kind][0] for kind in columns),
        "95 % interval",
        "difference (95 % interval)",
        "margin",
        "smallest that could be shown",
        "status",
    )
    return _beside(table_, header, [score_row(table_, c, columns) for c in comparisons])


def counts(comparisons: Sequence[Comparison]) -> str:
    """How many rows have each status, as a sentence."""
    statuses = [c.status for c in comparisons]
    shown = [*comparison.COMPARED]
    shown += [s for s in (comparison.IN_PART, comparison.APART) if s in statuses]
    shown.append(comparison.NOT_RUN)
    of_each = ", ".join(f"{statuses.count(status)} {status}" for status in shown)
    return f"{len(comparisons)} rows: {of_each}."


def _aggregates(table_: ReportedTable, comparisons: Sequence[Comparison]) -> list[str]:
    """A section of the rows of every algorithm together, where they have one."""
    rows = [
        [
            of.algorithm,
            str(of.rows),
            f"{of.reported:.1f}",
            f"{of.measured:.1f}",
            f"{of.difference[0]:+.1f} {_interval(of.difference[1], 1)}",
            f"{of.improvement[0]:.2f} {_interval(of.improvement[1], 2)}",
        ]
        for of in comparison.aggregates(table_, comparisons)
    ]
    if not rows:
        return []
    header = ("", "rows", "reported", "measured", "difference", "P(measured > reported)")
    of_rows = table(header, rows)
    return ["## All rows together", "Interquartile means of normalised scores.", of_rows]


def _not_run(table_: ReportedTable, comparisons: Sequence[Comparison]) -> str:
    rows = [[c.row.name, _reported_score(table_, c), c.why] for c in comparisons]
    return _beside(table_, ("row", "reported", "why"), rows)


def _beside(table_: ReportedTable, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, without what concerns reported values where there are none."""
    if not any(row.scores for row in table_.rows.values()):
        shown = [not name.startswith(NOT_ALONE) for name in header]
        header = tuple(itertools.compress(header, shown))
        rows = [list(itertools.compress(row, shown)) for row in rows]
    return table(header, rows)


def _reported_score(table_: ReportedTable, c: Comparison) -> str:
    return formatted(table_, c.reported) or f"none: {table_.unreported}"


def score_row(table_: ReportedTable, c: Comparison, columns: Sequence[str]) -> list[str]:
    """A row's name, its score as reported and as measured, one column a kind of data, its interval,
    the difference, its margin, the smallest that could be shown, and its status.
    """
    digits = _digits(table_)
    difference = margin = smallest = interval = ""
    if c.measured is not None:
        interval = _interval(statistics.mean_interval(c.measured), digits)
        if c.reported is not None and c.status in comparison.COMPARED:
            difference = f"{c.measured.mean - c.reported.mean:+.{digits}f}"
            margin = "" if c.margin is None else f"±{c.margin:.{digits}f}"
    if c.difference is not None:
        difference += f" {_interval(c.difference.interval(), digits)}"
        smallest = f"{c.difference.smallest_shown():.{digits}f}"
    return [
        c.row.name,
        _reported_score(table_, c),
        *(formatted(table_, c.measured) if kind == c.row.data else "" for kind in columns),
        interval,
        difference,
        margin,
        smallest,
        f"**{c.status}** ({c.why})",
    ]


def kinds(comparisons: Sequence[Comparison]) -> list[str]:
    """What the rows' data are to the reported ones; each has a column of its own."""
    return [kind for kind in KINDS if kind in {c.row.data for c in comparisons}]


def _others(table_: ReportedTable, comparisons: Sequence[Comparison]) -> str:
    """The scores that rows have beside the one that is compared; "" where there are none."""
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
    """Every seed's score, where seeds are known; "" where none are."""
    rows = [
        [c.row.name, of, *(f"{value:.{_digits(table_)}f}" for value in score.per_seed)]
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
        returns = _returns(dataset)
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


def _reported(reported: ReportedTable) -> str:
    protocol = ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in reported.protocol.items())
    lines = [
        f"- Paper: {' '.join(reported.paper.split())}",
        f"- Source: {' '.join(reported.source.split())} ({reported.license})",
        f"- Metric: {reported.metric}",
        *([f"- Spread: {reported.spread}"] if reported.spread else []),
        f"- Protocol: {protocol}",
        f"- Exact: {'yes' if reported.exact else 'no'}",
        *([f"- Without a value: {reported.unreported}"] if reported.unreported else []),
        *(f"- Known defect: {defect}" for defect in reported.defects),
        *(
            f"- Known defect of {algorithm}: {defect}"
            for algorithm, defects in reported.defects_of.items()
            for defect in defects
        ),
    ]
    return "\n".join(lines).replace("<", "&lt;")


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
                KINDS[row.data][0]: list(comparison.curves(results[row.name]).values()),
                **{
                    f"policy {policy}": list(comparison.curves(results[row.name], policy).values())
                    for policy in row.policies[1:]
                },
            },
        )
        for row in recipe.rows
        if results[row.name] or row.reported in reported.curves
    ]
    drawn = {"curves": figures.learning_curves(panels)} if panels else {}
    histograms = [
        figures.HistogramPanel(name, **_returns(dataset)["histogram"])
        for name, dataset in _by_dataset(reported, recipe, datasets).items()
        if "histogram" in _returns(dataset)
    ]
    if histograms:
        drawn["returns"] = figures.histograms(histograms)
    return drawn


def _by_dataset(
    reported: ReportedTable, recipe: Recipe, datasets: Mapping[str, Dataset]
) -> dict[str, Dataset]:
    """Each dataset once, by what the reported table calls it; several rows may be on one."""
    called = {row.name: reported.rows[row.reported].dataset for row in recipe.rows}
    every: dict[str, Dataset] = {}
    for name, dataset in datasets.items():
        if dataset not in every.values():
            call = called.get(name, name)
            every[call if call not in every else dataset["dataset"]] = dataset
    return every


def _digits(reported: ReportedTable) -> int:
    """After the point: normalised scores go from 0 to 100, returns to thousands."""
    return 1 if reported.normalized else 0


def formatted(table_: ReportedTable, score: Score | None) -> str:
    """Mean ± spread, as far as they are known."""
    digits = _digits(table_)
    if score is None:
        return ""
    spread = "" if score.spread is None else f" ± {score.spread:.{digits}f}"
    return f"{score.mean:z.{digits}f}{spread}"


def _interval(interval: tuple[float, float], digits: int) -> str:
    low, high = interval
    return "" if np.isnan(low) else f"[{low:z.{digits}f}, {high:z.{digits}f}]"
