"""The report of a table: reported beside measured, with the rule, the curves and the data.

A results folder holds the lines of every row as `<row>.jsonl` and, in `datasets.json`, what the
manifests say of the data. `report.md` and `report.html` follow from these alone, byte for byte.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import comparison, figures
from benchmarks.cells import Cell
from benchmarks.comparison import Comparison, Score
from benchmarks.page import table, write_page
from benchmarks.recipe import Recipe, load_recipe
from benchmarks.results import (
    RESULTS,
    fingerprint,
    read_results,
    write_atomically,
    write_results,
)
from benchmarks.tables import ReportedTable, load_table
from rl_datasets.errors import DatasetError
from rl_datasets.publishing import manifest

DATASETS = "datasets.json"

Dataset = dict[str, Any]  # dataset, fingerprint, episodes, transitions, statistics of its returns


def adopt(cells: Sequence[Cell], folder: pathlib.Path, runs_dir: pathlib.Path) -> None:
    """Takes the seeds that a results folder has whole as done, so that they are not run again."""
    for cell in cells:
        whole = [
            result
            for result in read_results(_row_path(folder, cell.row.reported))
            if result["seed"] == cell.seed and result["budget"] == cell.budget
        ]
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
    datasets = json.loads(known.read_text()) if known.is_file() else {}
    for row in dict.fromkeys(cell.row for cell in cells):
        results = [
            result
            for cell in cells
            if cell.row == row
            for result in read_results(cell.folder(runs_dir) / RESULTS)
        ]
        write_results(_row_path(folder, row.reported), results)
        version_dir = data_dir / row.version_path
        if (version_dir / manifest.FILE_NAME).is_file():
            datasets[row.reported] = _describe(row.dataset, version_dir)
            _check_fingerprints(results, datasets[row.reported], version_dir)
    write_atomically(known, json.dumps(datasets, indent=1) + "\n")
    return write_report(cells[0].recipe, folder, cells[0].budget)


def write_report(recipe: Recipe | str, folder: pathlib.Path, budget: float = 1.0) -> pathlib.Path:
    """Writes `report.md` and `report.html` into a results folder, from what it holds.

    Args:
      recipe: the recipe, or its name.
      folder: as `export` left it.
      budget: the fraction of the full budget that its results are of.

    Returns:
      The path of `report.html`.

    Raises:
      DatasetError: there is no such recipe or table, or results are not of one measurement.
    """
    if isinstance(recipe, str):
        recipe = load_recipe(recipe)
    if not (folder / DATASETS).is_file():
        raise DatasetError(f"{folder} holds no results, name a folder that has {DATASETS}")
    reported = load_table(recipe.table)
    datasets = json.loads((folder / DATASETS).read_text())
    results = {row.reported: read_results(_row_path(folder, row.reported)) for row in recipe.rows}
    every = [result for of_row in results.values() for result in of_row]
    comparisons = comparison.compare(reported, recipe, every, budget)
    return write_page(
        folder,
        "report",
        recipe.title,
        _text(reported, recipe, comparisons, every, datasets, budget),
        _figures(reported, results, datasets),
    )


def _row_path(folder: pathlib.Path, row: str) -> pathlib.Path:
    return folder / f"{row.replace('/', '-')}.jsonl"


def _describe(dataset: str, version_dir: pathlib.Path) -> Dataset:
    split = manifest.read(version_dir)["splits"]["train"]
    return {"dataset": dataset, "fingerprint": fingerprint(version_dir), **split}


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
) -> str:
    statuses = [c.status for c in comparisons]
    counts = ", ".join(
        f"{statuses.count(status)} {status}"
        for status in (comparison.REPRODUCED, comparison.DIFFERS, comparison.NOT_RUN)
    )
    parts = [
        f"{len(comparisons)} rows: {counts}.",
        "The reported values were measured by their authors on their own data. The measured ones "
        "stand in columns of their own: their data were **collected again**, by the datasets "
        "named below, and are not the published data.",
        _scores(comparisons),
        "## How a row gets its status\n\n" + comparison.RULE + "\n\n" + comparison.INTERVAL,
        "## Every seed\n\n" + _seeds(comparisons),
        "## Learning curves\n\nThin lines are seeds, thick ones their means.\n\n{curves}",
    ]
    if budget != 1:
        parts.insert(1, f"Everything here was measured at **{budget:.2%} of the budget**.")
    if datasets:
        parts.append("## The data\n\n" + _data(datasets) + "\n{returns}")
    parts.append("## What was reported\n\n" + _reported(reported))
    if results:
        parts.append("## How it was measured here\n\n" + _measured(recipe, results))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _scores(comparisons: Sequence[Comparison]) -> str:
    header = (
        "row",
        "reported",
        "measured on data collected again",
        "95 % interval",
        "difference (95 % interval)",
        "status",
    )
    return table(header, [_score_row(c) for c in comparisons])


def _score_row(c: Comparison) -> list[str]:
    status = f"**{c.status}** ({c.why})"
    if c.measured is None:
        return [c.row.reported, _spread(c.reported), "", "", "", status]
    return [
        c.row.reported,
        _spread(c.reported),
        _spread(c.measured),
        _interval(c.measured.interval),
        f"{c.difference:+.0f} {_interval(c.difference_interval)}",
        status,
    ]


def _seeds(comparisons: Sequence[Comparison]) -> str:
    rows = []
    for c in comparisons:
        rows.append([c.row.reported, "reported", *_values(c.reported)])
        if c.measured is not None:
            rows.append([c.row.reported, "measured", *_values(c.measured)])
    seeds = max(len(row) for row in rows) - 2
    header = ["row", "", *(str(seed) for seed in range(seeds))]
    return table(header, [row + [""] * (len(header) - len(row)) for row in rows])


def _data(datasets: Mapping[str, Dataset]) -> str:
    header = ("row", "dataset", "episodes", "transitions", "return", "fingerprint")
    rows = []
    for row, dataset in datasets.items():
        returns = dataset["episode_return"]
        rows.append(
            [
                row,
                f"`{dataset['dataset']}`",
                f"{dataset['episodes']:,}",
                f"{dataset['transitions']:,}",
                f"{returns['mean']:.0f} ± {returns['standard_deviation']:.0f}",
                f"`{dataset['fingerprint'][:12]}`",
            ]
        )
    return table(header, rows)


def _reported(reported: ReportedTable) -> str:
    protocol = ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in reported.protocol.items())
    lines = [
        f"- Paper: {reported.paper.strip()}",
        f"- Source: {' '.join(reported.source.split())} ({reported.license})",
        f"- Metric: {reported.metric}",
        f"- Protocol: {protocol}",
        f"- Exact: {'yes' if reported.exact else 'no'}",
        *(f"- Known defect: {defect}" for defect in reported.defects),
    ]
    return "\n".join(lines).replace("<", "&lt;")


def _measured(recipe: Recipe, results: Sequence[Mapping[str, Any]]) -> str:
    environments = ", ".join(sorted({result["environment"] for result in results}))
    versions = ", ".join(sorted({result["code_version"] for result in results}))
    hours = sum(sum(result["seconds"].values()) for result in results) / 3600
    config = ", ".join(f"{name} {value}" for name, value in results[0]["config"].items())
    lines = [
        f"- Learner: `{recipe.learner}` ({config})",
        f"- Environments: {environments}",
        f"- Protocol: policy mode, episodes {recipe.episodes}, evaluate every "
        f"{recipe.evaluate_every:,}, steps {recipe.steps:,}, batch size {recipe.batch_size}",
        f"- Feed: {', '.join(sorted({result['feed'] for result in results}))}",
        f"- Code: {versions}",
        f"- Time: {hours:.1f} hours of training and evaluation",
    ]
    return "\n".join(lines)


def _figures(
    reported: ReportedTable,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    datasets: Mapping[str, Dataset],
) -> dict[str, str]:
    drawn = {
        "curves": figures.learning_curves(
            [
                figures.CurvePanel(
                    row,
                    {
                        "reported": [(reported.steps, run) for run in reported.curves.get(row, ())],
                        "measured on data collected again": list(
                            comparison.curves(of_row).values()
                        ),
                    },
                )
                for row, of_row in results.items()
            ]
        )
    }
    if datasets:
        drawn["returns"] = figures.histograms(
            [
                figures.HistogramPanel(row, **d["episode_return"]["histogram"])
                for row, d in datasets.items()
            ]
        )
    return drawn


def _spread(score: Score) -> str:
    return f"{score.mean:.0f} ± {score.spread:.0f}"


def _interval(interval: tuple[float, float]) -> str:
    return "" if np.isnan(interval[0]) else f"[{interval[0]:.0f}, {interval[1]:.0f}]"


def _values(score: Score) -> list[str]:
    return [f"{value:.0f}" for value in score.per_seed]
