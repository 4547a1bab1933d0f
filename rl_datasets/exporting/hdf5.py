"""HDF5 files that are created, and whose failed writes are raised."""

from __future__ import annotations

import contextlib
import io
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import h5py

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
