"""Fields that are written in blocks, and the checksums with which they are read back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.exporting.source import BLOCK_BYTES


class Column:
    """The rows of one field: appended in order, written in blocks.

    Args:
      shape: the number of rows of the whole column, then the shape of one row.
      dtype: what rows are converted to.
      write: writes the next block of rows.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, write: Callable[[np.ndarray], Any]):
        self._shape, self._dtype, self._write = shape, np.dtype(dtype), write
        self._digest = Digest(self._shape[1:], self._dtype)
        self._pending: list[np.ndarray] = []
        self._pending_bytes = 0

    def append(self, rows: np.ndarray) -> None:
        """Takes further rows [N, ...]."""
        rows = np.array(rows, self._dtype, order="C")  # A view would keep the whole episode.
        self._digest.update(rows)
        self._pending.append(rows)
        self._pending_bytes += rows.nbytes
        if self._pending_bytes >= BLOCK_BYTES:
            self._flush()

    def finish(self) -> dict[str, Any]:
        """Writes what is left, and describes the column as `describe` does."""
        self._flush()
        entry = self._digest.entry()
        assert entry["shape"] == list(self._shape), f"{entry['shape']} rows, not {self._shape}"
        return entry

    def _flush(self) -> None:
        if self._pending:
            self._write(np.concatenate(self._pending))
            self._pending, self._pending_bytes = [], 0


def describe(row: tuple[int, ...], dtype: np.dtype, read: Iterable[np.ndarray]) -> dict[str, Any]:
    """The shape, the dtype and the sha256 of a column that is read in blocks."""
    digest = Digest(row, dtype)
    for block in read:
        digest.update(block)
    return digest.entry()


def compare(
    target: str | os.PathLike[str], written: Mapping[str, Any], read: Mapping[str, Any]
) -> None:
    """Raises `DatasetError` if a field that was read back is not what was written."""
    for name, entry in written.items():
        if read.get(name) != entry:
            raise DatasetError(
                f"field {name!r} of {target} reads back as {read.get(name)}, not as the {entry} "
                "that was written; check that disk and export again"
            )


class Digest:
    """The number of rows, the dtype and the sha256 of a field that comes in blocks."""

    def __init__(self, row: tuple[int, ...], dtype: np.dtype):
        self._row, self._dtype, self._rows = row, dtype, 0
        self._sha256 = hashlib.sha256()

    def update(self, rows: np.ndarray) -> None:
        assert (rows.shape[1:], rows.dtype) == (self._row, self._dtype)
        self._rows += len(rows)
        self._sha256.update(np.ascontiguousarray(rows).data)

    def entry(self) -> dict[str, Any]:
        return {
            "shape": [self._rows, *self._row],
            "dtype": self._dtype.name,
            "sha256": self._sha256.hexdigest(),
        }
