"""A table's results as files: `<row>.jsonl` for each row, and `datasets.json` from manifests."""

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
LOGGED = "logged"  # the agent that logged the data of a game while it learned

SHIPPED = pathlib.Path(__file__).parents[1] / "results"

# dataset, fingerprint, episodes, transitions, statistics of its returns; and of data of a game that
# an agent logged while it learned, as `logged`, the agent, the number of its iterations and the
# mean return of the best.
Dataset = dict[str, Any]


def adopt(cells: Sequence[Cell], folder: pathlib.Path, runs_dir: pathlib.Path) -> None:
    """Marks the seeds that a results folder holds in full as done, so that they are not run again.

    Raises:
      DatasetError: its results have another budget, or lack the returns of a policy.
    """
    of_rows = {row: read_row(folder, row) for row in dict.fromkeys(cell.row for cell in cells)}
    for cell in cells:
        results = of_rows[cell.row]
        for result in results:
            if result["budget"] != cell.budget:
                raise DatasetError(
                    f"{folder} holds results at {result['budget']:.2%} of the budget, but "
                    f"{cell.budget:.2%} was asked for: name another results folder"
                )
            policies = [*cell.row.scoring.policies]
            if result.get("policies", ["act"]) != policies:
                raise DatasetError(
                    f"{folder} holds results of {cell.row.name!r} that lack returns of a policy "
                    f"that is scored, {' or '.join(policies)}: name another results folder"
                )
        whole = [result for result in results if result["seed"] == cell.seed]
        if whole and whole[-1]["step"] == cell.steps and not cell.results(runs_dir):
            cell.folder(runs_dir).mkdir(parents=True, exist_ok=True)
            write_results(cell.folder(runs_dir) / RESULTS, whole)


def budget_of(folder: pathlib.Path, results: Sequence[Mapping[str, Any]]) -> float:
    """The fraction of the full budget at which all results of a folder were measured."""
    budgets = {result["budget"] for result in results} or {1.0}
    if len(budgets) > 1:
        found = " and ".join(f"{budget:.2%}" for budget in sorted(budgets))
        raise DatasetError(
            f"{folder} holds results at {found} of the budget: keep only those at one of these"
        )
    return budgets.pop()


def read_row(folder: pathlib.Path, row: Row) -> list[dict[str, Any]]:
    """Reads a row's lines in a results folder; there, a last line that was cut is an error."""
    return read_results(row_path(folder, row.name), may_grow=False)


def row_path(folder: pathlib.Path, row: str) -> pathlib.Path:
    return folder / f"{row.replace('/', '-')}.jsonl"


def describe(row: Row, version: Version) -> Dataset:
    splits = [version.splits[name] for name in version.split_names(row.data.split)]
    statistics = splits[0] if len(splits) == 1 else _together(splits)
    described = {"dataset": row.data.dataset, "fingerprint": version.fingerprint, **statistics}
    lineage = version.lineage
    if lineage.iterations:
        described[LOGGED] = {
            "agent": lineage.agent,
            "iterations": len(lineage.iterations),
            "best": max(iteration.mean_return for iteration in lineage.iterations),
        }
    return described


def _together(splits: Sequence[Mapping[str, Any]]) -> Dataset:
    """Combined counts and returns of several splits; no histograms, because their edges differ."""
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
    """The mean and standard deviation of all episodes, from those of each split."""
    mean = np.average([each["mean"] for each in returns], weights=episodes)
    squares = [each["standard_deviation"] ** 2 + (each["mean"] - mean) ** 2 for each in returns]
    spread = np.average(squares, weights=episodes) ** 0.5
    return {"mean": float(mean), "standard_deviation": float(spread)}


def returns_of(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """The returns of the logged episodes: in the game's own score if the log was replayed."""
    return dataset.get(RAW_RETURN, dataset[EPISODE_RETURN])


def check_fingerprints(
    results: Sequence[Mapping[str, Any]], dataset: Dataset, version: Version
) -> None:
    for result in results:
        if result["fingerprint"] != dataset["fingerprint"]:
            raise DatasetError(
                f"results of {result['row']!r} were measured on another {result['dataset']} than "
                f"the one at {version.location} (its manifest differs): name the data_dir that "
                "they were measured on, or move the runs away and measure again"
            )
