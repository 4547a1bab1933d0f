"""Encodes an episode in NumPy as the bytes that TFDS's serializer would write, and decodes it.

A record is a `tf.train.Example`, as `rl_datasets.wire` writes it. TFDS stores the steps of an RLDS
episode as one list per field, `steps/<field>`. So one NumPy call encodes a field, however long the
episode is, where TFDS's serializer loops over single numbers.
"""

from __future__ import annotations

import zlib
from typing import Any

import dm_env.specs
import numpy as np

from rl_datasets import wire
from rl_datasets.episode import STEPS, Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames, encode_png
from rl_datasets.transition import StackedTransition, TransitionSpec

# The ways to store a value. All names except PNG are those of `tfds.features.Encoding`.
NONE = "none"  # In a float list or an int64 list; a string in a bytes list.
BYTES = "bytes"
ZLIB = "zlib"
PNG = "png"  # As a `tfds.features.Image`.


def storage(spec: dm_env.specs.Array) -> str:
    """The way to store a value of this spec: `NONE`, `BYTES`, `ZLIB` or `PNG`.

    An Example holds floats as float32 and integers as varints. So float64, which would lose
    precision, is stored as bytes. Frames are stored as PNG files. Other uint8 arrays, which would
    grow, are deflated.

    Raises:
      DatasetError: a dataset cannot hold this dtype.
    """
    if isinstance(spec, dm_env.specs.StringArray):
        return NONE
    if spec.dtype == np.float64:
        return BYTES
    if spec.dtype == np.uint8 and len(spec.shape) == 3 and spec.shape[2] in (1, 3):
        return PNG
    if spec.dtype == np.uint8 and len(spec.shape) >= 2:
        return ZLIB
    if spec.dtype == np.float32 or (spec.dtype.kind in "iub" and spec.dtype.isnative):
        return NONE
    raise DatasetError(
        f"field {spec.name!r} has dtype {spec.dtype}, which a dataset cannot hold; convert it to "
        "float32, float64, an integer type, bool or str, in the machine's own byte order"
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
    return wire.encode_example(features)


def decode_episode(record: bytes, spec: EpisodeSpec) -> Episode:
    """The inverse of `encode_episode`.

    Frames are `EncodedFrames`, not yet decoded; arrays that share the record's bytes are read-only.

    Raises:
      DatasetError: the record is not an episode of this spec.
    """
    try:
        features = wire.decode_example(record)
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


def encode_transition(transition: StackedTransition) -> bytes:
    """The serialized `tf.train.Example` of a transition that has passed `check_transition`."""
    return wire.encode_example(
        {
            "observation": wire.bytes_list(transition.observation.pngs),
            "action": wire.int64_scalar(transition.action),
            "reward": wire.float_scalar(transition.reward),
            "discount": wire.float_scalar(transition.discount),
            "next_observation": wire.bytes_list(transition.next_observation.pngs),
            "next_action": wire.int64_scalar(transition.next_action),
            "episode_id": wire.int64_scalar(transition.episode_id),
            "episode_return": wire.float_scalar(transition.episode_return),
        }
    )


def decode_transition(record: bytes, spec: TransitionSpec) -> StackedTransition:
    """The inverse of `encode_transition`.

    Raises:
      DatasetError: the record is not a transition of this spec.
    """
    try:
        features = wire.decode_example(record)
        if features.keys() != set(StackedTransition._fields):
            raise ValueError(f"its features are {sorted(features)}")
        return StackedTransition(
            observation=_decode_frames(features["observation"], spec),
            action=wire.int64_value(features["action"]),
            reward=wire.float_value(features["reward"]),
            discount=wire.float_value(features["discount"]),
            next_observation=_decode_frames(features["next_observation"], spec),
            next_action=wire.int64_value(features["next_action"]),
            episode_id=wire.int64_value(features["episode_id"]),
            episode_return=wire.float_value(features["episode_return"]),
        )
    except ValueError as error:
        raise DatasetError(
            f"a record does not hold a transition of this dataset ({error})"
        ) from error


def _decode_frames(feature: wire.Feature, spec: TransitionSpec) -> EncodedFrames:
    return EncodedFrames(wire.bytes_values(feature), spec.frame.shape)


def decode_outcome(record: bytes) -> tuple[float, float]:
    """The reward and the discount of a transition; nothing else of it is decoded.

    Raises:
      DatasetError: the record is not a transition.
    """
    try:
        features = wire.decode_example(record, only=("reward", "discount"))
        return wire.float_value(features["reward"]), wire.float_value(features["discount"])
    except (KeyError, ValueError) as error:
        raise DatasetError(f"a record does not hold a transition ({error})") from error


def _encode_feature(rows: Any, spec: dm_env.specs.Array) -> bytes:
    """The `Feature` of rows [N, ...]."""
    if isinstance(spec, dm_env.specs.StringArray):
        return wire.bytes_list(row.encode() for row in rows)
    encoding = storage(spec)
    if isinstance(rows, EncodedFrames) and encoding == PNG:
        return wire.bytes_list(rows.pngs)
    rows = np.asarray(rows, spec.dtype)
    if encoding == PNG:
        return wire.bytes_list(encode_png(rows))
    if encoding == BYTES:
        return wire.bytes_list(row.tobytes() for row in rows)
    if encoding == ZLIB:
        return wire.bytes_list(zlib.compress(row.tobytes()) for row in rows)
    if spec.dtype == np.float32:
        return wire.float_list(rows.reshape(-1))
    return wire.int64_list(rows.reshape(-1))


def _decode_feature(feature: wire.Feature, spec: dm_env.specs.Array) -> Any:
    """The rows [N, ...] of a `Feature`; a list of `str` where the spec is a `StringArray`."""
    if isinstance(spec, dm_env.specs.StringArray):
        return [str(value, "utf-8") for value in wire.bytes_values(feature)]
    encoding = storage(spec)
    if encoding == PNG:
        return EncodedFrames(wire.bytes_values(feature), spec.shape)
    if encoding == BYTES:
        values = np.frombuffer(b"".join(wire.bytes_values(feature)), spec.dtype)
    elif encoding == ZLIB:
        inflated = b"".join(map(zlib.decompress, wire.bytes_values(feature)))
        values = np.frombuffer(inflated, spec.dtype)
    elif spec.dtype == np.float32:
        values = wire.float_values(feature)
    else:
        values = wire.int64_values(feature, spec.dtype)
    return values.reshape(-1, *spec.shape)
