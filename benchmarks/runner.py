"""Runs a recipe: trains, evaluates, writes one JSON line an evaluation, goes on where it was cut.

A cell is one row and one seed of a table. It has a folder of its own,
`<runs>/<table>/<dataset>/<learner>/seed-<n>/`, that holds

    run.json       what the run is; a folder is never gone on with as another run
    results.jsonl  one line an evaluation
    checkpoint/    the training state at the last evaluation
    events.*       the same numbers for TensorBoard
    .lock          held while a process works on the cell

A kill at any time loses what came after the last evaluation and nothing else: the line is written
before the checkpoint, and whoever goes on from a checkpoint first drops the lines after it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib
import json
import math
import multiprocessing
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import filelock
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.evaluation import evaluate
from benchmarks.recipe import Recipe, Row, load_recipe
from benchmarks.results import (
    RESULTS,
    append_result,
    code_version,
    fingerprint,
    read_results,
    write_atomically,
    write_results,
)
from learners import training, types
from rl_datasets.collection.environments import make_environment
from rl_datasets.errors import DatasetError

STEPS_A_CALL = 100  # gradient steps of one jitted update; bounds the memory that batches take

Progress = Callable[["Cell", int], None]  # called with the step that a cell has come to


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row and one seed of a table at a fraction of its full budget."""

    recipe: Recipe
    row: Row
    seed: int
    budget: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.row.reported} seed {self.seed}"

    @property
    def steps(self) -> int:
        """Gradient steps at this budget."""
        return self.recipe.steps_at(self.budget)

    def folder(self, runs_dir: pathlib.Path) -> pathlib.Path:
        """Runs of a smaller budget lie apart, so that they are never taken for full ones."""
        table = self.recipe.table
        if self.budget != 1:
            table = f"{table}-budget-{self.budget:g}"
        seed = f"seed-{self.seed}"
        return runs_dir / table / self.row.version_path / self.recipe.learner / seed

    def step_reached(self, runs_dir: pathlib.Path) -> int:
        """The step of its last evaluation, 0 before the first."""
        results = read_results(self.folder(runs_dir) / RESULTS)
        return results[-1]["step"] if results else 0


def plan(
    recipe: Recipe,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    budget: float = 1.0,
) -> list[Cell]:
    """The cells of a recipe, row by row; `rows` are names of the reported table, all by default.

    Raises:
      DatasetError: a row or seed that the recipe does not have, or a budget outside (0, 1].
    """
    known = {row.reported: row for row in recipe.rows}
    rows, seeds = list(rows or known), list(recipe.seeds if seeds is None else seeds)
    for row in rows:
        if row not in known:
            raise DatasetError(
                f"table {recipe.table!r} has no row {row!r}, choose from: {', '.join(known)}"
            )
    for seed in seeds:
        if seed not in recipe.seeds:
            raise DatasetError(
                f"table {recipe.table!r} has no seed {seed}, choose from: {recipe.seeds}"
            )
    recipe.steps_at(budget)
    return [Cell(recipe, known[row], seed, budget) for row in rows for seed in seeds]


def run_cells(
    cells: Sequence[Cell],
    data_dir: pathlib.Path,
    runs_dir: pathlib.Path,
    progress: Progress,
    seeds_at_once: int = 1,
    feed: str = "arrays",
) -> None:
    """Runs every cell that is neither done nor in the hands of another process.

    Args:
      cells: as `plan` gives them.
      data_dir: holds `builder/config/version/` folders.
      runs_dir: see the module's docstring.
      progress: told where each cell stands after every call of the learner.
      seeds_at_once: seeds of a row that are trained in one `vmap`; pays on an accelerator.
      feed: `arrays`, whose runs repeat bit for bit, or `reverb`.

    Raises:
      DatasetError: a dataset is missing, or a run's folder holds another run.
    """
    for row in dict.fromkeys(cell.row for cell in cells):
        of_row = [cell for cell in cells if cell.row == row]
        for start in range(0, len(of_row), seeds_at_once):
            with contextlib.ExitStack() as locks:
                taken = [
                    cell
                    for cell in of_row[start : start + seeds_at_once]
                    if cell.step_reached(runs_dir) < cell.steps
                    and _lock(locks, cell.folder(runs_dir))
                    and cell.step_reached(runs_dir) < cell.steps
                ]
                for group in _by_checkpoint(taken, runs_dir):
                    _run_group(group, data_dir, runs_dir, progress, feed)


def _lock(locks: contextlib.ExitStack, folder: pathlib.Path) -> bool:
    """Whether this process now holds the cell, until `locks` closes."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        locks.enter_context(filelock.FileLock(folder / ".lock", timeout=0))
    except filelock.Timeout:
        return False
    return True


def _by_checkpoint(cells: Sequence[Cell], runs_dir: pathlib.Path) -> Iterator[list[Cell]]:
    """Only seeds that stand at the same step can be trained in one call."""
    steps = {cell: _checkpoints(cell.folder(runs_dir)).latest_step() or 0 for cell in cells}
    for step in sorted(set(steps.values())):
        yield [cell for cell in cells if steps[cell] == step]


def _run_group(
    cells: Sequence[Cell],
    data_dir: pathlib.Path,
    runs_dir: pathlib.Path,
    progress: Progress,
    feed: str,
) -> None:
    """Trains seeds of one row side by side, from their common checkpoint to the end."""
    recipe, row, steps = cells[0].recipe, cells[0].row, cells[0].steps
    spec = _spec(row.environment)
    learner = importlib.import_module(f"learners.{recipe.learner}").make(
        recipe.learner_config(), spec
    )
    update = (training.over_seeds(learner) if len(cells) > 1 else learner).update
    logs = [_Log(cell, data_dir, runs_dir, feed) for cell in cells]
    initial = [learner.init(jax.random.PRNGKey(cell.seed)) for cell in cells]
    step, states = zip(
        *(log.restore(state) for log, state in zip(logs, initial, strict=True)), strict=True
    )
    state, step = _join(states), step[0]
    steps_a_call = math.gcd(recipe.evaluate_every, STEPS_A_CALL)
    with contextlib.ExitStack() as feeds:
        iterators = [
            feeds.enter_context(_feed(feed, data_dir, cell, steps_a_call, step)) for cell in cells
        ]
        while step < steps:
            start = time.perf_counter()
            for _ in range(recipe.evaluate_every // steps_a_call):
                state, metrics = update(state, _join([next(i) for i in iterators]))
                jax.block_until_ready(metrics)
                step += steps_a_call
                for cell in cells:
                    progress(cell, step)
            seconds = time.perf_counter() - start
            split = zip(
                cells, logs, _split(state, len(cells)), _split(metrics, len(cells)), strict=True
            )
            for cell, log, state_of_seed, metrics_of_seed in split:
                start = time.perf_counter()
                act = functools.partial(learner.act, state_of_seed)
                returns = evaluate(row.environment, act, recipe.episodes, (cell.seed, step))
                log.write(
                    step,
                    state_of_seed,
                    returns,
                    {name: float(value) for name, value in metrics_of_seed.items()},
                    {
                        "train": round(seconds / len(cells), 3),
                        "evaluate": round(time.perf_counter() - start, 3),
                    },
                )


def _spec(environment_name: str) -> types.Spec:
    environment = make_environment(environment_name, 0)
    observation, action = environment.observation_spec(), environment.action_spec()
    return types.Spec(
        int(np.prod(observation.shape)), int(np.prod(action.shape)), action.minimum, action.maximum
    )


def _join(trees: Sequence[Any]) -> Any:
    """One tree with a leading axis of seeds, or the tree itself where there is one seed."""
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _split(tree: Any, seeds: int) -> list[Any]:
    """The inverse of `_join`."""
    if seeds == 1:
        return [tree]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(seeds)]


@functools.lru_cache(maxsize=1)  # The cells of a row follow one another.
def _transitions(version_dir: pathlib.Path) -> Any:
    from rl_datasets.serving.transitions import load_transitions

    return load_transitions(version_dir)._replace(extras={})


@contextlib.contextmanager
def _feed(
    name: str, data_dir: pathlib.Path, cell: Cell, steps_a_call: int, step: int
) -> Iterator[Iterator[Any]]:
    """Batches [K, B, ...] from `step` on; only the array feed can be sought."""
    version_dir, batch_size = data_dir / cell.row.version_path, cell.recipe.batch_size
    if name == "arrays":
        from rl_datasets.serving.arrays import ArrayFeed

        feed = ArrayFeed(_transitions(version_dir), batch_size, cell.seed, steps=steps_a_call)
        feed.seek(step)
        yield feed
    elif name == "reverb":
        from rl_datasets.serving.reverb import ReverbFeed, ReverbServer

        with ReverbServer(version_dir, seed=cell.seed) as server:
            yield ReverbFeed(server.address, batch_size, steps=steps_a_call)
    else:
        raise DatasetError(f"unknown feed {name!r}, choose arrays or reverb")


def _checkpoints(folder: pathlib.Path) -> Any:
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager((folder / "checkpoint").resolve(), options=options)


class _Log:
    """What a cell keeps on disk."""

    def __init__(self, cell: Cell, data_dir: pathlib.Path, runs_dir: pathlib.Path, feed: str):
        self._folder = cell.folder(runs_dir)
        self._checkpoints = _checkpoints(self._folder)
        self._identity = _identity(cell, data_dir, feed)
        path = self._folder / "run.json"
        if not path.exists():
            write_atomically(path, json.dumps(self._identity, indent=2) + "\n")
        before = json.loads(path.read_text())
        differing = [k for k in self._identity if before.get(k) != self._identity[k]]
        if differing:
            raise DatasetError(
                f"{self._folder} holds a run with another {', '.join(differing)}: "
                "move that folder away, or run with the same"
            )

    def restore(self, initial: types.TrainingState) -> tuple[int, types.TrainingState]:
        """The step and the state of the last evaluation; later lines are dropped."""
        import orbax.checkpoint as ocp

        step = self._checkpoints.latest_step() or 0
        results = [r for r in read_results(self._folder / RESULTS) if r["step"] <= step]
        write_results(self._folder / RESULTS, results)
        self._open_events(results)
        if step:
            restore = ocp.args.StandardRestore(initial)
            return step, self._checkpoints.restore(step, args=restore)
        return step, initial

    def write(
        self,
        step: int,
        state: types.TrainingState,
        returns: np.ndarray,
        metrics: dict[str, float],
        seconds: dict[str, float],
    ) -> None:
        """Keeps one evaluation. The line comes first: see the module's docstring."""
        import orbax.checkpoint as ocp

        result = {
            **self._identity,
            "step": step,
            "returns": [round(float(r), 3) for r in returns],
            "metrics": metrics,
            "code_version": code_version(),
            "seconds": seconds,
        }
        append_result(self._folder / RESULTS, result)
        self._checkpoints.save(step, args=ocp.args.StandardSave(state))
        self._write_event(result)

    def _open_events(self, results: Sequence[dict[str, Any]]) -> None:
        """Starts the events anew from the lines, so that no point is lost or doubled."""
        import tensorflow as tf

        for events in self._folder.glob("events.*"):
            events.unlink()
        self._writer = tf.summary.create_file_writer(str(self._folder))
        for result in results:
            self._write_event(result)

    def _write_event(self, result: dict[str, Any]) -> None:
        import tensorflow as tf

        with self._writer.as_default(step=result["step"]):
            tf.summary.scalar("evaluation/return", np.mean(result["returns"]))
            for name, value in result["metrics"].items():
                tf.summary.scalar(f"train/{name}", value)
        self._writer.flush()


def _identity(cell: Cell, data_dir: pathlib.Path, feed: str) -> dict[str, Any]:
    recipe = cell.recipe
    return {
        "table": recipe.table,
        "row": cell.row.reported,
        "dataset": cell.row.dataset,
        "fingerprint": fingerprint(data_dir / cell.row.version_path),
        "environment": cell.row.environment,
        "learner": recipe.learner,
        "config": json.loads(json.dumps(dataclasses.asdict(recipe.learner_config()))),
        "batch_size": recipe.batch_size,
        "feed": feed,
        "seed": cell.seed,
        "budget": cell.budget,
        "steps": cell.steps,
        "evaluate_every": recipe.evaluate_every,
        "episodes": recipe.episodes,
    }


def _worker(index: int, queue: Any, arguments: dict[str, Any]) -> None:
    """Works on one core through all cells; the cells' locks share them out."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[index % len(cores)]})
    parent = os.getppid()

    def progress(cell: Cell, step: int) -> None:
        if os.getppid() != parent:
            raise SystemExit("the process that started this one is gone")
        queue.put((cell, step))

    run_cells(progress=progress, **arguments)


def _run_in_processes(processes: int, progress: Progress, arguments: dict[str, Any]) -> None:
    context = multiprocessing.get_context("spawn")
    with (
        context.Manager() as manager,
        concurrent.futures.ProcessPoolExecutor(processes, context) as pool,
    ):
        queue = manager.Queue()
        running = {pool.submit(_worker, i, queue, arguments) for i in range(processes)}
        while running:
            done, running = concurrent.futures.wait(running, timeout=0.5)
            while not queue.empty():
                progress(*queue.get())
            for future in done:
                future.result()


def reproduce(
    table: str,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    budget: float = 1.0,
    data_dir: pathlib.Path | str = ".data",
    runs_dir: pathlib.Path | str = ".runs",
    processes: int = 1,
    seeds_at_once: int = 1,
    feed: str = "arrays",
    dry_run: bool = False,
) -> None:
    """Measures a table: runs what is not done, goes on with what was cut.

    Args:
      table: the recipe's name, such as `brac_bc`.
      rows: names of the reported table's rows; all by default.
      seeds: all of the recipe's by default.
      budget: fraction of the recipe's gradient steps; results of a smaller budget lie apart.
      data_dir: where the published datasets lie.
      runs_dir: where the runs are kept.
      processes: each on a core of its own.
      seeds_at_once: seeds of a row trained in one `vmap`.
      feed: `arrays` or `reverb`.
      dry_run: say what would run, and run nothing.

    Raises:
      DatasetError: something the user can mend, such as a row that does not exist.
    """
    from benchmarks import console

    data_dir, runs_dir = pathlib.Path(data_dir), pathlib.Path(runs_dir)
    cells = plan(load_recipe(table), rows, seeds, budget)
    console.show_plan(cells, runs_dir)
    if dry_run:
        return
    arguments: dict[str, Any] = {
        "cells": cells,
        "data_dir": data_dir,
        "runs_dir": runs_dir,
        "seeds_at_once": seeds_at_once,
        "feed": feed,
    }
    with console.progress(cells, runs_dir) as progress:
        if processes == 1:
            run_cells(progress=progress, **arguments)
        else:
            _run_in_processes(processes, progress, arguments)
