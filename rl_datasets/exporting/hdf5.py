"""HDF5 files that are created, and whose failed writes are raised."""

from __future__ import annotations

import contextlib
import io
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

_CACHE_BYTES = 1 << 20


@contextlib.contextmanager
def creating(path: pathlib.Path) -> Iterator[tuple[h5py.File, CheckedFile]]:
    """Creates a file; yields it, and the file below it, which knows whether a write failed.

    The same writes give the same bytes.

    Raises:
      OSError: the file cannot be written.
    """
    with open(path, "x+b", buffering=0) as raw:
        file = CheckedFile(raw)
        try:
            with h5py.File(file, "w", libver="v110") as h5:
                _bound_cache(h5)
                yield h5, file
        finally:
            file.check()


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[h5py.File]:
    """Opens a file for reading."""
    with h5py.File(path, "r") as h5:
        _bound_cache(h5)
        yield h5


def create(group: h5py.Group, name: str, rows: np.ndarray) -> None:
    """Creates a dataset of these rows, as `group.create_dataset(name, data=rows)` does.

    With h5py's low-level functions, because its objects take longer than a small dataset itself.
    """
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space, kind = h5py.h5s.create_simple(rows.shape), h5py.h5t.py_create(rows.dtype, logical=True)
    dataset = h5py.h5d.create(group.id, name.encode(), kind, space, properties, links)
    if rows.size:
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(rows))


def blocks(group: h5py.Group, name: str, block_bytes: int) -> Iterator[np.ndarray]:
    """The rows of a dataset, a bounded number at a time; with low-level functions as `create`."""
    dataset = h5py.h5d.open(group.id, name.encode())
    shape, dtype = dataset.shape, dataset.dtype
    step = max(1, block_bytes // max(1, math.prod(shape[1:]) * dtype.itemsize))
    for start in range(0, shape[0], step):
        block = np.empty((min(step, shape[0] - start), *shape[1:]), dtype)
        space = dataset.get_space()
        space.select_hyperslab((start, *(0 for _ in shape[1:])), block.shape)
        dataset.read(h5py.h5s.create_simple(block.shape), space, block)
        yield block


def _bound_cache(h5: h5py.File) -> None:
    """Bounds the cache of groups and attributes, which would grow to hundreds of megabytes."""
    config = h5.id.get_mdc_config()
    config.set_initial_size = True
    config.initial_size = config.min_size = config.max_size = _CACHE_BYTES
    config.incr_mode = config.flash_incr_mode = config.decr_mode = 0
    h5.id.set_mdc_config(config)


class CheckedFile(io.RawIOBase):
    """A file that keeps its first error, and from then on discards what HDF5 writes.

    HDF5 retries a failed write, in the end at a point where Python can only print the error.
    """

    def __init__(self, raw: io.FileIO):
        self._raw = raw
        self._error: OSError | None = None

    def check(self) -> None:
        """Raises the first error."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        return self._raw.readinto(buffer)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        while left and self._error is None:
            left = left[self._try(self._raw.write, left) :]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        return self._try(self._raw.truncate, size)

    def _try(self, do: Callable[[Any], int], argument: Any) -> int:
        try:
            return do(argument) if self._error is None else 0
        except OSError as error:
            self._error = error
            return 0
