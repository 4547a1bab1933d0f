"""Encodes and decodes `tf.train.Example` without TensorFlow, a whole list of values at a time.

A record of a TFRecord file is an Example (tensorflow/core/example/{example,feature}.proto), whose
wire format is protobuf's:

    Example  { Features features = 1; }
    Features { map<string, Feature> feature = 1; }      an entry is { key = 1; value = 2; }
    Feature  { oneof { BytesList = 1; FloatList = 2; Int64List = 3; } }
    *List    { repeated value = 1; }                    packed, except bytes

A packed float list is the array's own bytes, and NumPy encodes varints. Entries are written in the
order of their keys, as in protobuf's deterministic mode; its default order is not fixed. What is
read may come from anyone, so every fault is a `ValueError`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3

_TAG_1, _TAG_2, _TAG_3 = (bytes((field << 3 | 2,)) for field in (1, 2, 3))
_TAGS = {BYTES_LIST: _TAG_1, FLOAT_LIST: _TAG_2, INT64_LIST: _TAG_3}
_TWO_TO_64 = 1 << 64
_FLOAT = struct.Struct("<f")
_FLOAT_SCALAR = b"\x12\x06\x0a\x04"  # A float list of 6 bytes, which are a packed list of 4.
_KINDS = {BYTES_LIST: "bytes", FLOAT_LIST: "float", INT64_LIST: "int64"}
_MAX_VARINT_BYTES = 10
_SHORT = [bytes((length,)) for length in range(_MAX_VARINT_BYTES + 3)]  # Varints of short lengths.
_VARINT_CHUNK = 1 << 18  # The number of values encoded at once, which bounds the memory.


# A feature as it was read: its kind, the whole record, and where the encoded list begins and ends
# in it. It is a plain tuple, because a record of one transition consists mostly of such tuples.
Feature: TypeAlias = tuple[int, bytes, int, int]


def encode_example(features: Mapping[str, bytes]) -> bytes:
    """A serialized Example of features that `bytes_list` and its siblings encoded."""
    pieces: list[bytes] = []
    for name in sorted(features):
        key, value = _key(name), features[name]
        length = _encode_varint(len(value))
        entry = _encode_varint(len(key) + len(length) + len(value))
        pieces += (_TAG_1, entry, key, length, value)
    return _message(_TAG_1, *pieces)


def bytes_list(values: Iterable[bytes]) -> bytes:
    """A Feature of byte strings."""
    pieces: list[bytes] = []
    for value in values:
        pieces += (_TAG_1, _encode_varint(len(value)), value)
    return _message(_TAG_1, *pieces)


def float_list(values: np.ndarray) -> bytes:
    """A Feature of [N] float32."""
    return _packed(FLOAT_LIST, values.astype("<f4", copy=False).tobytes())


def float_scalar(value: float) -> bytes:
    """A Feature of one float32."""
    return _FLOAT_SCALAR + _FLOAT.pack(value)


def int64_list(values: np.ndarray) -> bytes:
    """A Feature of [N] bools or integers."""
    return _packed(INT64_LIST, _encode_varints(values))


def int64_scalar(value: int) -> bytes:
    """A Feature of one int64."""
    varint = _encode_varint(value % _TWO_TO_64)
    length = len(varint)
    return b"".join((_TAG_3, _SHORT[length + 2], _TAG_1, _SHORT[length], varint))


def decode_example(record: bytes, only: Container[str] | None = None) -> dict[str, Feature]:
    """The features of an Example by name; their values stay encoded, and are not copied.

    Args:
      record: the serialized Example.
      only: the names of the features to return; None for all.

    Raises:
      ValueError: the record is not an Example.
    """
    features = {}
    for position, end in _spans(record, 0, len(record)):
        while position < end:
            entry, entry_end = _field(record, position, end, _TAG_1)
            name_start, name_end = _field(record, entry, entry_end, _TAG_1)
            name = _name(record[name_start:name_end])
            if only is not None and name not in only:
                position = entry_end
                continue
            start, position = _field(record, name_end, entry_end, _TAG_2)
            if position != entry_end or start == position:
                raise ValueError("a feature has no value, or several")
            kind = record[start] >> 3
            values, values_end = _field(record, start, position, _TAGS.get(kind, _TAG_1))
            if values_end != position:
                raise ValueError("a feature has several values")
            features[name] = (kind, record, values, values_end)
    return features


def bytes_values(feature: Feature) -> list[bytes]:
    """The byte strings of a Feature.

    Raises:
      ValueError: the Feature holds numbers, or is truncated.
    """
    _expect_kind(feature, BYTES_LIST)
    _, record, position, end = feature
    values = []
    while position < end:
        start, position = _field(record, position, end, _TAG_1)
        values.append(record[start:position])
    return values


def float_values(feature: Feature) -> np.ndarray:
    """[N] float32 of a Feature, read-only.

    Raises:
      ValueError: the Feature does not hold floats, or is truncated.
    """
    _expect_kind(feature, FLOAT_LIST)
    return np.frombuffer(_unpacked(feature), "<f4")


def float_value(feature: Feature) -> float:
    """The only float of a Feature.

    Raises:
      ValueError: it holds something else.
    """
    _expect_kind(feature, FLOAT_LIST)
    _, record, position, end = feature
    start, last = _field(record, position, end, _TAG_1)
    if last != end or last - start != _FLOAT.size:
        raise ValueError("another number of values where one was expected")
    return _FLOAT.unpack_from(record, start)[0]


def int64_values(feature: Feature, dtype: np.dtype | type = np.int64) -> np.ndarray:
    """[N] integers or bools of a Feature.

    Raises:
      ValueError: the Feature does not hold integers, or is truncated.
    """
    _expect_kind(feature, INT64_LIST)
    return _decode_varints(_unpacked(feature), np.dtype(dtype))


def int64_value(feature: Feature) -> int:
    """The only integer of a Feature.

    Raises:
      ValueError: it holds something else.
    """
    _expect_kind(feature, INT64_LIST)
    _, record, position, end = feature
    start, last = _field(record, position, end, _TAG_1)
    value, position = _decode_varint(record, start)
    if not position == last == end or value >= _TWO_TO_64:
        raise ValueError("another number of values where one was expected")
    return value - _TWO_TO_64 if value >> 63 else value


def _spans(record: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The start and the end of every message in a message that repeats one field."""
    for field, first, last in _fields(record, start, end):
        if field != 1:
            raise ValueError(f"a field has number {field} where 1 was expected")
        yield first, last


def _field(record: bytes, position: int, end: int, tag: bytes) -> tuple[int, int]:
    """The start and the end of a field that must be the next one.

    A record of one transition consists mostly of such fields, so short lengths are decoded here.
    """
    start = position + 2
    if start > end or record[position] != tag[0]:
        raise ValueError("a field is missing")
    length = record[position + 1]
    if length > 0x7F:
        if start < end and record[start] <= 0x7F:
            length += (record[start] << 7) - 0x80
            start += 1
        else:
            length, start = _decode_varint(record, position + 1)
    end_of_field = start + length
    if end_of_field > end:
        raise ValueError("a field is truncated")
    return start, end_of_field


def _expect_kind(feature: Feature, expected: int) -> None:
    kind = feature[0]
    if kind != expected:
        raise ValueError(
            f"a list of {_KINDS.get(kind, 'unknown')} values where one of {_KINDS[expected]} "
            "values was expected"
        )


def _packed(kind: int, values: bytes) -> bytes:
    return _message(_TAGS[kind], _message(_TAG_1, values) if values else b"")


def _unpacked(feature: Feature) -> memoryview | bytes:
    """The bytes of a list of numbers, which may be stored in one or several pieces."""
    _, record, start, end = feature
    pieces = [memoryview(record)[first:last] for first, last in _spans(record, start, end)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@functools.lru_cache(maxsize=256)
def _name(key: bytes) -> str:
    return str(key, "utf-8")


@functools.lru_cache(maxsize=256)  # All records of a dataset have the same names.
def _key(name: str) -> bytes:
    """The bytes before the length of the value in an entry."""
    return _message(_TAG_1, name.encode()) + _TAG_2


def _message(tag: bytes, *payload: bytes) -> bytes:
    """A length-delimited field of a protobuf message; its payload is copied once."""
    return b"".join((tag, _encode_varint(sum(map(len, payload))), *payload))


@functools.lru_cache(maxsize=1 << 14)  # Most values are small lengths.
def _encode_varint(value: int) -> bytes:
    if value <= 0x7F:
        return bytes((value,))
    if value <= 0x3FFF:
        return bytes((value & 0x7F | 0x80, value >> 7))
    return bytes((value & 0x7F | 0x80,)) + _encode_varint(value >> 7)


def _encode_varints(values: np.ndarray) -> bytes:
    """Encodes [N] bools or integers as varints; negative ones as 64-bit two's complement."""
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


def _fields(record: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number, start and end of each field of a message; all fields are length-delimited."""
    while position < end:
        tag = record[position]
        if tag & 7 != 2:
            raise ValueError(f"wire type {tag & 7}")
        length, start = _decode_varint(record, position + 1)
        position = start + length
        if position > end:
            raise ValueError("a field is truncated")
        yield tag >> 3, start, position


def _decode_varint(record: bytes, position: int) -> tuple[int, int]:
    """A varint, and the position of the next field."""
    try:
        byte = record[position]
        if byte <= 0x7F:
            return byte, position + 1
        value, shift = byte & 0x7F, 7
        while shift < 7 * _MAX_VARINT_BYTES:
            position += 1
            byte = record[position]
            value |= (byte & 0x7F) << shift
            if byte <= 0x7F:
                return value, position + 1
            shift += 7
    except IndexError:
        pass
    raise ValueError("a number is truncated or too long")


def _decode_varints(packed: memoryview | bytes, dtype: np.dtype) -> np.ndarray:
    octets = np.frombuffer(packed, np.uint8)
    is_end = octets < 0x80
    if is_end.all():
        return octets.astype(dtype)
    ends = np.flatnonzero(is_end)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if not is_end[-1] or (ends - starts).max() >= _MAX_VARINT_BYTES:
        raise ValueError("an integer is truncated or too long")
    place = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    groups = (octets & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(groups, starts).view(np.int64).astype(dtype)
