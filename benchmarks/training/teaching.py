"""What a row's teacher gives to the row's student."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.training.cells import Cell
from benchmarks.training.online.replay_sampling import IMPORTANCE
from benchmarks.training.tasks.choice import Task
from benchmarks.training.teacher import Teacher
from learners import types
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet

VALUES = "teacher_values"  # an extra of transitions: what the teacher says each action is worth
OF_THE_RUNNER = (VALUES, IMPORTANCE)  # extras that no dataset has


def teacher_of(cell: Cell, task: Task, teachers_dir: pathlib.Path) -> Teacher | None:
    """The teacher that the cell's row names; None where it names none.

    Raises:
      DatasetError: it is missing, damaged, or of another game or ROM; the row's data are not its
        replay; or the row needs a teacher and names none.
    """
    row, options = cell.row, cell.online
    if not row.learning.teacher:
        reads = VALUES in cell.extras()
        if reads or (options and (options.guide or options.starts_as_teacher)):
            raise DatasetError(f"row {row.name!r} needs a teacher: name one, such as Pong/1")
        return None
    teacher = _open(teachers_dir / row.learning.teacher)
    if teacher.game != row.scoring.environment:
        raise DatasetError(
            f"the teacher {teacher.path} plays {teacher.game}, and row {row.name!r} is of "
            f"{row.scoring.environment}: name a teacher of that game"
        )
    teacher.check_rom(RomSet(task.identity["rom_set"]))
    teacher.check_replay(row.data.dataset, task.version.lineage.facts)
    return teacher


_open = functools.cache(Teacher.open)  # once a process, for all cells


def of_data(extras: Sequence[str]) -> tuple[str, ...]:
    """The extras that the data of a row must have."""
    return tuple(name for name in extras if name not in OF_THE_RUNNER)


def with_teacher(
    learner: types.Learner, extras: tuple[str, ...], teacher: Teacher | None
) -> types.Learner:
    """The learner, whose update adds to batches what it reads and no dataset has.

    Args:
      learner: the learner.
      extras: names of the extras that it reads.
      teacher: must not be None if `VALUES` is among them.
    """
    if not set(extras) & set(OF_THE_RUNNER):
        return learner

    def update(state: types.TrainingState, batches: Any) -> Any:
        added = dict(batches.extras)
        if VALUES in extras:
            assert teacher is not None
            frames = batches.observation
            values = teacher.values(frames.reshape(-1, *frames.shape[-3:]))
            added[VALUES] = values.reshape(*frames.shape[:-3], -1)
        if IMPORTANCE in extras and IMPORTANCE not in added:
            added[IMPORTANCE] = jnp.ones(batches.reward.shape, jnp.float32)
        return learner.update(state, batches._replace(extras=added))

    return learner._replace(update=update)


def as_teacher(cell: Cell, state: types.TrainingState, teacher: Teacher) -> types.TrainingState:
    """The state with the teacher's parameters, and targets that are copies of them.

    Raises:
      DatasetError: its network is another than the learner's.
    """
    params = teacher.params
    if jax.tree.map(jnp.shape, state.params) != jax.tree.map(jnp.shape, params):
        raise DatasetError(
            f"row {cell.row.name!r} starts with the parameters of {teacher.path}, whose network is "
            f"another than that of {cell.recipe.learner}: name a learner with the teacher's network"
        )
    copies = [jax.tree.map(jnp.array, params) for _ in range(2)]
    return state._replace(params=copies[0], target_params=copies[1])
