"""Runs a recipe: trains, evaluates, writes one JSON line an evaluation, goes on where it was cut.

`run_folder.py` says what a run keeps on disk. Several processes, and several runners, may work on
the same runs: a cell's lock gives it to one of them.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pathlib
import queue
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.tables.reported import load_table, table_names
from benchmarks.training.cells import Cell, Progress, plan, seeds_of_rows, with_behaviors
from benchmarks.training.evaluation import play
from benchmarks.training.preparation import (
    Places,
    check,
    check_feed,
    check_served,
    identity,
    initial,
    learner_of,
    tasks_of,
)
from benchmarks.training.recipe import Row, load_recipe, recipe_names
from benchmarks.training.run_folder import RunFolder, begin_with_shorter_run, last_state, lock
from benchmarks.training.tasks import Task, with_extras
from learners import training, types
from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.serving.rewards import rescaled
from rl_datasets.serving.transitions import Transition


def run_cells(
    cells: Sequence[Cell], places: Places, progress: Progress, seeds_at_once: int = 1
) -> None:
    """Runs every cell that is neither done nor in the hands of another process.

    Args:
      cells: as `plan` gives them.
      places: where data and runs lie.
      progress: told where each cell stands after every call of the learner.
      seeds_at_once: seeds of a row that are trained in one `vmap`; pays on an accelerator.

    Raises:
      DatasetError: before anything is trained, if a dataset is missing or its policy could not be
        scored; or a run's folder holds another run.
    """
    tasks = tasks_of(cells, places, seeds_at_once)
    for of_row in seeds_of_rows(cells):
        for first in range(0, len(of_row), seeds_at_once):
            with contextlib.ExitStack() as locks:
                taken = {
                    cell: _open(cell, tasks[cell], places)
                    for cell in of_row[first : first + seeds_at_once]
                    if not cell.is_done(places.runs_dir)
                    and locks.enter_context(lock(cell.folder(places.runs_dir)))
                    and not cell.is_done(places.runs_dir)  # Another may have had it until now.
                }
                # Only seeds that stand at the same step can be trained in one call.
                for step in sorted({folder.checkpoint_step for folder in taken.values()}):
                    group = {c: f for c, f in taken.items() if f.checkpoint_step == step}
                    _run_group(group, tasks[next(iter(group))], places, progress)


def _open(cell: Cell, task: Task, places: Places) -> RunFolder:
    of_run = identity(cell, task, places)
    folder = cell.folder(places.runs_dir)
    begin_with_shorter_run(folder, of_run, cell.at_other_budgets(places.runs_dir))
    return RunFolder(folder, of_run)


def _run_group(
    folders: dict[Cell, RunFolder], task: Task, places: Places, progress: Progress
) -> None:
    """Trains seeds of one row side by side, from their common checkpoint to the end."""
    cells = list(folders)
    recipe = cells[0].recipe
    spec: Any = task.spec()
    learner = learner_of(cells[0], spec)
    policies: dict[str, Any] = {name: getattr(learner, name) for name in cells[0].row.policies}
    task = task.read_by(learner, recipe.learner)
    check_feed(cells[0], task, places.feed)
    update = (training.over_seeds(learner) if len(cells) > 1 else learner).update
    steps_a_call = task.steps_in_a_call(recipe.evaluate_every)
    step = folders[cells[0]].checkpoint_step
    state = _join([folders[c].restore(_initial(c, learner, spec, places)) for c in cells])
    with contextlib.ExitStack() as stack:
        feeds = [
            stack.enter_context(_feed(cell, task, places.feed, steps_a_call, step))
            for cell in cells
        ]
        while step < cells[0].steps:
            start = time.perf_counter()
            for _ in range(recipe.evaluate_every // steps_a_call):
                batches = [
                    rescaled(next(feed), task.reward_scale, task.row.reward_bias) for feed in feeds
                ]
                state, metrics = update(state, _join(batches))
                jax.block_until_ready(metrics)
                step += steps_a_call
                for cell in cells:
                    progress(cell, step)
            train_seconds = (time.perf_counter() - start) / len(cells)
            states, metrics_of = _split(state, len(cells)), _split(metrics, len(cells))
            for cell, state_of_seed, metrics_of_seed in zip(cells, states, metrics_of, strict=True):
                _check_finite(cell, step, metrics_of_seed)
                start = time.perf_counter()
                returns = {
                    name: play(
                        task.environment,
                        functools.partial(policy, state_of_seed),
                        recipe.episodes,
                        (cell.seed, step),
                    )
                    for name, policy in policies.items()
                }
                evaluate_seconds = time.perf_counter() - start
                folders[cell].write(
                    step,
                    state_of_seed,
                    returns,
                    {name: float(value) for name, value in metrics_of_seed.items()},
                    {"train": round(train_seconds, 3), "evaluate": round(evaluate_seconds, 3)},
                )


def _initial(cell: Cell, learner: types.Learner, spec: Any, places: Places) -> types.TrainingState:
    """The state at step 0, with the policy that another run cloned where the row has one."""
    key = jax.random.PRNGKey(cell.seed)
    cloning = cell.behavior
    if cloning is None:
        return initial(cell, learner, key, None)
    if not cloning.is_done(places.runs_dir):
        raise DatasetError(
            f"{cell.name} starts from the policy of {cloning.name}, which is not done: run it first"
        )
    structure = learner_of(cloning, spec).init(key)
    return initial(cell, learner, key, last_state(cloning.folder(places.runs_dir), structure))


def _check_finite(cell: Cell, step: int, metrics: Mapping[str, Any]) -> None:
    """What is not finite once never is again: nothing that such a run returns means anything."""
    if wrong := [name for name, value in metrics.items() if not np.isfinite(value)]:
        raise DatasetError(
            f"{cell.name} diverged: {' and '.join(wrong)} is not a finite number at step {step:,}; "
            "change its config, such as to a lower learning rate, and run it anew"
        )


def _join(trees: Sequence[Any]) -> Any:
    """One tree with a leading axis of seeds, or the tree itself where there is one seed."""
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _split(tree: Any, seeds: int) -> list[Any]:
    """The inverse of `_join`."""
    if seeds == 1:
        return [tree]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(seeds)]


@contextlib.contextmanager
def _feed(
    cell: Cell, task: Task, feed: str, steps_a_call: int, step: int
) -> Iterator[Iterator[Transition]]:
    """Batches [K, B, ...] from `step` on; only the array feed can be sought."""
    batch_size = cell.recipe.batch_size
    if feed == "arrays":
        from rl_datasets.serving.arrays import ArrayFeed

        arrays = ArrayFeed(task.transitions(), batch_size, cell.seed, steps=steps_a_call)
        arrays.seek(step)
        yield arrays
    elif feed == "stream":
        from rl_datasets.serving.streaming import StreamFeed

        (seed,) = np.random.SeedSequence([cell.seed, step]).generate_state(1)
        _check_shards(task.version_dir, task.cut["split"])
        stream = StreamFeed(task.version_dir, batch_size, int(seed), steps_a_call, **task.cut)
        yield (with_extras(batch, ()) for batch in stream)
    elif feed == "reverb":
        from rl_datasets.serving.reverb import ReverbServer

        with ReverbServer.from_published(task.version_dir, seed=cell.seed, **task.cut) as server:
            yield _reverb_feed(server.address, task, batch_size, steps_a_call, cell.seed)
    else:
        yield _reverb_feed(feed, task, batch_size, steps_a_call, cell.seed)


@functools.cache  # Once a process is enough: what other feeds read is checked as they load it.
def _check_shards(version_dir: pathlib.Path, split: str) -> None:
    from rl_datasets.publishing import reader

    reader.check_shards(version_dir, split)


def _reverb_feed(
    address: str, task: Task, batch_size: int, steps_a_call: int, seed: int
) -> Iterator[Transition]:
    from rl_datasets.serving.reverb import ReverbFeed

    feed = ReverbFeed(address, batch_size, steps=steps_a_call, seed=seed)
    check_served(address, feed.schema, task)
    return (with_extras(batch, task.extras) for batch in feed)


def _worker(index: int, messages: Any, cells: Sequence[Cell], places: Places, seeds: int) -> None:
    """Works on one core through all cells; the cells' locks share them out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C, and ends us.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[index % len(cores)]})
    parent = os.getppid()

    def progress(cell: Cell, step: int) -> None:
        if os.getppid() != parent:
            raise SystemExit("the process that started this one is gone")
        messages.put((cell, step))

    try:
        run_cells(cells, places, progress, seeds)
    except Exception as error:
        messages.put(error)


def _run_in_processes(
    processes: int, cells: Sequence[Cell], places: Places, progress: Progress, seeds_at_once: int
) -> None:
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    workers = [
        context.Process(
            target=_worker, args=(index, messages, cells, places, seeds_at_once), daemon=True
        )
        for index in range(processes)
    ]
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers) or not messages.empty():
            with contextlib.suppress(queue.Empty):
                message = messages.get(timeout=0.5)
                if isinstance(message, Exception):
                    raise message
                progress(*message)
            if any(worker.exitcode for worker in workers):
                raise DatasetError(
                    "a process that was training died (was it out of memory?): run the same "
                    "command again to go on"
                )
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


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
    results_dir: pathlib.Path | str | None = None,
    dry_run: bool = False,
) -> pathlib.Path | None:
    """Measures a table: runs what is not done, goes on with what was cut, writes the report.

    Args:
      table: the recipe's name, such as `brac_bc`, or the file of a user's own, `x.toml`.
      rows: names of its rows, or patterns such as `CQL/*`; by default all that can be run and whose
        datasets are published.
      seeds: all of the recipe's by default.
      budget: fraction of the recipe's gradient steps; results of a smaller budget lie apart, and a
        larger one goes on from their runs. Behaviour policies are trained in full at any.
      data_dir: where the published datasets lie.
      runs_dir: where the runs are kept.
      processes: each on a core of its own; 1 runs in this process, on all cores.
      seeds_at_once: seeds of a row trained in one `vmap`.
      feed: see `Places`.
      results_dir: results folder that the report is written to; seeds that it has whole are not
        run again. By default beside the runs.
      dry_run: say what would run, refuse what could not, and run nothing.

    Returns:
      The path of the report's page; None after a dry run, and of a table that nothing measures.

    Raises:
      DatasetError: something the user can mend, such as a row that does not exist.
    """
    from benchmarks.tables import console, report

    if table in table_names() and table not in recipe_names():
        console.show_reported(load_table(table))
        return None
    places = Places(pathlib.Path(data_dir), pathlib.Path(runs_dir), feed)
    recipe = load_recipe(table)
    report.reported_of(recipe)  # refuses a row that the table does not have
    cells = plan(recipe, rows, seeds, budget)
    left_out = {row: row.blocked for row in recipe.rows if row.blocked}
    if not rows:
        absent = _absent(cells, places.data_dir)
        cells = [cell for cell in cells if cell.row not in absent]
        left_out.update(absent)
    results_dir = None if results_dir is None else pathlib.Path(results_dir)
    if results_dir is not None:
        files.check_can_write(results_dir)
        report.adopt(plan(recipe, budget=budget), results_dir, places.runs_dir)
    runs = with_behaviors(cells)
    console.show_plan(runs, places.runs_dir, left_out)
    every_cell, asked_for = plan(recipe, budget=budget), {cell.row.name for cell in cells}
    if dry_run:
        report.show(recipe, every_cell, places.runs_dir, budget, asked_for)
    check(runs, places, seeds_at_once)
    if dry_run:
        return None
    with console.progress(runs, places.runs_dir) as progress:
        for starts_from_another in (False, True):  # what others start from is run to its end first
            wave = [cell for cell in runs if (cell.behavior is not None) is starts_from_another]
            if processes == 1:
                run_cells(wave, places, progress, seeds_at_once)
            elif wave:
                _run_in_processes(processes, wave, places, progress, seeds_at_once)
    page = report.export(every_cell, places.data_dir, places.runs_dir, results_dir)
    report.show(recipe, every_cell, places.runs_dir, budget, asked_for)
    console.show_page(page)
    return page


def first_seeds(table: str, number: int) -> list[int]:
    """The first seeds of a table's recipe.

    Raises:
      DatasetError: it has not so many.
    """
    seeds = load_recipe(table).seeds
    if number > len(seeds):
        raise DatasetError(f"table {table!r} has {len(seeds)} seeds, ask for no more of them")
    return list(seeds[:number])


def _absent(cells: Sequence[Cell], data_dir: pathlib.Path) -> dict[Row, str]:
    """Rows whose datasets are not published, if others' are."""
    rows = dict.fromkeys(cell.row for cell in cells)
    absent = {
        row: f"{data_dir / row.version_path} is not published"
        for row in rows
        if not (data_dir / row.version_path / "MANIFEST.json").is_file()
    }
    return {} if len(absent) == len(rows) else absent
