"""Exports a published version as an HDF5 file in D4RL's layout (Fu et al. 2020, arXiv 2004.07219).

Row i is the i-th transition; N is the number of all transitions.

    observations        [N, ...]    o_t
    actions             [N, ...]    a_t
    rewards             [N] float32
    terminals           [N] bool    the environment ended with this transition
    timeouts            [N] bool    the episode was cut after it: a time limit or any other cut
    next_observations   [N, O]      o_{t+1}; absent where observations are images
    infos/<extra>       [N, ...]    further fields of the step
    metadata/episodes/<name>        [episodes, ...], metadata of the episodes; text as UTF-8

Every episode ends with a terminal or a timeout, and no other row has one. The next observations of
images would double the file, and the next row holds all of them except the last of each episode. So
images have `metadata/final_observations` [episodes, H, W, C] instead. (D4RL's own loaders take
o_{t+1} from the next row, and leave timeouts out.)

The attribute `rl_datasets` of the file is JSON: what was exported, and the sha256 of every field.
Datasets can be appended to, and are compressed in chunks small enough to read single rows.
"""

from __future__ import annotations

import functools
import json
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from rl_datasets import staging
from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.exporting import columns, hdf5
from rl_datasets.exporting.source import (
    BLOCK_BYTES,
    Export,
    Source,
    blocks,
    open_source,
    summary,
)
from rl_datasets.published.version import ALL, VersionLike

KIND = "d4rl"
ATTRIBUTE = "rl_datasets"
FINAL_OBSERVATIONS = "metadata/final_observations"
_CHUNK_BYTES = 32 << 10  # A random row costs one chunk; smaller ones compress worse.


def to_d4rl(version: VersionLike, file: str | os.PathLike[str], split: str = ALL) -> Export:
    """Exports a split to a D4RL-style HDF5 file, in the layout that the module describes.

    Memory holds one episode as stored, a block of every field, and the metadata of all episodes.

    Args:
      version: a published version, as `Version.open` takes it.
      file: the file to create; it is created whole or not at all.
      split: name of a split, or "all".

    Raises:
      DatasetError: there is no such version or split, a file of it is damaged, or the target
        exists or cannot be written.
    """
    source = open_source(version, split)
    with staging.staged(file) as path:
        with hdf5.creating(path) as (h5, raw):
            fields, differences = _write(source, h5, raw)
            export = summary(KIND, pathlib.Path(file), source, fields, differences)
            h5.attrs[ATTRIBUTE] = json.dumps(export.to_json())
        with hdf5.reading(path) as h5:
            columns.compare(file, fields, {name: _read_back(h5[name]) for name in fields})
    return export


def _write(
    source: Source, h5: h5py.File, file: hdf5.CheckedFile
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Writes every field; returns their descriptions by name, and what was lost."""
    fields = {name: _create(h5, name, *spec) for name, spec in _specs(source).items()}
    metadata: dict[str, list[Any]] = {name: [] for name in source.spec.metadata}
    discounted = 0
    for episode in source.read():
        for name, rows in _rows(episode, source.spec).items():
            for block in blocks(rows):
                fields[name].append(block)
        for name, value in episode.metadata.items():
            metadata[name].append(np.array(value))  # A copy, as in `Column.append`.
        file.check()
        discounted += int(np.count_nonzero((episode.discount > 0) & (episode.discount < 1)))
    for name, values in metadata.items():
        array = np.array(values)
        if array.dtype.kind == "U":  # h5py does not write these.
            array = np.char.encode(array, "utf-8")
        path = f"metadata/episodes/{name}"
        fields[path] = _create(h5, path, array.shape, array.dtype)
        fields[path].append(array)
    differences = []
    if discounted:
        differences.append(
            f"{discounted} transitions lose their discounts, which are between 0 and 1"
        )
    if source.spec.extras:
        differences.append(f"the final steps of episodes lose {', '.join(source.spec.extras)}")
    return {name: column.finish() for name, column in fields.items()}, differences


def _specs(source: Source) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of every field with one row per transition, and of final observations."""
    spec, rows = source.spec, source.counts.transitions
    observation, action = spec.one_observation, spec.action
    fields = {
        "observations": ((rows, *observation.shape), observation.dtype),
        "actions": ((rows, *action.shape), action.dtype),
        "rewards": ((rows,), np.float32),
        "terminals": ((rows,), np.bool_),
        "timeouts": ((rows,), np.bool_),
    }
    if _has_images(spec):
        fields[FINAL_OBSERVATIONS] = (source.counts.episodes, *observation.shape), observation.dtype
    else:
        fields["next_observations"] = fields["observations"]
    for name, extra in spec.extras.items():
        fields[f"infos/{name}"] = (rows, *extra.shape), extra.dtype
    return {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in fields.items()}


def _rows(episode: Episode, spec: EpisodeSpec) -> dict[str, Any]:
    """The rows that an episode gives to every field of `_specs`."""
    is_last = episode.is_last[1:]
    is_terminal = episode.is_terminal[1:]
    rows = {
        "observations": episode.one_observation[:-1],
        "actions": episode.action[:-1],
        "rewards": episode.reward[:-1],
        "terminals": is_terminal,
        "timeouts": is_last & ~is_terminal,
        **{f"infos/{name}": extra[:-1] for name, extra in episode.extras.items()},
    }
    if _has_images(spec):
        return rows | {FINAL_OBSERVATIONS: episode.one_observation[-1:]}
    return rows | {"next_observations": episode.one_observation[1:]}


def _has_images(spec: EpisodeSpec) -> bool:
    return spec.one_observation.dtype == np.uint8 and len(spec.one_observation.shape) > 1


def _create(h5: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype) -> columns.Column:
    """A column that goes to a dataset of the file."""
    rows, *row = shape
    chunk = max(1, min(rows, _CHUNK_BYTES // max(1, math.prod(row) * dtype.itemsize)))
    dataset = h5.create_dataset(
        name,
        shape=(0, *row),
        maxshape=(None, *row),
        dtype=dtype,
        chunks=(chunk, *row),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    return columns.Column(shape, dtype, functools.partial(_append, dataset))


def _append(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    start = len(dataset)
    dataset.resize(start + len(rows), axis=0)
    dataset[start:] = rows


def _read_back(dataset: h5py.Dataset) -> dict[str, Any]:
    row = dataset.shape[1:]
    # A plain dtype, because h5py's carry HDF5's types.
    dtype = np.dtype(dataset.dtype.str)

    def read() -> Iterator[np.ndarray]:
        step = max(1, BLOCK_BYTES // max(1, math.prod(row) * dtype.itemsize))
        for start in range(0, len(dataset), step):
            yield dataset[start : start + step].astype(dtype)

    return columns.describe(row, dtype, read())
