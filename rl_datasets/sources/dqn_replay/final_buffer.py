"""Reads the replay buffer that Dopamine saves beside a checkpoint of its agent.

The files are those of a checkpoint of DQN Replay (`layout`), but they are saved at the end of an
iteration, wherever the cursor is, and `add_count` is the number of rows that were ever added. So
the buffer of C rows holds rows [add_count - C, add_count) of the run, the oldest of them at index
`add_count % C`; or all rows, where these are fewer than C.

Its first rows, up to the end of an episode, are left out, because their episode's beginning is
missing. Where the last row ends no episode, that is cut: it is not terminal.

Newer versions of Dopamine do not record a time limit as terminal. They save the indices of all rows
that ended an episode, a pickled set, as `episode_end_indices_ckpt.N.gz`.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
from isal import igzip

from rl_datasets import errors
from rl_datasets.sources import plain_pickle
from rl_datasets.sources.dqn_replay import checkpoints, episode_index, layout
from rl_datasets.sources.dqn_replay.reader import LoggedRun


def read_final_buffer(
    folder: str | os.PathLike[str], number: int, time_limit: int = layout.TIME_LIMIT
) -> LoggedRun:
    """Finds the episodes of an agent's replay buffer without reading its frames.

    Args:
      folder: the folder of the agent's checkpoints.
      number: the checkpoint's.
      time_limit: number of rows after which the run's environment ended an episode.

    Returns:
      The run, with one unit.

    Raises:
      DatasetError: the checkpoint has no replay buffer, a file of it cannot be read, it holds no
        episode whose beginning is known, or an episode is longer than the time limit.
    """
    folder = pathlib.Path(folder).absolute()
    _check_is_there(folder, number)
    arrays = checkpoints.read_small_arrays(folder, number)
    path = folder / layout.file_name("add_count", number)
    if arrays.add_count < 0:
        raise errors.DatasetError(f"{path} says {arrays.add_count}: {layout.COPY_AGAIN}")
    capacity = len(arrays.action)
    first = max(0, arrays.add_count - capacity)
    checkpoint = checkpoints.Checkpoint(str(folder), number, capacity, first, arrays.add_count)
    chain = episode_index.Chain(first, begins=first == 0)
    ends = folder / layout.file_name("episode_end_indices", number)
    chain.append(checkpoint, arrays, _read_episode_ends(ends) if ends.exists() else ())
    spans = chain.spans(time_limit)
    units = chain.units(spans)
    if not units:
        raise errors.DatasetError(
            f"{folder} holds no whole episode in the replay buffer of checkpoint {number}: name "
            "another checkpoint"
        )
    told = []
    if lost := chain.rows_without_beginning:
        told.append(
            f"the buffer held the last {capacity} rows of {arrays.add_count}, so its oldest "
            f"{lost} rows, whose episode's beginning is missing, are left out"
        )
    told += episode_index.truncated([chain], spans, time_limit)
    further_files = (str(ends),) if ends.exists() else ()
    (unit,) = (dataclasses.replace(unit, further_files=further_files) for unit in units)
    return LoggedRun((unit,), {}, tuple(told))


def _check_is_there(folder: pathlib.Path, number: int) -> None:
    present = layout.numbers_among(os.listdir(folder))
    if number in present:
        return
    names = f"{layout.file_name('$store$_*', number)} and the others"
    if present:
        raise errors.DatasetError(
            f"{folder} holds the agent of checkpoint {number} and the replay buffer of checkpoint "
            f"{present[-1]}, which do not belong together: copy {names}, or name the agent's "
            f"checkpoint {present[-1]}"
        )
    raise errors.DatasetError(
        f"{folder} holds checkpoint {number} without its replay buffer, {names}: copy these, or "
        f"publish the run's {layout.FOLDER_NAME}, of which Reincarnating RL takes file "
        f"{(number + 1) // 4} in their place, ({number} + 1) // 4"
    )


def _read_episode_ends(path: pathlib.Path) -> set[int]:
    try:
        with igzip.open(path, "rb") as file:
            content = file.read(plain_pickle.MAX_BYTES)
    except (OSError, EOFError) as error:
        raise errors.DatasetError(
            f"{path} is truncated or damaged ({error}): {layout.COPY_AGAIN}"
        ) from error
    ends = plain_pickle.loads(content, str(path))
    if not isinstance(ends, set) or not all(isinstance(each, int | np.integer) for each in ends):
        raise errors.DatasetError(
            f"{path} holds something else than a set of indices: {layout.COPY_AGAIN}"
        )
    return {int(each) for each in ends}
