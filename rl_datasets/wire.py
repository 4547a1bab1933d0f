"""`tf.train.Example` to bytes and back without TensorFlow, a whole list of values at a time.

A record of a TFRecord file is an Example (tensorflow/core/example/{example,feature}.proto), whose
wire format is protobuf's:

    Example  { Features features = 1; }
    Features { map<string, Feature> feature = 1; }      an entry is { key = 1; value = 2; }
    Feature  { oneof { BytesList = 1; FloatList = 2; Int64List = 3; } }
    *List    { repeated value = 1; }                    packed, but for bytes

A packed float list is the array's own bytes, and varints are coded by NumPy. Entries are written in
the order of their keys, as protobuf writes them when asked to be deterministic; its default order
is left to chance. What is read may come from anyone: every fault is a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3

_KINDS = {BYTES_LIST: "bytes", FLOAT_LIST: "float", INT64_LIST: "int64"}
_MAX_VARINT_BYTES = 10
_VARINT_CHUNK = 1 << 18  # Values encoded at once, which bounds the memory.


class Feature(NamedTuple):
    """A feature as it was read.

    Attributes:
      kind: `BYTES_LIST`, `FLOAT_LIST` or `INT64_LIST`.
      values: the list, still encoded.
    """

    kind: int
    values: memoryview


def encode_example(features: Mapping[str, bytes]) -> bytes:
    """A serialized Example of features that `bytes_list` and its siblings encoded."""
    return _message(
        1,
        b"".join(
            _message(1, _message(1, name.encode()) + _message(2, features[name]))
            for name in sorted(features)
        ),
    )


def bytes_list(values: Iterable[bytes]) -> bytes:
    """A Feature of byte strings."""
    return _message(BYTES_LIST, b"".join(_message(1, value) for value in values))


def float_list(values: np.ndarray) -> bytes:
    """A Feature of [N] float32."""
    return _packed(FLOAT_LIST, values.astype("<f4", copy=False).tobytes())


def int64_list(values: np.ndarray) -> bytes:
    """A Feature of [N] bools or integers."""
    return _packed(INT64_LIST, _encode_varints(values))


def decode_example(record: bytes) -> dict[str, Feature]:
    """Every feature of an Example by name; what they hold stays encoded, and is not copied.

    Raises:
      ValueError: the record is no Example.
    """
    features = {}
    for field, message in _fields(memoryview(record)):
        _expect(field, 1)
        for field, entry in _fields(message):
            _expect(field, 1)
            parts = dict(_fields(entry))
            if parts.keys() != {1, 2}:
                raise ValueError("a feature has no name or no value")
            ((kind, values),) = _fields(parts[2])
            features[str(parts[1], "utf-8")] = Feature(kind, values)
    return features


def bytes_values(feature: Feature) -> list[bytes]:
    """The byte strings of a Feature.

    Raises:
      ValueError: it holds numbers, or is cut.
    """
    _expect_kind(feature, BYTES_LIST)
    return [bytes(value) for field, value in _fields(feature.values) if field == 1]


def float_values(feature: Feature) -> np.ndarray:
    """[N] float32 of a Feature, read-only.

    Raises:
      ValueError: it holds no floats, or is cut.
    """
    _expect_kind(feature, FLOAT_LIST)
    return np.frombuffer(_unpacked(feature), "<f4")


def int64_values(feature: Feature, dtype: np.dtype | type = np.int64) -> np.ndarray:
    """[N] integers or bools of a Feature.

    Raises:
      ValueError: it holds no integers, or is cut.
    """
    _expect_kind(feature, INT64_LIST)
    return _decode_varints(_unpacked(feature), np.dtype(dtype))


def _expect(field: int, number: int) -> None:
    if field != number:
        raise ValueError(f"a field has number {field} where {number} was expected")


def _expect_kind(feature: Feature, kind: int) -> None:
    if feature.kind != kind:
        raise ValueError(
            f"a list of {_KINDS.get(feature.kind, 'unknown')} values where one of {_KINDS[kind]} "
            "values was expected"
        )


def _packed(kind: int, values: bytes) -> bytes:
    return _message(kind, _message(1, values) if values else b"")


def _unpacked(feature: Feature) -> memoryview | bytes:
    """A list of numbers that stood in one piece, as a list does, or in several, as it may."""
    pieces = [values for _, values in _fields(feature.values)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _message(field: int, payload: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return bytes([field << 3 | 2]) + _encode_varint(len(payload)) + payload


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _encode_varints(values: np.ndarray) -> bytes:
    """[N] bools or integers as varints; a negative one is its 64-bit two's complement."""
    return b"".join(
        _encode_varint_chunk(values[start : start + _VARINT_CHUNK])
        for start in range(0, len(values), _VARINT_CHUNK)
    )


def _encode_varint_chunk(values: np.ndarray) -> bytes:
    unsigned = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64).view(np.uint64)
    largest = int(unsigned.max())
    if largest <= 0x7F:
        return unsigned.astype(np.uint8).tobytes()
    width = -(-largest.bit_length() // 7)
    shifts = np.arange(0, 7 * width, 7, dtype=np.uint64)
    remaining = unsigned[:, None] >> shifts
    groups = (remaining & np.uint64(0x7F)).astype(np.uint8)
    more = (remaining >> np.uint64(7)) > 0
    used = (remaining > 0) | (shifts == 0)
    return (groups | more.astype(np.uint8) << 7)[used].tobytes()


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and payload of every field of a message, all of which are length-delimited."""
    position, size = 0, len(message)
    while position < size:
        tag = message[position]
        if tag & 7 != 2:
            raise ValueError(f"wire type {tag & 7}")
        length, position = _decode_varint(message, position + 1)
        if position + length > size:
            raise ValueError("a field is cut")
        yield tag >> 3, message[position : position + length]
        position += length


def _decode_varint(message: memoryview, position: int) -> tuple[int, int]:
    """A varint and where the next field begins."""
    value = 0
    for index, byte in enumerate(message[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a length is cut or too long")


def _decode_varints(packed: memoryview | bytes, dtype: np.dtype) -> np.ndarray:
    octets = np.frombuffer(packed, np.uint8)
    is_end = octets < 0x80
    if is_end.all():
        return octets.astype(dtype)
    ends = np.flatnonzero(is_end)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if not is_end[-1] or (ends - starts).max() >= _MAX_VARINT_BYTES:
        raise ValueError("an integer is cut or too long")
    place = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    groups = (octets & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(groups, starts).view(np.int64).astype(dtype)
