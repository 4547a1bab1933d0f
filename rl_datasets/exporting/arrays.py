"""Exports a published version as one NumPy file per field, for `np.load(..., mmap_mode="r")`.

    export.json             what was exported; shape, dtype and sha256 of every field
    steps/<field>.npy       [steps, ...], the steps of all episodes in order; images decoded
    metadata/<name>.npy     [episodes, ...]
    episode_start.npy       [episodes] int64, the row of an episode's first step
    episode_length.npy      [episodes] int64, its steps, one more than its transitions

Rows obey the alignment rule of `rl_datasets.episode`. Nothing is lost.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from rl_datasets import staging
from rl_datasets.errors import DatasetError
from rl_datasets.exporting import columns
from rl_datasets.exporting.source import (
    BLOCK_BYTES,
    SUMMARY_FILE,
    Export,
    Source,
    blocks,
    open_source,
    summary,
)
from rl_datasets.published.version import ALL, VersionLike

KIND = "arrays"


def to_arrays(version: VersionLike, folder: str | os.PathLike[str], split: str = ALL) -> Export:
    """Exports a split to a folder of NumPy files, in the layout that the module describes.

    Memory holds one episode as stored, a block of every field, and the metadata of all episodes.

    Args:
      version: a published version, as `Version.open` takes it.
      folder: the folder to create; it is created whole or not at all.
      split: name of a split, or "all".

    Raises:
      DatasetError: there is no such version or split, a file of it is damaged, or the folder
        exists, does not fit on the disk or cannot be written.
    """
    source = open_source(version, split)
    with staging.staged(folder) as path:
        path.mkdir()
        _check_space(source, path)
        fields = _write(source, path)
        columns.compare(folder, fields, {name: _read_back(path, name) for name in fields})
        export = summary(KIND, pathlib.Path(folder), source, fields)
        (path / SUMMARY_FILE).write_text(
            json.dumps(export.to_json(), indent=1) + "\n", encoding="utf-8"
        )
    return export


def _write(source: Source, folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Writes every field, and describes them by name."""
    lengths: list[int] = []
    metadata: dict[str, list[Any]] = {name: [] for name in source.spec.metadata}
    with contextlib.ExitStack() as stack:
        steps = {
            name: _create(folder, f"steps/{name}", (source.steps, *spec.shape), spec.dtype, stack)
            for name, spec in source.spec.step_specs().items()
        }
        for episode in source.read():
            lengths.append(episode.num_steps)
            for name, rows in episode.steps().items():
                for block in blocks(rows):
                    steps[name].append(block)
            for name, value in episode.metadata.items():
                metadata[name].append(np.array(value))  # A copy, as in `Column.append`.
        length = np.array(lengths, np.int64)
        of_episodes = {
            "episode_start": np.cumsum(length) - length,
            "episode_length": length,
            **{f"metadata/{name}": np.array(values) for name, values in metadata.items()},
        }
        columns_by_name = {f"steps/{name}": column for name, column in steps.items()}
        for name, array in of_episodes.items():
            columns_by_name[name] = _create(folder, name, array.shape, array.dtype, stack)
            columns_by_name[name].append(array)
        return {name: column.finish() for name, column in columns_by_name.items()}


def _create(
    folder: pathlib.Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    stack: contextlib.ExitStack,
) -> columns.Column:
    """A column that goes to a `.npy` file, whose header is written now."""
    path = _path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context(path.open("xb"))
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
    return columns.Column(shape, dtype, lambda block: file.write(block.data))


def _read_back(folder: pathlib.Path, name: str) -> dict[str, Any]:
    # A memory map is not used, because its pages would count as this process's memory.
    with open(_path(folder, name), "rb") as file:
        np.lib.format.read_magic(file)
        (_, *row), _, dtype = np.lib.format.read_array_header_1_0(file)
        size = math.prod(row) * dtype.itemsize

        def read() -> Iterator[np.ndarray]:
            while content := file.read(max(1, BLOCK_BYTES // max(1, size)) * size):
                yield np.frombuffer(content, dtype).reshape(-1, *row)

        return columns.describe(tuple(row), dtype, read())


def _path(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / f"{name}.npy"


def _check_space(source: Source, folder: pathlib.Path) -> None:
    """Raises `DatasetError` if the steps cannot fit on the disk."""
    row = sum(
        math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
        for spec in source.spec.step_specs().values()
    )
    needed, free = row * source.steps, shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(
            f"{source.version.name} takes {needed / 1e9:,.1f} GB as arrays, and the disk of "
            f"{folder.parent.parent} has {free / 1e9:,.1f} GB free; export to another disk, or "
            "one split at a time"
        )
