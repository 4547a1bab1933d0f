"""Gzip-compressed NumPy files, read as streams."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from isal import igzip

from rl_datasets import errors
from rl_datasets.sources.dqn_replay import layout


class Npy:
    """A gzip-compressed NumPy file, as a stream.

    Attributes:
      shape: the array's shape, from the header.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        with _naming(path):
            self._file = igzip.open(path, "rb")
            try:
                if np.lib.format.read_magic(self._file) != (1, 0):
                    raise ValueError("it is not of NumPy's format 1.0")
                header = np.lib.format.read_array_header_1_0(self._file)
                self._start = self._file.tell()
            except BaseException:
                self._file.close()
                raise
        self.shape, self._is_fortran, self._dtype = header

    def __enter__(self) -> Npy:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Raises `DatasetError` unless the header has this shape and dtype."""
        if (self.shape, self._dtype, self._is_fortran) != (shape, dtype, False):
            self._file.close()
            raise errors.DatasetError(
                f"{self.path} holds {self._dtype} of shape {self.shape} where a checkpoint holds "
                f"{dtype} of shape {shape}: {layout.COPY_AGAIN}"
            )

    def read_into(self, offset: int, out: np.ndarray) -> None:
        """Fills a contiguous array with the data from byte `offset` on."""
        view = out.reshape(-1).view(np.uint8).data
        with _naming(self.path):
            self._seek(offset)
            while view:
                size = self._file.readinto(view)
                if not size:
                    raise EOFError("it ends too early")
                view = view[size:]

    def finish(self, size: int) -> None:
        """Reads to the end, which checks gzip's checksum; the data must have `size` bytes."""
        with _naming(self.path):
            self._seek(size)
            if self._file.read(1):
                raise ValueError("it holds more than its header says")

    def _seek(self, offset: int) -> None:
        if self._file.seek(self._start + offset) != self._start + offset:
            raise EOFError("it ends too early")


def read_array(path: pathlib.Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    with Npy(path) as npy:
        npy.check(shape, dtype)
        with _naming(path):  # A damaged header may ask for more than there is memory.
            array = np.empty(shape, dtype)
        npy.read_into(0, array)
        npy.finish(array.nbytes)
    return array


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Turns every error of reading a file into a `DatasetError` that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise errors.DatasetError(
                f"{path} is damaged ({error}): {layout.COPY_AGAIN}"
            ) from error
        raise errors.DatasetError(
            f"{path} cannot be read ({error.strerror}): {layout.COPY_AGAIN}"
        ) from error
    except Exception as error:  # A damaged header can raise almost anything.
        raise errors.DatasetError(
            f"{path} is truncated or damaged ({error}): {layout.COPY_AGAIN}"
        ) from error
