"""A whole episode to the bytes that TFDS's serializer would have written, and back, in NumPy.

A record is a `tf.train.Example` (tensorflow/core/example/{example,feature}.proto), whose wire
format is protobuf's:

    Example  { Features features = 1; }
    Features { map<string, Feature> feature = 1; }      an entry is { key = 1; value = 2; }
    Feature  { oneof { BytesList = 1; FloatList = 2; Int64List = 3; } }
    *List    { repeated value = 1; }                    packed, but for bytes

TFDS stores the steps of an RLDS episode as one list a field, `steps/<field>`, and a packed float
list is the array's own bytes. So a field is encoded by one NumPy call however long the episode is,
where TFDS's serializer loops over single numbers. Entries are written in the order of their keys,
as protobuf writes them when asked to be deterministic; its default order is left to chance.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import dm_env.specs
import numpy as np

from rl_datasets.episode import STEPS, Episode, EpisodeSpec
from rl_datasets.errors import DatasetError

# How one value is stored, by the names of `tfds.features.Encoding`.
NONE = "none"  # In a float list or an int64 list; a string in a bytes list.
BYTES = "bytes"
ZLIB = "zlib"

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_MAX_VARINT_BYTES = 10
_VARINT_CHUNK = 1 << 18  # Values encoded at once, which bounds the memory.


def storage(spec: dm_env.specs.Array) -> str:
    """How a value of this spec is stored: `NONE`, `BYTES` or `ZLIB`.

    An Example holds floats as float32 and integers as varints. So float64, which would lose
    precision, is stored as bytes, and frames, which would grow, are deflated.

    Raises:
      DatasetError: a dataset cannot hold this dtype.
    """
    if isinstance(spec, dm_env.specs.StringArray):
        return NONE
    if spec.dtype == np.float64:
        return BYTES
    if spec.dtype == np.uint8 and len(spec.shape) >= 2:
        return ZLIB
    if spec.dtype == np.float32 or spec.dtype.kind in "iub":
        return NONE
    raise DatasetError(
        f"field {spec.name!r} has dtype {spec.dtype}, which a dataset cannot hold; "
        "convert it to float32, float64, an integer type, bool or str"
    )


def encode_episode(episode: Episode, spec: EpisodeSpec) -> bytes:
    """The serialized `tf.train.Example` of an episode that has passed `check_episode`."""
    steps = episode.steps()
    features = {
        f"{STEPS}/{name}": _encode_feature(steps[name], field_spec)
        for name, field_spec in spec.step_specs().items()
    }
    for name, field_spec in spec.metadata.items():
        features[name] = _encode_feature([episode.metadata[name]], field_spec)
    return _message(
        1,
        b"".join(
            _message(1, _message(1, name.encode()) + _message(2, features[name]))
            for name in sorted(features)
        ),
    )


def decode_episode(record: bytes, spec: EpisodeSpec) -> Episode:
    """The inverse of `encode_episode`; arrays that share the record's bytes are read-only.

    Raises:
      DatasetError: the record is not an episode of this spec.
    """
    try:
        features = dict(_parse_entries(memoryview(record)))
        steps = {
            name: _decode_feature(features.pop(f"{STEPS}/{name}"), field_spec)
            for name, field_spec in spec.step_specs().items()
        }
        metadata = {
            name: _decode_feature(features.pop(name), field_spec)[0]
            for name, field_spec in spec.metadata.items()
        }
    except (KeyError, IndexError, ValueError, zlib.error) as error:
        raise DatasetError(
            f"a record does not hold an episode of this dataset ({error})"
        ) from error
    if features:
        raise DatasetError(f"a record holds features unknown to this dataset: {sorted(features)}")
    return Episode.from_steps(steps, metadata)


def _encode_feature(rows: Any, spec: dm_env.specs.Array) -> bytes:
    """A `Feature` of rows [N, ...]."""
    if isinstance(spec, dm_env.specs.StringArray):
        return _bytes_list(row.encode() for row in rows)
    rows = np.asarray(rows, spec.dtype)
    encoding = storage(spec)
    if encoding == BYTES:
        return _bytes_list(row.tobytes() for row in rows)
    if encoding == ZLIB:
        return _bytes_list(zlib.compress(row.tobytes()) for row in rows)
    if spec.dtype == np.float32:
        kind, packed = _FLOAT_LIST, rows.astype("<f4", copy=False).tobytes()
    else:
        kind, packed = _INT64_LIST, _encode_varints(rows.reshape(-1))
    return _message(kind, _message(1, packed) if packed else b"")


def _bytes_list(values: Any) -> bytes:
    return _message(_BYTES_LIST, b"".join(_message(1, value) for value in values))


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


def _parse_entries(record: memoryview) -> Iterator[tuple[str, tuple[int, memoryview]]]:
    """Name, kind and list of every feature of an Example."""
    ((_, features),) = _fields(record)
    for _, entry in _fields(features):
        (_, name), (_, feature) = _fields(entry)
        ((kind, values),) = _fields(feature)
        yield str(name, "utf-8"), (kind, values)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and payload of every field of a message, all of which are length-delimited."""
    position = 0
    while position < len(message):
        tag = message[position]
        if tag & 7 != 2:
            raise ValueError(f"wire type {tag & 7}")
        length, position = _decode_varint(message, position + 1)
        if position + length > len(message):
            raise ValueError("a field is cut")
        yield tag >> 3, message[position : position + length]
        position += length


def _decode_varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _decode_feature(feature: tuple[int, memoryview], spec: dm_env.specs.Array) -> Any:
    """The rows [N, ...] of a `Feature`; a list of `str` where the spec is a `StringArray`."""
    kind, values = feature
    payloads = [payload for _, payload in _fields(values)]
    if isinstance(spec, dm_env.specs.StringArray):
        return [str(payload, "utf-8") for payload in payloads]
    encoding = storage(spec)
    if encoding == NONE:
        packed = payloads[0] if payloads else b""
        expected = _FLOAT_LIST if spec.dtype == np.float32 else _INT64_LIST
        decode = np.frombuffer if kind == _FLOAT_LIST else _decode_varints
    else:
        packed = b"".join(zlib.decompress(p) if encoding == ZLIB else p for p in payloads)
        expected, decode = _BYTES_LIST, np.frombuffer
    if kind != expected:
        raise ValueError(f"a list of kind {kind} where {expected} was expected")
    return decode(packed, spec.dtype).reshape(-1, *spec.shape)


def _decode_varints(packed: Any, dtype: np.dtype) -> np.ndarray:
    octets = np.frombuffer(packed, np.uint8)
    is_end = octets < 0x80
    if is_end.all():
        return octets.astype(dtype)
    ends = np.flatnonzero(is_end)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    groups = (octets & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(groups, starts).view(np.int64).astype(dtype)
