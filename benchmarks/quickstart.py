"""The whole path at once: from a policy to a score, on HalfCheetah, in minutes."""

from __future__ import annotations

import dataclasses
import pathlib
import time

import numpy as np
import rich
import rich.table

from benchmarks import console, figures
from benchmarks.cells import Cell, plan
from benchmarks.comparison import curves
from benchmarks.page import table, write_page
from benchmarks.recipe import Recipe, Row
from benchmarks.results import RESULTS, append_result, code_version, machine, read_results
from benchmarks.runner import Places, run_cells
from benchmarks.tables import Score, load_table

ENVIRONMENT = "HalfCheetah-v2"
MIXTURE = "eps1"
REPORTED_ROW = "HalfCheetah-v2/eps1"
SEED = 0
LAST = 5  # evaluations that a value measured here averages: BC's differ much


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of everything; the defaults take minutes on two cores."""

    transitions: int = 200_000
    bc_steps: int = 30_000
    bc_seeds: int = 3
    td3_bc_steps: int = 25_000
    evaluations: int = 10
    episodes: int = 10


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A line of the table that a quickstart prints."""

    name: str
    value: float
    spread: float | None
    what: str

    @property
    def score(self) -> str:
        """The value, and its spread where there is one."""
        return f"{self.value:,.0f}" + ("" if self.spread is None else f" ± {self.spread:,.0f}")


def run(
    folder: pathlib.Path | str,
    size: Size | None = None,
    policy_path: pathlib.Path | str | None = None,
    processes: int = 2,
) -> pathlib.Path:
    """Collects, publishes, loads, serves, trains, evaluates and reports.

    A second run finds what the first one collected, published and trained. Each appends a line to
    `quickstart.jsonl`: how many seconds it took, and what came out.

    Args:
      folder: everything is written below it.
      size: how much of everything.
      policy_path: the behaviour policy; by default the one that is shipped.
      processes: that share the collection.

    Returns:
      The path of the report's page.

    Raises:
      DatasetError: something the user can mend, such as a folder that cannot be written.
    """
    folder, size, start = pathlib.Path(folder), size or Size(), time.monotonic()
    version_dir, dataset = _publish(folder, size, policy_path, processes)
    _open_with_tfds(folder, dataset)
    cells = _cells(dataset, size)
    _train(folder, version_dir, cells)
    page, outcomes = _report(folder, version_dir, dataset, cells, size)
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


def _publish(
    folder: pathlib.Path, size: Size, policy_path: pathlib.Path | str | None, processes: int
) -> tuple[pathlib.Path, str]:
    """The folder of the published version, and its name, `builder/config:version`."""
    from builders.brac.brac_dataset_builder import Builder
    from rl_datasets.collection.collector import collect
    from rl_datasets.publishing.publish import publish

    rich.print(f"[bold]collecting[/] {size.transitions:,} transitions of {ENVIRONMENT}")
    source = folder / "collected"
    collection = collect(
        ENVIRONMENT,
        MIXTURE,
        size.transitions,
        source,
        policy_path=policy_path,
        seed=SEED,
        processes=processes,
    )
    rich.print(f"[bold]publishing[/] brac/{collection.dataset}")
    builder = Builder(source=str(source), config=collection.dataset, data_dir=str(folder / "data"))
    publication = publish(builder)
    return publication.path, f"brac/{collection.dataset}:{publication.path.name}"


def _open_with_tfds(folder: pathlib.Path, dataset: str) -> None:
    """Shows that the published folder is a dataset for whoever has TFDS and not this project."""
    import tensorflow_datasets as tfds

    call = f'tfds.load("{dataset}", data_dir="{folder / "data"}", split="train")'
    episodes = tfds.load(dataset, data_dir=str(folder / "data"), split="train")
    rich.print(f"[bold]opening[/] {call}: {len(episodes):,} episodes")


def _train(folder: pathlib.Path, version_dir: pathlib.Path, cells: list[Cell]) -> None:
    from rl_datasets.serving.reverb import ReverbServer

    runs_dir = folder / "runs"
    if all(cell.is_done(runs_dir) for cell in cells):
        rich.print("[bold]training[/] was done before")
        return
    rich.print("[bold]training[/] BC and TD3+BC from one Reverb server")
    with (
        ReverbServer.from_published(version_dir, seed=SEED) as server,
        console.progress(cells, runs_dir) as progress,
    ):
        run_cells(cells, Places(folder / "data", runs_dir, feed=server.address), progress)


def _cells(dataset: str, size: Size) -> list[Cell]:
    row = Row(REPORTED_ROW, dataset, ENVIRONMENT)
    return [
        cell
        for learner, steps, seeds in (
            ("brac_bc", size.bc_steps, size.bc_seeds),
            ("td3_bc", size.td3_bc_steps, 1),
        )
        for cell in plan(
            Recipe(
                title="Quickstart",
                table="quickstart",
                learner=learner,
                seeds=tuple(range(seeds)),
                steps=steps,
                batch_size=256,
                evaluate_every=steps // size.evaluations,
                episodes=size.episodes,
                rows=(row,),
            )
        )
    ]


NAMES = {"brac_bc": "BC", "td3_bc": "TD3+BC"}
SCATTER = """\
Behaviour cloning scatters by seed, here as in the authors' runs (1,535 to 4,400 on this mixture): a
fifth of the data is of a uniformly random policy, which hardly leaves the start, and the mode of a
policy that is fitted to both may stand still there. It often learns to leave in the end; the
authors train for 500,000 steps, which is more than a quickstart has time for."""


def _report(
    folder: pathlib.Path, version_dir: pathlib.Path, dataset: str, cells: list[Cell], size: Size
) -> tuple[pathlib.Path, list[Outcome]]:
    from rl_datasets.publishing import manifest

    returns = manifest.read(version_dir)["splits"]["train"]["episode_return"]
    results: dict[str, list[dict]] = {name: [] for name in NAMES.values()}
    for cell in cells:
        lines = read_results(cell.folder(folder / "runs") / RESULTS)
        results[NAMES[cell.recipe.learner]] += lines
    reported = load_table("brac_bc")
    reported_score = reported.rows[REPORTED_ROW].scores["last_10"]
    outcomes = [
        Outcome(
            "behaviour policy",
            returns["mean"],
            returns["standard_deviation"],
            f"episodes of {dataset}: 20 % random, the rest by the partially trained policy",
        ),
        *(_measured(name, lines) for name, lines in results.items()),
        Outcome(
            "BC, reported",
            reported_score.mean,
            reported_score.spread,
            "BRAC's own runs, last ten evaluations of 5 seeds: HalfCheetah-v2, their 1,000,000 "
            "transitions, 500,000 steps; of the same kind, not the same measurement",
        ),
    ]
    page = write_page(
        folder,
        "report",
        "Quickstart: from a policy to a score",
        _text(outcomes, dataset, size, " ".join(reported.source.split())),
        {
            "curves": figures.learning_curves(
                [
                    figures.CurvePanel(
                        f"{ENVIRONMENT}, {MIXTURE}",
                        {name: list(curves(lines).values()) for name, lines in results.items()},
                        {"behaviour policy": returns["mean"], "BC, reported": reported_score.mean},
                    )
                ]
            ),
            "returns": figures.histograms(
                [figures.HistogramPanel(dataset, **returns["histogram"])]
            ),
        },
    )
    return page, outcomes


def _measured(name: str, results: list[dict]) -> Outcome:
    scores = Score.over_seeds(np.mean(run[-LAST:]) for _, run in curves(results).values())
    seeds = ", ".join(f"{score:,.0f}" for score in scores.per_seed)
    return Outcome(
        name,
        scores.mean,
        scores.spread,
        f"measured here: the last {min(LAST, len(results))} evaluations of {results[-1]['step']:,} "
        f"steps, by seed: {seeds}",
    )


def _text(outcomes: list[Outcome], dataset: str, size: Size, source: str) -> str:
    rows = [[o.name, o.score, o.what] for o in outcomes]
    return f"""\
{size.transitions:,} transitions of {ENVIRONMENT}, collected with the mixture `{MIXTURE}` and
published as `{dataset}`; BC and TD3+BC trained on them from a Reverb server.

{table(["", "return", "of what"], rows)}
{SCATTER}

The reported value is from {source.replace("<", "&lt;")}.

## Learning curves

{{curves}}

## Returns of the data's episodes

{{returns}}
"""


def _show(outcomes: list[Outcome]) -> None:
    shown = rich.table.Table("", "return", "of what", title=f"{ENVIRONMENT}, {MIXTURE}")
    for o in outcomes:
        shown.add_row(o.name, o.score, o.what)
    rich.print(shown)
