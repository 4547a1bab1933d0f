"""TFRecord files: framed records, each with the masked CRC-32C of its length and of its bytes.

tensorflow/core/lib/io/record_writer.h defines the format. It is implemented here so that publishing
workers need not load TensorFlow.
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
_BROKEN = "a record is truncated or its checksum does not match"
_DAMAGE: Any = (ValueError, EOFError, igzip.BadGzipFile, isal_zlib.error)


def frame(record: bytes) -> bytes:
    """A record with its framing, as in the file."""
    return b"".join(framed(record))


def framed(record: bytes) -> tuple[bytes, ...]:
    """The pieces of `frame`, for writers that avoid copying a large record."""
    length = _LENGTH.pack(len(record))
    return length, _masked_crc(length), record, _masked_crc(record)


def read_records(
    path: str | os.PathLike[str], *, is_gzip: bool = False, digest: Any = None
) -> Iterator[bytes]:
    """Reads every record of a file and checks its checksums; memory holds one record at a time.

    Args:
      path: the file.
      is_gzip: whether the whole file is compressed, as with TensorFlow's option GZIP; a thread
        then decompresses ahead.
      digest: a digest of `hashlib`, which is updated with every byte of the file as it is read.

    Raises:
      DatasetError: the file is truncated or a checksum does not match.
      OSError: the file cannot be opened or read.
    """
    raw: Any = io.FileIO(path) if digest is None else _Digested(path, digest)
    with raw, igzip.open(raw) if is_gzip else raw as file:
        found = _read(io.BufferedReader(file, BUFFER_SIZE))
        try:
            yield from bytes_ahead(found) if is_gzip else found
        except _DAMAGE as error:
            raise DatasetError(f"{path} is damaged: {error}; copy it again") from error


def is_uncompressed(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins with an uncompressed record.

    Raises:
      OSError: the file cannot be opened or read.
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
    """Every record; raises `ValueError` if one is damaged."""
    while header := file.read(_LENGTH.size + _CHECKSUM.size):
        length, checksum = header[: _LENGTH.size], header[_LENGTH.size :]
        if checksum != _masked_crc(length):
            raise ValueError(_BROKEN)
        (size,) = _LENGTH.unpack(length)
        if size > _MAX_SIZE:  # Otherwise the read would allocate this much memory.
            raise ValueError(_BROKEN)
        record, checksum = file.read(size), file.read(_CHECKSUM.size)
        if len(record) != size or checksum != _masked_crc(record):
            raise ValueError(_BROKEN)
        yield record


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
