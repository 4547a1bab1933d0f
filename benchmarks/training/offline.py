"""Runs a recipe: trains, evaluates, writes a JSON line for each evaluation, and can be resumed.

`run_folder.py` says what a run keeps on disk. Several processes, and several commands, may work on
the same runs: a cell's lock gives it to one of them.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.training.cells import Cell, Progress, seeds_of_rows
from benchmarks.training.feeds import open_feed
from benchmarks.training.preparation import (
    Places,
    check_feed,
    identity,
    initial,
    learner_of,
    tasks_of,
)
from benchmarks.training.run_folder import RunFolder, begin_with_shorter_run, last_state, lock
from benchmarks.training.tasks.choice import Task
from learners import training, types
from rl_datasets.errors import DatasetError
from rl_datasets.serving.rewards import rescaled


def run_cells(
    cells: Sequence[Cell], places: Places, progress: Progress, seeds_at_once: int = 1
) -> None:
    """Runs every cell that is not done and that no other process is running.

    Args:
      cells: the cells, from `plan`.
      places: the folders of data and runs, and the feed.
      progress: called with each cell and its step after every call of the learner.
      seeds_at_once: number of seeds of a row to train in one `vmap`, which is faster on an
        accelerator.

    Raises:
      DatasetError: before anything is trained, if a dataset is missing or its policy could not be
        scored; or the folder of a run holds another run.
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
                    and not cell.is_done(places.runs_dir)  # Another process may have run it.
                }
                # Only seeds that are at the same step can be trained in one call.
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
    policies: dict[str, Any] = {
        name: learner.policies[name] for name in cells[0].row.scoring.policies
    }
    task = task.read_by(recipe.learner, cells[0].extras())
    check_feed(cells[0], task, places.feed)
    update = (training.over_seeds(learner) if len(cells) > 1 else learner).update
    steps_a_call = task.steps_in_a_call(recipe.evaluate_every)
    step = folders[cells[0]].checkpoint_step
    state = _join([folders[c].restore(_initial(c, learner, spec, places)) for c in cells])
    with contextlib.ExitStack() as stack:
        feeds = [
            stack.enter_context(open_feed(cell, task, places.feed, steps_a_call, step))
            for cell in cells
        ]
        while step < cells[0].steps:
            start = time.perf_counter()
            for _ in range(recipe.evaluate_every // steps_a_call):
                batches = [
                    rescaled(next(feed), task.reward_scale, task.row.data.reward_bias)
                    for feed in feeds
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
                    name: task.score(
                        acting(policy, state_of_seed), recipe.episodes, (cell.seed, step)
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


def acting(policy: types.Policy, state: types.TrainingState) -> Callable[[Any], Any]:
    """The policy of a state, which uses a new key in each call."""
    calls = itertools.count()

    def act(observation: Any) -> Any:
        key = jax.random.fold_in(state.key, next(calls))
        return policy(state._replace(key=key), observation)

    return act


def _initial(cell: Cell, learner: types.Learner, spec: Any, places: Places) -> types.TrainingState:
    """The state at step 0, with the policy that another run cloned if the row starts from one."""
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
    """Refuses a metric that is not finite: it stays so, and the run's returns are worthless."""
    if wrong := [name for name, value in metrics.items() if not np.isfinite(value)]:
        raise DatasetError(
            f"{cell.name} diverged: {' and '.join(wrong)} is not a finite number at step {step:,}; "
            "change its config, for example to a lower learning rate, and run it again"
        )


def _join(trees: Sequence[Any]) -> Any:
    """One tree with a leading axis of seeds, or the tree itself if there is one seed."""
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _split(tree: Any, seeds: int) -> list[Any]:
    """The inverse of `_join`."""
    if seeds == 1:
        return [tree]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(seeds)]
