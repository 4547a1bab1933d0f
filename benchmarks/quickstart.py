"""The quickstart: the whole path from a policy to a score on HalfCheetah, in minutes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rich
import rich.table

import rl_datasets
from benchmarks.tables import console, figures
from benchmarks.tables.comparison import curves
from benchmarks.tables.page import table, write_page
from benchmarks.tables.reported import ReportedTable, Score, load_table
from benchmarks.training.cells import Cell, plan, read_runs
from benchmarks.training.preparation import Places
from benchmarks.training.recipe import Recipe
from benchmarks.training.results import RESULTS, append_result, code_version, machine, read_results
from benchmarks.training.row import Row
from benchmarks.training.runner import run_cells
from rl_datasets import extras, files
from rl_datasets.terminal import show

ENVIRONMENT = "HalfCheetah-v2"
SEED = 0
LAST = 5  # A run's score is the mean of its last evaluations, this many.


@dataclasses.dataclass(frozen=True)
class Part:
    """A learner, and the data it is trained on.

    Attributes:
      mixture: the mixture of behaviour policies that collects the data.
      data: a description of the data, for the report.
      learner: the learner's module.
      name: the learner's name in the report.
      steps: number of training steps.
      seeds: number of runs.
      reported: the table with the learner's score on data of this kind; "" if there is none.
    """

    mixture: str
    data: str
    learner: str
    name: str
    steps: int
    seeds: int = 1
    reported: str = ""


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of everything; the defaults take minutes on two cores."""

    transitions: int = 200_000
    evaluations: int = 10
    episodes: int = 10
    parts: tuple[Part, ...] = (
        Part(
            mixture="pure",
            data="episodes of the partially trained policy",
            learner="brac_bc",
            name="BC",
            steps=30_000,
            seeds=2,
            reported="brac_bc",
        ),
        Part(
            mixture="eps1",
            data="episodes, a fifth of them random, two fifths of that policy, and two fifths of "
            "that policy with one action in ten random",
            learner="td3_bc",
            name="TD3+BC",
            steps=25_000,
        ),
    )


@dataclasses.dataclass(frozen=True)
class Trained:
    """A part that was run: its dataset, and the results of its runs."""

    part: Part
    dataset: str  # `builder/config:version`
    returns: dict[str, Any]  # returns of the data's episodes, from the manifest
    results: list[dict[str, Any]]

    @property
    def runs(self) -> list[figures.Curve]:
        """The steps and returns of each seed."""
        return list(curves(self.results).values())


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A line of the table that a quickstart prints."""

    name: str
    value: float
    spread: float | None
    what: str

    @property
    def score(self) -> str:
        """The value, with its spread if there is one."""
        return f"{self.value:,.0f}" + ("" if self.spread is None else f" ± {self.spread:,.0f}")


def run(
    data_dir: pathlib.Path | str,
    size: Size | None = None,
    policy_path: pathlib.Path | str | None = None,
    processes: int = 2,
) -> pathlib.Path:
    """Collects, publishes, loads, serves, trains, evaluates and reports.

    A second run reuses what the first one collected, published and trained. Each run appends a line
    to `quickstart.jsonl`: how many seconds it took, and its results.

    Args:
      data_dir: the folder for the published datasets; everything else is written to its subfolder
        `quickstart`.
      size: how much of everything.
      policy_path: the behaviour policy; by default the one that is shipped.
      processes: number of processes that share the collection.

    Returns:
      The path of the report's page.

    Raises:
      DatasetError: something the user can fix, such as a folder that cannot be written.
    """
    data_dir, size, start = files.local_path(data_dir), size or Size(), time.monotonic()
    folder = data_dir / "quickstart"
    trained = [
        _run_part(part, data_dir, folder, size, policy_path, processes) for part in size.parts
    ]
    page, outcomes = _report(folder, trained, size)
    _show(outcomes)
    console.show_page(page)
    took = {
        "code_version": code_version(),
        "machine": machine(),
        "seconds": round(time.monotonic() - start, 1),
        "returns": {outcome.name: round(outcome.value, 1) for outcome in outcomes},
    }
    append_result(folder / "quickstart.jsonl", took)
    return page


def _run_part(
    part: Part,
    data_dir: pathlib.Path,
    folder: pathlib.Path,
    size: Size,
    policy_path: pathlib.Path | str | None,
    processes: int,
) -> Trained:
    from builders.brac.brac_dataset_builder import Builder
    from rl_datasets.collection.collector import collect
    from rl_datasets.publishing.publish import publish

    rich.print(
        f"[bold]collecting[/] {size.transitions:,} transitions of {ENVIRONMENT}, {part.mixture}"
    )
    source = folder / "collected" / part.mixture
    collection = collect(
        ENVIRONMENT,
        part.mixture,
        size.transitions,
        source,
        policy_path=policy_path,
        seed=SEED,
        processes=processes,
    )
    rich.print(f"[bold]publishing[/] brac/{collection.dataset}")
    builder = Builder(source=str(source), config=collection.dataset, data_dir=str(data_dir))
    publication = publish(builder)
    dataset = f"brac/{collection.dataset}:{publication.path.name}"
    _open(data_dir, dataset)
    cells = _cells(part, dataset, size)
    _train(cells, Places(os.fspath(data_dir), folder / "runs"), publication.path)
    return Trained(
        part,
        dataset,
        publication.manifest["splits"]["train"]["episode_return"],
        [line for cell in cells for line in read_results(cell.folder(folder / "runs") / RESULTS)],
    )


def _open(data_dir: pathlib.Path, dataset: str) -> None:
    """Shows how to read the published folder, by TFDS alone where TensorFlow is installed."""
    if extras.is_installed("tensorflow"):
        import tensorflow_datasets as tfds

        call = f'tfds.load("{dataset}", data_dir="{data_dir}", split="train")'
        episodes = len(tfds.load(dataset, data_dir=str(data_dir), split="train"))
    else:
        call = f'rl_datasets.load("{dataset}", "{data_dir}")'
        episodes = rl_datasets.load(dataset, data_dir).counts("train").episodes
    rich.print(f"[bold]opening[/] {call}: {episodes:,} episodes")


def _cells(part: Part, dataset: str, size: Size) -> list[Cell]:
    recipe = Recipe(
        title="Quickstart",
        table="quickstart",
        learner=part.learner,
        seeds=tuple(range(part.seeds)),
        steps=part.steps,
        batch_size=256,
        evaluate_every=part.steps // size.evaluations,
        episodes=size.episodes,
        rows=(Row.of(_row_name(part), dataset, ENVIRONMENT),),
    )
    return plan(recipe)


def _row_name(part: Part) -> str:
    return f"{ENVIRONMENT}/{part.mixture}"


def _train(cells: list[Cell], places: Places, version_dir: pathlib.Path) -> None:
    if all(cell.is_done(places.runs_dir) for cell in cells):
        rich.print("[bold]training[/] was done by an earlier run")
        return
    with (
        _feed(version_dir) as feed,
        console.progress(read_runs(cells, places.runs_dir)) as progress,
    ):
        run_cells(cells, dataclasses.replace(places, feed=feed), progress)


@contextlib.contextmanager
def _feed(version_dir: pathlib.Path) -> Iterator[str]:
    """The feed to train from: a Reverb server where Reverb is installed, or arrays in memory."""
    if not extras.is_installed("reverb"):
        rich.print("[bold]training[/] from arrays in memory, because Reverb is not installed")
        yield "arrays"
        return
    from rl_datasets.serving.reverb import ReverbServer

    rich.print("[bold]training[/] from a Reverb server")
    with ReverbServer.from_published(version_dir, seed=SEED) as server:
        yield server.address


def _report(
    folder: pathlib.Path, trained: Sequence[Trained], size: Size
) -> tuple[pathlib.Path, list[Outcome]]:
    outcomes = [outcome for each in trained for outcome in _outcomes(each)]
    drawn = {
        "curves": figures.learning_curves([_curves(each) for each in trained]),
        "returns": figures.histograms(
            [
                figures.HistogramPanel(_row_name(each.part), **each.returns["histogram"])
                for each in trained
            ]
        ),
    }
    text = _text(outcomes, trained, size)
    return write_page(
        folder, "report", "Quickstart: from a policy to a score", text, drawn
    ), outcomes


def _reported(part: Part) -> tuple[ReportedTable, Score] | None:
    """The table with a score of this learner on data of this kind, and the score."""
    if not part.reported:
        return None
    reported = load_table(part.reported)
    return reported, reported.rows[_row_name(part)].scores["last_10"]


def _outcomes(trained: Trained) -> list[Outcome]:
    part, runs = trained.part, trained.runs
    scores = Score.over_seeds(np.mean(returns[-LAST:]) for _, returns in runs)
    evaluations = min(LAST, *(len(returns) for _, returns in runs))
    seeds = ", ".join(f"{score:,.0f}" for score in scores.per_seed)
    outcomes = [
        Outcome(
            f"data, {part.mixture}",
            trained.returns["mean"],
            trained.returns["standard_deviation"],
            part.data,
        ),
        Outcome(
            f"{part.name}, {part.mixture}",
            scores.mean,
            scores.spread,
            f"measured here: the last {evaluations} evaluations of {part.steps:,} steps, by seed: "
            f"{seeds}",
        ),
    ]
    if reported := _reported(part):
        outcomes.append(
            Outcome(
                f"{part.name}, {part.mixture}, reported",
                reported[1].mean,
                reported[1].spread,
                f"the authors' own runs, last ten evaluations of 5 seeds: {ENVIRONMENT}, their "
                "1,000,000 transitions, 500,000 steps; of the same kind, not the same measurement",
            )
        )
    return outcomes


def _curves(trained: Trained) -> figures.CurvePanel:
    part = trained.part
    levels = {"the data's episodes": trained.returns["mean"]}
    if reported := _reported(part):
        levels[f"{part.name}, reported"] = reported[1].mean
    return figures.CurvePanel(_row_name(part), {part.name: trained.runs}, levels)


def _text(outcomes: Sequence[Outcome], trained: Sequence[Trained], size: Size) -> str:
    rows = [[o.name, o.score, o.what] for o in outcomes]
    published = " and ".join(f"`{each.dataset}`" for each in trained)
    mixtures = " and ".join(f"`{each.part.mixture}`" for each in trained)
    sources = {
        each.part.name: " ".join(reported[0].source.split()).replace("<", "&lt;")
        for each in trained
        if (reported := _reported(each.part))
    }
    return f"""\
{size.transitions:,} transitions of {ENVIRONMENT} of each of the mixtures
{mixtures}, collected, published as {published}, and served by Reverb to the learners.

{table(["", "return", "of what"], rows)}
{" ".join(f"The reported value of {name} is from {source}." for name, source in sources.items())}

## Learning curves

Thin lines are seeds, thick ones their means.

{{curves}}

## Returns of the data's episodes

{{returns}}
"""


def _show(outcomes: Sequence[Outcome]) -> None:
    shown = rich.table.Table("", title=ENVIRONMENT)
    shown.add_column("return", justify="right", no_wrap=True)
    shown.add_column("of what", overflow="fold")
    for o in outcomes:
        shown.add_row(o.name, o.score, o.what)
    show(shown)
