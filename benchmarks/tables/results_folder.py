"""A table's results as files: `<row>.jsonl` a row, and `datasets.json` of what manifests say."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.training.cells import Cell
from benchmarks.training.results import RESULTS, read_results, write_results
from benchmarks.training.row import Row
from rl_datasets.episode import RAW_RETURN, RAW_RETURN_IS_KNOWN
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version

DATASETS = "datasets.json"

EPISODE_RETURN = "episode_return"

SHIPPED = pathlib.Path(__file__).parents[1] / "results"

Dataset = dict[str, Any]  # dataset, fingerprint, episodes, transitions, statistics of its returns


def adopt(cells: Sequence[Cell], folder: pathlib.Path, runs_dir: pathlib.Path) -> None:
    """Takes the seeds that a results folder has whole as done, so that they are not run again.

    Raises:
      DatasetError: its results are of another budget, or of fewer policies.
    """
    of_rows = {row: read_row(folder, row) for row in dict.fromkeys(cell.row for cell in cells)}
    for cell in cells:
        results = of_rows[cell.row]
        for result in results:
            if result["budget"] != cell.budget:
                raise DatasetError(
                    f"{folder} holds results at {result['budget']:.2%} of the budget, and "
                    f"{cell.budget:.2%} is asked for: name another results folder"
                )
            policies = [*cell.row.scoring.policies]
            if result.get("policies", ["act"]) != policies:
                raise DatasetError(
                    f"{folder} holds results of {cell.row.name!r} without the returns of every "
                    f"policy that is scored, {' and '.join(policies)}: name another results folder"
                )
        whole = [result for result in results if result["seed"] == cell.seed]
        if whole and whole[-1]["step"] == cell.steps and not cell.results(runs_dir):
            cell.folder(runs_dir).mkdir(parents=True, exist_ok=True)
            write_results(cell.folder(runs_dir) / RESULTS, whole)


def budget_of(folder: pathlib.Path, results: Sequence[Mapping[str, Any]]) -> float:
    """The fraction of the full budget that all results of a folder are of."""
    budgets = {result["budget"] for result in results} or {1.0}
    if len(budgets) > 1:
        told = " and ".join(f"{budget:.2%}" for budget in sorted(budgets))
        raise DatasetError(f"{folder} holds results at {told} of the budget: keep those of one")
    return budgets.pop()


def read_row(folder: pathlib.Path, row: Row) -> list[dict[str, Any]]:
    """A row's lines in a results folder, which was written whole."""
    return read_results(row_path(folder, row.name), may_grow=False)


def row_path(folder: pathlib.Path, row: str) -> pathlib.Path:
    return folder / f"{row.replace('/', '-')}.jsonl"


def describe(row: Row, version: Version) -> Dataset:
    splits = [version.splits[name] for name in version.split_names(row.data.split)]
    statistics = splits[0] if len(splits) == 1 else _together(splits)
    return {"dataset": row.data.dataset, "fingerprint": version.fingerprint, **statistics}


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


def returns_of(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the agent that logged it: in the game's own score, where the log was replayed."""
    return dataset.get(RAW_RETURN, dataset[EPISODE_RETURN])


def check_fingerprints(
    results: Sequence[Mapping[str, Any]], dataset: Dataset, version: Version
) -> None:
    for result in results:
        if result["fingerprint"] != dataset["fingerprint"]:
            raise DatasetError(
                f"results of {result['row']!r} were measured on another {result['dataset']} than "
                f"the one at {version.folder} (its manifest differs): name the data_dir that they "
                "were measured on, or move the runs away and measure again"
            )
