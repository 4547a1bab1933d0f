"""How long the steps that are left take, by results at hand: the runs', or shipped ones."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from benchmarks.training.cells import Cell, Results, step_reached
from benchmarks.training.results import read_results

SHIPPED = pathlib.Path(__file__).parents[1] / "results"

Result = Mapping[str, Any]


class Kind(NamedTuple):
    """What the time of a step depends on most."""

    learner: str
    batch_size: int
    sizes: str  # of its networks, as JSON
    by_steps: bool  # whether an evaluation lasts for so many steps, and not for so many episodes


class Rate(NamedTuple):
    """Seconds of a gradient step, and of an episode or a step of an evaluation."""

    train: float
    evaluate: float


def duration(runs: Mapping[Cell, Results]) -> str:
    """How long the steps left take and what says so, as the end of a sentence; "" if none are.

    Args:
      runs: the cells, and the lines of their runs so far.
    """
    left = {cell: cell.steps - step_reached(results) for cell, results in runs.items()}
    wanted = {_kind(cell) for cell, steps in left.items() if steps}
    if not wanted:
        return ""
    measured: dict[Kind, list[Result]] = {}
    for cell, results in runs.items():
        measured.setdefault(_kind(cell), []).extend(results)
    own = _rates(measured, wanted)
    shipped = _rates(_shipped(wanted - own.keys()), wanted)
    rates = shipped | own
    if not rates:
        return "; how long they take is known after the first evaluation"
    known = sum(
        _seconds(rates[_kind(cell)], cell, steps)
        for cell, steps in left.items()
        if steps and _kind(cell) in rates
    )
    hours, minutes = divmod(round(known / 60), 60)
    sources = ["measured so far"] * bool(own) + ["of the results shipped"] * bool(shipped)
    unknown = sorted({kind.learner for kind in wanted - rates.keys()})
    besides = f", and as yet unknown time of {', '.join(unknown)}" if unknown else ""
    return (
        f", about {hours} h {minutes:02d} min of one process at the rate "
        f"{' and that '.join(sources)}{besides}"
    )


def _kind(cell: Cell) -> Kind:
    config = dataclasses.asdict(cell.learner_config())
    by_steps = cell.recipe.atari.evaluation_steps > 0
    return _kind_of(cell.recipe.learner, cell.recipe.batch_size, config, by_steps)


def _kind_of(learner: str, batch_size: int, config: Mapping[str, Any], by_steps: bool) -> Kind:
    sizes = {name: value for name, value in config.items() if name.endswith("_sizes")}
    return Kind(learner, batch_size, json.dumps(sizes, sort_keys=True), by_steps)


def _shipped(wanted: Collection[Kind]) -> dict[Kind, list[Result]]:
    """Results of these kinds that the repository has, of any table."""
    found: dict[Kind, list[Result]] = {kind: [] for kind in wanted}
    for datasets in SHIPPED.glob("*/datasets.json") if wanted else ():
        for path in datasets.parent.glob("*.jsonl"):
            for result in read_results(path):
                by_steps = "evaluation_steps" in result
                shared = result["learner"], result["batch_size"], result["config"]
                if (kind := _kind_of(*shared, by_steps)) in found:
                    found[kind].append(result)
    return found


def _rates(measured: Mapping[Kind, Iterable[Result]], wanted: Collection[Kind]) -> dict[Kind, Rate]:
    return {
        kind: _rate([*results]) for kind, results in measured.items() if kind in wanted and results
    }


def _rate(results: Collection[Result]) -> Rate:
    def total(phase: str) -> float:
        return sum(result["seconds"].get(phase, 0.0) for result in results)

    steps = sum(result["evaluate_every"] for result in results)
    evaluated = sum(result.get("evaluation_steps", result["episodes"]) for result in results)
    return Rate(total("train") / steps, total("evaluate") / evaluated)


def _seconds(rate: Rate, cell: Cell, steps: int) -> float:
    evaluations = steps / cell.recipe.evaluate_every
    evaluated = cell.recipe.atari.evaluation_steps or cell.recipe.episodes
    return steps * rate.train + evaluations * evaluated * rate.evaluate
