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
import numpy as np

from benchmarks.training.cells import Cell, Progress, seeds_of_rows
from benchmarks.training.online_phase import online_phase
from benchmarks.training.phases import Phase, Training, joined, offline_phase, split
from benchmarks.training.preparation import (
    Places,
    check_feed,
    identity,
    initial,
    learner_of,
    tasks_of,
)
from benchmarks.training.run_folder import RunFolder, begin_with_shorter_run, last_state, lock
from benchmarks.training.tasks.atari import Atari
from benchmarks.training.tasks.choice import Task, task_of
from benchmarks.training.teacher import Teacher
from benchmarks.training.teaching import of_data, teacher_of
from learners import types
from rl_datasets.errors import DatasetError


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
    # With a larger budget, the offline phase before the online one is longer.
    if cell.online is None:
        begin_with_shorter_run(folder, of_run, cell.at_other_budgets(places.runs_dir))
    return RunFolder(folder, of_run, cell.evaluations)


def _run_group(
    folders: dict[Cell, RunFolder], task: Task, places: Places, progress: Progress
) -> None:
    """Trains seeds of one row side by side, from their common checkpoint to the end."""
    cells = list(folders)
    spec: Any = task.spec(places.feed)
    teacher = teacher_of(cells[0], task, places.teachers_dir)
    phases = _phases(cells, task, places, spec, teacher, progress)
    step = folders[cells[0]].checkpoint_step
    number = max((n for n, phase in enumerate(phases) if phase.ends[0] <= step), default=0)
    learner = phases[number].learner
    kept = [folders[c].restore(_initial(c, learner, spec, places, teacher)) for c in cells]
    state = joined([each.state for each in kept])
    for phase in phases[number:]:
        if phase.learner is not learner:
            learner, state = phase.learner, phase.enter(state)
        left = [end for end in phase.ends if end > step]
        is_begun = phase.ends[0] <= step
        facts, arrays = (kept[0].facts, kept[0].arrays) if is_begun else ({}, {})
        if left:
            with phase.open(step, facts, arrays) as under_way:
                for step in left:
                    state = _to_evaluation(folders, task, learner, under_way, state, step)


def _phases(
    cells: Sequence[Cell],
    task: Task,
    places: Places,
    spec: Any,
    teacher: Teacher | None,
    progress: Progress,
) -> list[Phase]:
    """The phases of a row's run, in order; a run that continues online is of one seed."""
    cell, phases = cells[0], []
    if cell.offline_ends:
        learner = learner_of(cell, spec, teacher)
        task = task.read_by(cell.recipe.learner, of_data(cell.extras()))
        check_feed(cell, task, places.feed)
        phases.append(offline_phase(cells, task, places, learner, progress))
    if (online := cell.online_cell) is not None:
        task = task_of(online.recipe, online.row, places.data_dir)
        assert isinstance(task, Atari)
        phases.append(
            online_phase(
                cell,
                task,
                learner_of(online, spec, teacher),
                teacher,
                cell.folder(places.runs_dir),
                progress,
            )
        )
    return phases


def _to_evaluation(
    folders: dict[Cell, RunFolder],
    task: Task,
    learner: types.Learner,
    under_way: Training,
    state: Any,
    step: int,
) -> Any:
    """Trains up to a step, evaluates the state and saves it."""
    cells = list(folders)
    policies = {name: learner.policies[name] for name in cells[0].row.scoring.policies}
    start = time.perf_counter()
    state, metrics = under_way.train(state)
    train_seconds = (time.perf_counter() - start) / len(cells)
    states, metrics_of = split(state, len(cells)), split(metrics, len(cells))
    for number, (cell, metrics_of_seed) in enumerate(zip(cells, metrics_of, strict=True)):
        _check_finite(cell, step, metrics_of_seed)
        start = time.perf_counter()
        returns = {
            name: task.score(
                acting(policy, states[number]), cell.recipe.episodes, (cell.seed, step)
            )
            for name, policy in policies.items()
        }
        evaluate_seconds = time.perf_counter() - start
        states[number] = under_way.evaluated(states[number], next(iter(returns.values())))
        facts, arrays = under_way.kept()
        folders[cell].write(
            step,
            states[number],
            returns,
            {name: float(value) for name, value in metrics_of_seed.items()},
            {"train": round(train_seconds, 3), "evaluate": round(evaluate_seconds, 3)},
            facts,
            arrays,
        )
    return joined(states)


def acting(policy: types.Policy, state: types.TrainingState) -> Callable[[Any], Any]:
    """The policy of a state, which uses a new key in each call."""
    calls = itertools.count()

    def act(observation: Any) -> Any:
        key = jax.random.fold_in(state.key, next(calls))
        return policy(state._replace(key=key), observation)

    return act


def _initial(
    cell: Cell, learner: types.Learner, spec: Any, places: Places, teacher: Teacher | None
) -> types.TrainingState:
    """The state at step 0, with what a teacher or another run learned if the row starts from it."""
    key = jax.random.PRNGKey(cell.seed)
    cloning = cell.behavior
    if cloning is None:
        return initial(cell, learner, key, None, teacher)
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
