"""Frames as PNG files in memory, so that many go from a source to a dataset without decoding.

`tfds.features.Image` stores PNG files (W3C, Portable Network Graphics, third edition, sections 5
and 9). A file has a signature and the chunks IHDR, IDAT and IEND, each with a length, a type, data
and a CRC-32. IDAT is a zlib stream of the rows; before each row is the number of its filter.

Frames of Atari games are flat areas with sharp edges. Every filter makes the files larger, so rows
are written unfiltered. ISA-L's deflate takes half the time of zlib's fastest level and gives 2%
fewer bytes; zlib's level 6 would save 15% and take four times as long. Most files of others use the
filter Sub, which a sum along the row undoes. Pillow decodes files with other filters.
"""

from __future__ import annotations

import functools
import io
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from isal import isal_zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}  # By the number of channels: greyscale, RGB.
_FILTER_NONE, _FILTER_SUB, _LAST_FILTER = 0, 1, 4
_DEFLATE_LEVEL = 1
_CHUNK = struct.Struct(">I4s")
_CRC = struct.Struct(">I")
_BATCH = 64  # Frames decoded at once: they fit in a processor's cache.


class EncodedFrames:
    """N frames as PNG files, in place of an array [N, H, W, C] uint8.

    An integer index decodes a frame, a slice or an array of integers gives `EncodedFrames`, and
    `np.asarray` decodes all.

    Attributes:
      pngs: the files, in order.
      shape: (N, H, W, C).
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, pngs: Sequence[bytes], shape: tuple[int, int, int]):
        """Takes the files without checking them; `check` does that.

        Args:
          pngs: the files.
          shape: (H, W, C) of every frame; C is 1 or 3.
        """
        self.pngs = pngs
        self.shape = (len(pngs), *shape)

    def __len__(self) -> int:
        return len(self.pngs)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice | np.ndarray) -> EncodedFrames: ...

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray | EncodedFrames:
        if isinstance(index, slice):
            return EncodedFrames(self.pngs[index], self.shape[1:])
        if isinstance(index, np.ndarray):
            return EncodedFrames([self.pngs[number] for number in index], self.shape[1:])
        return decode_png([self.pngs[index]], self.shape[1:])[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return decode_png(self.pngs, self.shape[1:]).astype(dtype or np.uint8, copy=False)

    def check(self) -> None:
        """Checks the two ends of every file, which costs almost nothing, and decodes none.

        Raises:
          ValueError: a file is not a PNG, is truncated, or holds a frame of another shape or depth.
        """
        head, tail = _head(self.shape[1:]), _tail()
        for index, png in enumerate(self.pngs):
            if not (png.startswith(head) and png.endswith(tail)):
                raise ValueError(f"frame {index} {_fault(png, self.shape[1:])}")


def encode_png(frames: np.ndarray) -> list[bytes]:
    """Encodes each frame as a PNG file; the same frames give the same bytes.

    Args:
      frames: [N, H, W, C] uint8; C is 1 or 3.

    Raises:
      ValueError: the frames have another shape or dtype.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] not in _COLOUR_TYPES:
        raise ValueError(
            f"frames must be uint8 [N, H, W, 1 or 3], got {frames.dtype} {frames.shape}"
        )
    _, height, width, channels = frames.shape
    head, tail = _head(frames.shape[1:]), _tail()
    rows = np.full((height, 1 + width * channels), _FILTER_NONE, np.uint8)
    pngs = []
    for frame in frames:
        rows[:, 1:] = frame.reshape(height, width * channels)
        pngs.append(head + _deflated(rows) + tail)
    return pngs


def reversed_channels(frames: EncodedFrames) -> EncodedFrames:
    """The same frames with the last channel first, such as blue, green, red as red, green, blue.

    Every filter treats each channel alone, so the rows stay filtered, and no pixel is decoded.

    Raises:
      ValueError: a file is not a PNG of a frame of this shape, or is damaged.
    """
    shape = frames.shape[1:]
    height, width, channels = shape
    rows = np.empty((height, 1 + width * channels), np.uint8)
    pngs = []
    for index, png in enumerate(frames.pngs):
        rows[:] = _inflate(png, index, shape, rows.shape)
        if rows[:, 0].max() > _LAST_FILTER:
            raise ValueError(f"frame {index} is a damaged PNG (a row has no known filter)")
        filtered = rows[:, 1:].reshape(shape)
        rows[:, 1:] = filtered[..., ::-1].reshape(height, width * channels)
        pngs.append(_head(shape) + _deflated(rows) + _tail())
    return EncodedFrames(pngs, shape)


def decode_png(pngs: Sequence[bytes], shape: tuple[int, ...]) -> np.ndarray:
    """Decodes PNG files to frames [N, H, W, C] uint8, and checks every checksum.

    Args:
      pngs: the files.
      shape: (H, W, C) of every frame; C is 1 or 3.

    Raises:
      ValueError: a file is not a PNG of a frame of this shape, or is damaged.
    """
    height, width, channels = shape
    frames = np.empty((len(pngs), *shape), np.uint8)
    rows = np.empty((_BATCH, height, 1 + width * channels), np.uint8)
    for start in range(0, len(pngs), _BATCH):
        batch = pngs[start : start + _BATCH]
        for index, png in enumerate(batch):
            rows[index] = _inflate(png, start + index, shape, rows[index].shape)
        filters, filtered = rows[: len(batch), :, 0], rows[: len(batch), :, 1:]
        decoded = frames[start : start + _BATCH]
        decoded[:] = filtered.reshape(decoded.shape)
        if not filters.any():
            continue
        if (filters == _FILTER_SUB).all():
            np.cumsum(decoded, axis=2, dtype=np.uint8, out=decoded)
            continue
        for index in np.flatnonzero(filters.any(axis=1)):
            decoded[index] = _decode_by_pillow(batch[index], shape)
    return frames


@functools.cache
def _head(shape: tuple[int, ...]) -> bytes:
    """The signature and IHDR of every PNG of 8-bit frames of this shape, not interlaced."""
    height, width, channels = shape
    fields = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", fields)


@functools.cache
def _tail() -> bytes:
    return _chunk(b"IEND", b"")


def _deflated(rows: np.ndarray) -> bytes:
    """The chunk of filtered rows."""
    return _chunk(b"IDAT", isal_zlib.compress(rows.data.cast("B"), _DEFLATE_LEVEL))


def _chunk(name: bytes, data: bytes) -> bytes:
    body = name + data
    return b"".join([_CRC.pack(len(data)), body, _CRC.pack(isal_zlib.crc32(body))])


def _fault(png: bytes, shape: tuple[int, ...]) -> str:
    """What is wrong with the ends of a PNG file."""
    expected = "x".join(str(side) for side in shape)
    head = _head(shape)
    if not png.startswith(_SIGNATURE):
        return "is not a PNG file"
    if not png.startswith(head):
        width, height, depth, colour = struct.unpack(">IIBB", png[16:26].ljust(10, b"\0"))
        return (
            f"is not an 8-bit {expected} PNG: its header says height {height}, width {width}, "
            f"depth {depth}, colour type {colour}, or is damaged"
        )
    return "is truncated: it does not end with IEND"


def _inflate(png: bytes, index: int, shape: tuple[int, ...], rows: tuple[int, ...]) -> np.ndarray:
    """The filtered rows of a PNG file."""
    if not png.startswith(_head(shape)):
        raise ValueError(f"frame {index} {_fault(png, shape)}")
    inflate = isal_zlib.decompressobj()
    try:  # One extra byte is enough to see that a file would inflate to more than a frame.
        data = inflate.decompress(_image_data(png), math.prod(rows) + 1)
        if not inflate.eof:
            raise ValueError("its data are truncated or too long")
        return np.frombuffer(data, np.uint8).reshape(rows)
    except (ValueError, struct.error, isal_zlib.error) as error:  # type: ignore[misc]  # A class.
        raise ValueError(f"frame {index} is a damaged PNG ({error})") from error


def _image_data(png: bytes) -> bytes:
    """The zlib stream of a PNG file, which may be split into several chunks."""
    data, position, name = [], len(_SIGNATURE), b""
    while name != b"IEND":
        length, name = _CHUNK.unpack_from(png, position)
        start = position + _CHUNK.size
        (checksum,) = _CRC.unpack_from(png, start + length)
        if checksum != isal_zlib.crc32(memoryview(png)[position + 4 : start + length]):
            raise ValueError("a checksum does not match")
        if name == b"IDAT":
            data.append(png[start : start + length])
        position = start + length + _CRC.size
    return b"".join(data)


def _decode_by_pillow(png: bytes, shape: tuple[int, ...]) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image).reshape(shape)
