"""TFRecord files: framed records, each with the masked CRC-32C of its length and of its bytes.

Format: tensorflow/core/lib/io/record_writer.h. Written here so that a worker that publishes does
not have to load TensorFlow.
"""

from __future__ import annotations

import pathlib
import struct
from collections.abc import Iterator

import google_crc32c

from rl_datasets.errors import DatasetError

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")


def frame(record: bytes) -> bytes:
    """A record as it stands in the file."""
    length = _LENGTH.pack(len(record))
    return b"".join([length, _masked_crc(length), record, _masked_crc(record)])


def read_records(path: pathlib.Path) -> Iterator[bytes]:
    """Every record of a file, its checksums compared.

    Raises:
      DatasetError: the file is cut or a checksum does not agree.
    """
    with open(path, "rb") as file:
        while header := file.read(_LENGTH.size + _CHECKSUM.size):
            length, checksum = header[: _LENGTH.size], header[_LENGTH.size :]
            if checksum != _masked_crc(length):
                raise _damaged(path)
            (size,) = _LENGTH.unpack(length)
            record, checksum = file.read(size), file.read(_CHECKSUM.size)
            if len(record) != size or checksum != _masked_crc(record):
                raise _damaged(path)
            yield record


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _damaged(path: pathlib.Path) -> DatasetError:
    return DatasetError(f"{path} is damaged: a record is cut or its checksum does not agree")
