"""D4RL's HDF5 files (Fu et al. 2020, arXiv 2004.07219): their contents and their episodes.

A file is flat: row i is step i of the whole collection.

    observations        [N, O]   o_t
    actions             [N, A]   a_t, taken in o_t
    rewards             [N] or [N, 1]
    terminals           [N]      bool, or 0 and 1 as numbers
    timeouts            [N]      not in every file
    next_observations   [N, O]   o_{t+1}; only in Gym-MuJoCo v1 and v2
    infos/<name>        [N, ...] such as qpos, qvel, action_log_probs, goal; Kitchen has one `infos`
    metadata/<name>     of the whole file: algorithm, iteration, policy

Numbers of any byte order are read, and float16 is widened to float32. `d4rl_episodes` says where
episodes end, and `d4rl_policy` reads the policy.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import h5py
import numpy as np

from rl_datasets.episode import Episode, EpisodeError
from rl_datasets.errors import DatasetError
from rl_datasets.sources import d4rl_episodes, d4rl_tasks, hdf5
from rl_datasets.sources.d4rl_contents import FLAGS, Contents, contents_of
from rl_datasets.sources.d4rl_tasks import Task

_SLICE_BYTES = 32 << 20


def read_contents(path: str | pathlib.Path, task: Task) -> Contents:
    """Reads the contents of a file from its headers, and checks them against its task.

    Raises:
      DatasetError: the file is missing, truncated or not HDF5; it lacks a field that the task
        needs; fields differ in length, have an unsupported dtype or share a name; a field has the
        width of another environment's; or the file does not hold what its headers claim
        (`hdf5.datasets`).
    """
    with hdf5.opened(path) as file:
        return contents_of(file, path, task)


def task_of_shapes(path: str | pathlib.Path, is_d4rls: bool = True) -> Task:
    """A task that `read_episodes` can use for a file whose task is not known.

    Its trajectories end as those of Gym-MuJoCo do.

    Args:
      path: the file.
      is_d4rls: as in `Task`.

    Raises:
      DatasetError: the file cannot be read, or has no vectors of observations and no actions.
    """
    with hdf5.opened(path) as file:
        fields = hdf5.datasets(file, path)
        for name in ("observations", "actions"):
            is_number = name == "actions" and not is_d4rls
            if name not in fields or fields[name].ndim not in (2, 1 if is_number else 2):
                raise DatasetError(
                    f"{path} has no {name!r} of {'one or ' if is_number else ''}two axes, as files "
                    "in D4RL's layout have: name another file"
                )
        (observation_size,), action = (
            fields[name].shape[1:] for name in ("observations", "actions")
        )
    return dataclasses.replace(
        d4rl_tasks.task("hopper-medium-v2"),
        id="Gym-MuJoCo" if is_d4rls else "D4RL's layout",
        url="it",
        observation_size=observation_size,
        action_size=action[0] if action else None,
        known_defects=(),
        is_d4rls=is_d4rls,
    )


def read_episodes(path: str | pathlib.Path, task: Task) -> Iterator[Episode]:
    """Reads every episode of a file, in order.

    The file is read in slices. Memory holds a slice and the longest episode, not the file.

    Raises:
      DatasetError: as `read_contents`; a row cannot be read, or is faulty; or the trajectory breaks
        off after more than half of the rows that no flag marks.
    """
    for episode in read_episodes_and_faults(path, task):
        if isinstance(episode, EpisodeError):
            raise DatasetError(f"{path} has a faulty row: {episode}; repair that row") from episode
        yield episode


def read_episodes_and_faults(
    path: str | pathlib.Path, task: Task
) -> Iterator[Episode | EpisodeError]:
    """As `read_episodes`, but yields an error in place of an episode with a faulty row.

    A row is faulty where a value is not finite, an action is out of bounds, a flag is neither 0 nor
    1, or the row is both a terminal and a time limit in a task that has no such rows. A faulty flag
    does not end the episode, which continues to the next end.
    """
    with hdf5.opened(path) as file:
        contents = contents_of(file, path, task)
        yield from d4rl_episodes.episodes_of(_slices(file, path, contents), contents, task, path)


def _slices(
    file: h5py.File, path: str | pathlib.Path, contents: Contents
) -> Iterator[d4rl_episodes.Rows]:
    """The rows in slices, with the dtypes of `Contents`; flags as float64."""
    row_bytes = sum(dtype.itemsize * int(np.prod(row)) for row, dtype in contents.fields.values())
    step = max(1, _SLICE_BYTES // row_bytes)
    for start in range(0, contents.rows, step):
        stop = min(start + step, contents.rows)
        rows: d4rl_episodes.Rows = {name: np.zeros(stop - start) for name in FLAGS}
        for name, (row, dtype) in contents.fields.items():
            with hdf5.reading(path):
                stored = file[name][start:stop]
            with np.errstate(over="ignore"):  # A value that overflows is infinite, and so faulty.
                stored = stored.astype(np.float64 if name in FLAGS else dtype, copy=False)
            rows[name] = stored.reshape(stop - start, *row)
        yield rows
