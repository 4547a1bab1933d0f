"""HDF5 files that others wrote, read with bounds and only from the file itself.

A dataset is refused by its header, before any of its rows is read, if

    it is stored elsewhere: it is a soft or an external link, or its storage is external or virtual,
        so the sha256 of the file would not cover its values
    one of its chunks, or a contiguous dataset, was never written, so fill values would be read
    its values take more than 1032 times the bytes that the file stores, which is the most that
        DEFLATE makes of a byte (Deutsch 1996, RFC 1951), so the header is damaged
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from rl_datasets.errors import DatasetError

_MOST_OF_A_BYTE = 1032


@contextlib.contextmanager
def opened(path: str | pathlib.Path) -> Iterator[h5py.File]:
    """Opens a file for reading.

    Raises:
      DatasetError: the file is missing, truncated or not HDF5.
    """
    if not os.path.isfile(path):
        raise DatasetError(f"there is no file {path}: name one that exists")
    with reading(path):
        file = h5py.File(path, "r")
    with file:
        yield file


def check(path: str | pathlib.Path) -> None:
    """Raises `DatasetError` if a file's header shows that it is not HDF5 or is truncated."""
    with opened(path):
        pass


@contextlib.contextmanager
def reading(path: str | pathlib.Path) -> Iterator[None]:
    """Turns any error of h5py into a `DatasetError`; the block must hold nothing else."""
    try:
        yield
    # Where a header is damaged, h5py raises almost anything.
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, MemoryError) as error:
        raise DatasetError(
            f"{path} cannot be read as HDF5 ({getattr(error, 'strerror', None) or error}): it may "
            "be truncated, so copy it again"
        ) from error


def group(file: h5py.File, name: str, path: str | pathlib.Path) -> h5py.Group:
    """A group of a file by its name.

    Raises:
      DatasetError: it is a link, or no group.
    """
    with reading(path):
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise _elsewhere(name, path)
        found = file[name]
    if not isinstance(found, h5py.Group):
        raise DatasetError(f"{path} has {name!r} that is no group: copy the file again")
    return found


def datasets(
    file: h5py.Group, path: str | pathlib.Path, leave_out: str | None = None
) -> dict[str, h5py.Dataset]:
    """All datasets of a file, or of a group, by their paths in it, such as `infos/qpos`.

    Args:
      file: the file or the group.
      path: how an error names the file.
      leave_out: the name of a group in it that is not looked at.

    Raises:
      DatasetError: the file does not hold all values of one of them, as the module says.
    """
    with reading(path):
        found = {
            name: dataset
            for key in file
            if key != leave_out
            for name, dataset in _walk(file, key, "", path)
        }
        for name, dataset in found.items():
            _check_stored(dataset, name, path)
    return found


def plain(dataset: h5py.Dataset, path: str | pathlib.Path) -> Any:
    """A value as JSON data: a number, a text, a list of texts, or None if it is empty.

    Other arrays become their shape and sha256.

    Raises:
      DatasetError: the value cannot be read, or is neither numbers nor text.
    """
    with reading(path):
        value = dataset[()]
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, (np.bool_, np.integer)):
        return value.item()
    if isinstance(value, np.floating):
        return float(value) if np.isfinite(value) else str(value)
    value = np.asarray(value)
    if not value.dtype.hasobject:
        return {"shape": list(value.shape), "sha256": hashlib.sha256(value.tobytes()).hexdigest()}
    texts = value.reshape(-1).tolist()
    if not all(isinstance(each, bytes) for each in texts):
        raise DatasetError(
            f"{path} has {dataset.name!r} of dtype {dataset.dtype}, and only numbers and text are "
            "supported: leave it out of the file"
        )
    return [_text(each) for each in texts]


def _walk(
    group: h5py.Group, key: str, within: str, path: str | pathlib.Path
) -> Iterator[tuple[str, h5py.Dataset]]:
    name = f"{within}{key}"
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise _elsewhere(name, path)
    item = group[key]
    if isinstance(item, h5py.Group):
        for each in item:
            yield from _walk(item, each, f"{name}/", path)
    elif isinstance(item, h5py.Dataset):
        yield name, item


def _check_stored(dataset: h5py.Dataset, name: str, path: str | pathlib.Path) -> None:
    if dataset.is_virtual or dataset.external:
        raise _elsewhere(name, path)
    if dataset.shape is None:
        return
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > _MOST_OF_A_BYTE * stored:
        raise DatasetError(
            f"{path} says that {name!r} has shape {dataset.shape}, and holds only {stored} bytes "
            "of it, which is too little: write its values, or copy the file again"
        )
    if dataset.chunks is None:
        return
    chunks = math.prod(
        -(-size // of_chunk) for size, of_chunk in zip(dataset.shape, dataset.chunks, strict=True)
    )
    if dataset.id.get_num_chunks() != chunks:
        raise DatasetError(
            f"{path} says that {name!r} has {chunks} chunks, and holds "
            f"{dataset.id.get_num_chunks()} of them: write all its values, or copy the file again"
        )


def _elsewhere(name: str, path: str | pathlib.Path) -> DatasetError:
    return DatasetError(
        f"{path} has {name!r} as a link or in external or virtual storage, and only what the file "
        "itself holds is read: copy the values into it"
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
