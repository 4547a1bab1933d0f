"""TFRecord files: framed records, each with the masked CRC-32C of its length and of its bytes.

Format: tensorflow/core/lib/io/record_writer.h. Written here so that a worker that publishes does
not have to load TensorFlow.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import IO, Any

import google_crc32c
from isal import igzip, isal_zlib

from rl_datasets.background import bytes_ahead
from rl_datasets.errors import DatasetError

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
BUFFER_SIZE = 1 << 18  # Larger than most records.
_MAX_SIZE = 1 << 31  # No serialized Example is larger.
_BROKEN = "a record is cut or its checksum does not agree"
_DAMAGE: Any = (ValueError, EOFError, igzip.BadGzipFile, isal_zlib.error)


def frame(record: bytes) -> bytes:
    """A record as the file holds it."""
    return b"".join(framed(record))


def framed(record: bytes) -> tuple[bytes, ...]:
    """The pieces of `frame`, for a writer that can do without a copy of a large record."""
    length = _LENGTH.pack(len(record))
    return length, _masked_crc(length), record, _masked_crc(record)


def read_records(
    path: str | os.PathLike[str], *, is_gzip: bool = False, digest: Any = None
) -> Iterator[bytes]:
    """Every record of a file, after its checksums are compared; memory holds one at a time.

    Args:
      path: the file.
      is_gzip: whether the file is compressed as a whole, as TensorFlow's option GZIP does; a thread
        inflates ahead.
      digest: from `hashlib`; updated with every byte of the file as it is read.

    Raises:
      DatasetError: the file is cut or a checksum does not agree.
      OSError: it cannot be opened or read.
    """
    raw: Any = io.FileIO(path) if digest is None else _Digested(path, digest)
    with raw, igzip.open(raw) if is_gzip else raw as file:
        found = _read(io.BufferedReader(file, BUFFER_SIZE))
        try:
            yield from bytes_ahead(found) if is_gzip else found
        except _DAMAGE as error:
            raise DatasetError(f"{path} is damaged: {error}; copy it anew") from error


def is_uncompressed(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins with a record as it is, and not compressed.

    Raises:
      OSError: it cannot be opened or read.
    """
    with open(path, "rb") as file:
        header = file.read(_LENGTH.size + _CHECKSUM.size)
    return len(header) > _LENGTH.size and header[_LENGTH.size :] == _masked_crc(
        header[: _LENGTH.size]
    )


class _Digested(io.FileIO):
    """A file that updates a digest with what is read of it."""

    def __init__(self, path: str | os.PathLike[str], digest: Any):
        super().__init__(path)
        self._digest = digest

    def readinto(self, buffer: Any) -> int:
        size = super().readinto(buffer)
        self._digest.update(memoryview(buffer)[:size])
        return size


def _read(file: IO[bytes]) -> Iterator[bytes]:
    """Every record; a `ValueError` where one is damaged."""
    while header := file.read(_LENGTH.size + _CHECKSUM.size):
        length, checksum = header[: _LENGTH.size], header[_LENGTH.size :]
        if checksum != _masked_crc(length):
            raise ValueError(_BROKEN)
        (size,) = _LENGTH.unpack(length)
        if size > _MAX_SIZE:  # Rather than ask for so much memory.
            raise ValueError(_BROKEN)
        record, checksum = file.read(size), file.read(_CHECKSUM.size)
        if len(record) != size or checksum != _masked_crc(record):
            raise ValueError(_BROKEN)
        yield record


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
