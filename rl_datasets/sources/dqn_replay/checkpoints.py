"""Finds which rows of a run a checkpoint holds, from its small arrays alone."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from typing import NamedTuple

import numpy as np

from rl_datasets import errors
from rl_datasets.sources.dqn_replay import gzipped, layout


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The rows [first, stop) of a run, as the files of one checkpoint hold them."""

    folder: str
    number: int
    capacity: int
    first: int
    stop: int

    def path(self, member: str) -> pathlib.Path:
        return pathlib.Path(self.folder) / layout.file_name(member, self.number)


class SmallArrays(NamedTuple):
    """A checkpoint without its frames; `is_blank` says whether its first rows may be padding."""

    add_count: int
    is_blank: bool
    action: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray


def read_small_arrays(folder: pathlib.Path, number: int) -> SmallArrays:
    """Reads the small arrays; raises `DatasetError` where a file does not fit a checkpoint."""
    paths = {member: folder / layout.file_name(member, number) for member in layout.MEMBERS}
    with gzipped.Npy(paths["$store$_observation"]) as npy:
        capacity = npy.shape[0] if npy.shape else 0
        npy.check((capacity, *layout.FRAME_SHAPE), layout.STORE["observation"])
        first_frames = np.zeros(
            (min(capacity, layout.STACK_SIZE - 1), *layout.FRAME_SHAPE), np.uint8
        )
        npy.read_into(0, first_frames)
    if capacity < layout.STACK_SIZE + layout.UPDATE_HORIZON:
        raise errors.DatasetError(
            f"{paths['$store$_observation']} has {capacity} rows, which are too few for a replay "
            f"buffer: {layout.COPY_AGAIN}"
        )
    columns = [
        gzipped.read_array(paths[f"$store$_{name}"], (capacity,), layout.STORE[name])
        for name in ("action", "reward", "terminal")
    ]
    is_blank = not any(np.any(each[: layout.STACK_SIZE - 1]) for each in (first_frames, *columns))
    add_count = gzipped.read_array(paths["add_count"], (), np.dtype(np.int64))
    gzipped.read_array(
        paths["invalid_range"], (layout.STACK_SIZE + layout.UPDATE_HORIZON,), np.dtype(np.int64)
    )
    return SmallArrays(int(add_count), is_blank, *columns)


def place(
    folder: pathlib.Path,
    number: int,
    arrays: SmallArrays,
    previous: tuple[Checkpoint, SmallArrays] | None,
    *,
    is_last: bool,
) -> Checkpoint:
    """The checkpoint with the rows of the run that it adds to the previous checkpoint's."""
    capacity, add_count = len(arrays.action), arrays.add_count
    make = functools.partial(Checkpoint, str(folder), number, capacity)
    earliest = number
    if previous is not None:
        before = previous[0]
        if before.capacity != capacity:
            raise errors.DatasetError(
                f"{folder / layout.file_name('$store$_observation', number)} has {capacity} "
                f"rows, and that of checkpoint {before.number} has {before.capacity}: copy one run "
                "whole"
            )
        earliest = (before.stop + 1) // capacity + number - before.number - 1
    block, cursor = divmod(add_count, capacity)
    if block >= earliest and cursor == capacity - 1:
        return make(max(block * capacity - 1, 0), add_count)
    if block != 0 or not is_last:
        raise errors.DatasetError(
            f"{folder / layout.file_name('add_count', number)} says {add_count}, which cannot be "
            f"in checkpoint {number} of a run with {capacity} rows in each checkpoint: copy one "
            "run whole"
        )
    if number == 0 and arrays.is_blank:  # Otherwise the run skipped its first full checkpoint.
        return make(0, cursor)
    first = max(earliest, 1) * capacity - 1
    if previous is not None and previous[0].number == number - 1:
        if cursor == capacity - 1:  # The previous checkpoint was saved at this point too.
            return make(first, first)
        stale = slice(cursor, capacity - 1)
        if any(
            not np.array_equal(now[stale], then[stale])
            for now, then in zip(arrays[2:], previous[1][2:], strict=True)
        ):
            first += capacity
    return make(first, first + 1 + cursor)


def is_step(checkpoint: Checkpoint, arrays: SmallArrays) -> bool:
    """Whether the checkpoint's first row, which is stored last, is certainly not padding."""
    if any(each[-1] for each in (arrays.action, arrays.reward, arrays.terminal)):
        return True
    frame = np.zeros(layout.FRAME_SHAPE, np.uint8)
    with gzipped.Npy(checkpoint.path("$store$_observation")) as npy:
        npy.read_into((checkpoint.capacity - 1) * layout.FRAME_BYTES, frame)
    return bool(np.any(frame))
