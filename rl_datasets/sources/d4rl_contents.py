"""The contents of an HDF5 file in D4RL's layout, from its headers; `d4rl` has the layout."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import dm_env.specs
import h5py
import numpy as np

from rl_datasets.episode import STEP_FIELDS, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.sources import hdf5
from rl_datasets.sources.d4rl_tasks import Task

METADATA = {
    "first_row": dm_env.specs.Array((), np.int64),
    "is_timeout": dm_env.specs.Array((), np.bool_),
    "is_done": dm_env.specs.Array((), np.bool_),
}
NEEDED = ("observations", "actions", "rewards", "terminals")
FLAGS = ("terminals", "timeouts")
KNOWN = (*NEEDED, "timeouts", "next_observations")


@dataclasses.dataclass(frozen=True)
class Contents:
    """The contents of a file, from its headers.

    Attributes:
      rows: number of rows of every field.
      fields: by name, the shape of a row and the dtype in which it is read, of every field that has
        one row for each step.
      metadata: the metadata of the whole file, as plain data; arrays by their shape and sha256.
      coarsest: the least precise float that a state in the file may have passed through.
    """

    rows: int
    fields: Mapping[str, tuple[tuple[int, ...], np.dtype]]
    metadata: Mapping[str, Any]
    coarsest: np.dtype

    @property
    def has_timeouts(self) -> bool:
        return "timeouts" in self.fields

    @property
    def has_next_observations(self) -> bool:
        return "next_observations" in self.fields

    @property
    def infos(self) -> list[str]:
        """Fields that become extras."""
        return [name for name in self.fields if name not in KNOWN]

    def episode_spec(self) -> EpisodeSpec:
        """The spec of the file's episodes; all of D4RL's environments bound actions by 1."""
        (observation, observed), (action, acted) = (
            self.fields[name] for name in ("observations", "actions")
        )
        return EpisodeSpec(
            observation=dm_env.specs.Array(observation, observed),
            action=dm_env.specs.BoundedArray(action, acted, -1.0, 1.0),
            extras={extra_of(name): dm_env.specs.Array(*self.fields[name]) for name in self.infos},
            metadata=METADATA,
        )


def contents_of(file: h5py.File, path: str | pathlib.Path, task: Task) -> Contents:
    """The contents of an open file, checked as `d4rl.read_contents` says."""
    found = hdf5.datasets(file, path)
    fields = {name: each for name, each in found.items() if not name.startswith("metadata/")}
    for name in _needed(fields, task):
        if name not in fields:
            raise DatasetError(
                f"{path} has no {name!r}, so it is not a file of {task.id}: download {task.url} "
                "again"
            )
    rows = _rows_of_most(fields)
    for name, field in fields.items():
        shape = field.shape or ()
        if not shape or shape[0] != rows or not rows:
            raise DatasetError(
                f"{path} has {name!r} of shape {shape} where others have {rows} rows, and every "
                "field must have one row for each step, and at least one: download the file again"
            )
        _check_dtype(name, field.dtype, path, task)
        widths = _widths(name, task)
        if widths and shape[1:] not in widths:
            raise DatasetError(
                f"{path} has {name!r} of shape {shape}, and rows of {task.id} have shape "
                f"{widths[0]}: name the task that the file belongs to"
            )
    _check_names(fields, path)
    observed = fields["observations"].dtype
    following = fields.get("next_observations", fields["observations"]).dtype
    if not np.can_cast(following, observed, "same_kind"):
        raise DatasetError(
            f"{path} has 'next_observations' of dtype {following} beside 'observations' of "
            f"{observed}: store both as floats"
        )
    metadata = {
        name.removeprefix("metadata/"): hdf5.plain(each, path)
        for name, each in found.items()
        if name not in fields
    }
    floats = [np.dtype(np.float32), *(each for each in (observed, following) if each.kind == "f")]
    return Contents(
        rows=rows,
        fields={name: _row_type(name, field, observed) for name, field in fields.items()},
        metadata=metadata,
        coarsest=max(floats, key=lambda each: np.finfo(each).eps).newbyteorder("="),
    )


def _rows_of_most(fields: Mapping[str, h5py.Dataset]) -> int:
    """The number of rows that most fields have, so that an error names the one that differs."""
    counts = collections.Counter(
        each.shape[0] if each.shape else 0 for name, each in fields.items() if name in KNOWN
    )
    return counts.most_common(1)[0][0]


def _check_dtype(name: str, dtype: np.dtype, path: str | pathlib.Path, task: Task) -> None:
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise DatasetError(
            f"{path} has {name!r} of dtype {dtype}, and only numbers of at most 64 bits are "
            "supported: convert it"
        )
    if name == "actions" and dtype.kind != "f" and task.is_d4rls:
        raise DatasetError(
            f"{path} has 'actions' of dtype {dtype}, and D4RL's actions are real numbers from -1 "
            "to 1: store them as float32"
        )


def _check_names(fields: Mapping[str, Any], path: str | pathlib.Path) -> None:
    """Raises `DatasetError` where two fields of a dataset would have one name."""
    named: dict[str, str] = {}
    for name in fields:
        if name in KNOWN:
            continue
        extra = extra_of(name)
        if extra in STEP_FIELDS:
            raise DatasetError(
                f"{path} has {name!r}, which would replace the {extra!r} of every step: rename it"
            )
        if extra in named:
            raise DatasetError(
                f"{path} has both {named[extra]!r} and {name!r}, and a dataset has one field "
                f"{extra!r}: rename one"
            )
        named[extra] = name


def _needed(fields: Mapping[str, Any], task: Task) -> tuple[str, ...]:
    is_told_otherwise = task.trajectories == "flags" and "next_observations" in fields
    if is_told_otherwise or task.trajectories in ("terminals", "jumps", "one"):
        return NEEDED
    return (*NEEDED, "timeouts")


def _widths(name: str, task: Task) -> list[tuple[int, ...]]:
    """Shapes that a row of a field may have; empty if any shape is allowed."""
    if name in ("observations", "next_observations"):
        return [(task.observation_size,)]
    if name == "actions":
        return [() if task.action_size is None else (task.action_size,)]
    return [(), (1,)] if name in (*NEEDED, "timeouts") else []


def _row_type(
    name: str, field: h5py.Dataset, observed: np.dtype
) -> tuple[tuple[int, ...], np.dtype]:
    shape, dtype = field.shape[1:], observed if name == "next_observations" else field.dtype
    if name in FLAGS:
        return (), np.dtype(np.bool_)
    # A plain dtype, because h5py's carry HDF5's types; and the byte order does not matter.
    dtype = np.dtype(dtype.str).newbyteorder("=")
    if dtype == np.float16:
        dtype = np.dtype(np.float32)
    return ((), np.dtype(np.float32)) if name == "rewards" else (shape, dtype)


def extra_of(name: str) -> str:
    """The name of an info in an episode."""
    return name.removeprefix("infos/")
