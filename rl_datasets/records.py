"""TFRecord files: framed records, each with the masked CRC-32C of its length and of its bytes.

tensorflow/core/lib/io/record_writer.h defines the format. It is implemented here so that publishing
workers need not load TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import google_crc32c
from isal import igzip, isal_zlib

from rl_datasets.background import bytes_ahead
from rl_datasets.errors import DatasetError

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_HEADER = _LENGTH.size + _CHECKSUM.size
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


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Callable[[bytes], object]]:
    """Writes a file: yields the function that appends a record.

    Raises:
      OSError: the file cannot be written.
    """
    with open(path, "wb", buffering=BUFFER_SIZE) as file:
        yield lambda record: file.writelines(framed(record))


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


def open_records(path: str | os.PathLike[str]) -> Sequence[bytes]:
    """The records of a file by number, each read and checked when it is accessed.

    Only the lengths of records are read now.

    Raises:
      DatasetError: the file is truncated; or, from an access, a checksum does not match.
      OSError: the file cannot be read, now or at an access.
    """
    return _Records(path)


class _Records(Sequence[bytes]):
    def __init__(self, path: str | os.PathLike[str]):
        self._path = path
        self._ends = [0, *self._read_ends()]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: Any) -> Any:
        number = range(len(self))[number]
        start, end = self._ends[number : number + 2]
        with open(self._path, "rb") as file:
            file.seek(start)
            framed_record = file.read(end - start)
        record = framed_record[_HEADER : -_CHECKSUM.size]
        if frame(record) != framed_record:
            raise self._damaged()
        return record

    def _read_ends(self) -> Iterator[int]:
        with open(self._path, "rb", buffering=0) as file:
            size, position = os.fstat(file.fileno()).st_size, 0
            while position < size:
                header = file.read(_HEADER)
                if len(header) < _HEADER:
                    raise self._damaged()
                position += _HEADER + _LENGTH.unpack_from(header)[0] + _CHECKSUM.size
                if position > size:
                    raise self._damaged()
                yield file.seek(position)

    def _damaged(self) -> DatasetError:
        return DatasetError(f"{self._path} is damaged: {_BROKEN}; copy it again")


def is_uncompressed(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins with an uncompressed record.

    Raises:
      OSError: the file cannot be opened or read.
    """
    with open(path, "rb") as file:
        header = file.read(_HEADER)
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
    while header := file.read(_HEADER):
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
