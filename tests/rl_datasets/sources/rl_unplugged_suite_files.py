"""Shards of RL Unplugged's suites, as the released ones are but for their numbers."""

from __future__ import annotations

import gzip
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from rl_datasets import records, wire
from rl_datasets.frames import encode_png
from rl_datasets.sources import rl_unplugged_dmlab, rl_unplugged_rwrl
from rl_datasets.sources.rl_unplugged_control import CAMERA, CAMERA_SHAPE, Task
from rl_datasets.sources.rl_unplugged_shards import Dataset

NAN = np.frombuffer(b"\x00\x00\xc0\x7f", "<f4")
EMPTY = {"of no bytes": b"", "of a gzip file": gzip.compress(b"", mtime=0)}
Features = Mapping[str, bytes | None]  # None leaves a feature out.


def control(task: Task, seed: int, rows: int = 1001, **changes: bytes | None) -> dict:
    """Features of an episode of dm_control; names of `changes` have no prefix of observations."""
    rng = np.random.default_rng(seed)
    prefix = "observation/walker/" if task.has_camera else "observation/"
    action = rng.uniform(-1, 1, (rows, task.action_size)).astype(np.float32)
    action[-1] = 0
    step_type = np.array([0, *[1] * (rows - 2), 2], np.float32)
    features: dict[str, bytes | None] = {
        name: wire.float_list(rng.normal(size=rows * size).astype(np.float32))
        for name, size in task.sizes.items()
    }
    if task.has_camera:  # Two lists have no values, and nobody reads the last field.
        features[CAMERA] = wire.bytes_list([rng.bytes(rows * int(np.prod(CAMERA_SHAPE)))])
        features |= {
            name: wire.float_list(NAN[:0]) for name in ("sensors_force", "actuator_activation")
        }
        features["origin"] = wire.float_list(np.zeros(rows * 3, np.float32))
    features |= {
        "action": wire.float_list(action.reshape(-1)),
        "reward": wire.float_list(np.append(NAN, rng.random(rows - 1, np.float32))),
        "discount": wire.float_list(np.append(NAN, np.ones(rows - 1, np.float32))),
        "step_type": wire.float_list(step_type),
        "episode_id": wire.int64_scalar(-(2**62) + seed),
        "timestamp": wire.int64_scalar(1582866796919 + seed),
    }
    features |= changes
    own = ("action", "reward", "discount", "step_type", "episode_id", "timestamp")
    return {name if name in own else prefix + name: of for name, of in features.items()}


def rwrl(name: str, seed: int, before: Features | None = None, **changes: bytes | None) -> dict:
    """Features of an episode of real-world RL; names of `changes` have no prefix.

    Args:
      name: of the dataset.
      seed: of its numbers.
      before: the episode before, whose last observations and rewards an `easy` one begins with.
      **changes: features to replace, or None to leave one out.
    """
    rng = np.random.default_rng(seed)
    choice = rl_unplugged_rwrl.CHOICES[name]
    domain = rl_unplugged_rwrl.DOMAINS[choice.domain]
    rows = rl_unplugged_rwrl.ROWS
    minimum = np.array(domain.minimum, np.float32)
    action = rng.uniform(minimum, domain.maximum, (rows, len(minimum))).astype(np.float32)
    action[0] = minimum
    numbers = {
        field: rng.normal(size=(rows, size)).astype(np.float32)
        for field, size in choice.fields.items()
    }
    reward = rng.random(rows, np.float32)
    reward[0] = 0
    if before is not None:
        for field, array in numbers.items():
            array[:3] = values_of(before[f"observation:{field}"]).reshape(array.shape)[-3:]
        reward[1:11] = values_of(before["reward"])[-10:]
    features: dict[str, bytes | None] = {
        field: wire.float_list(array.reshape(-1)) for field, array in numbers.items()
    }
    features |= {
        "action": wire.float_list(action.reshape(-1)),
        "reward": wire.float_list(reward),
        "discount": wire.float_list(np.append(0, np.ones(rows - 1)).astype(np.float32)),
        "step_type": wire.float_list(np.array([0, *[1] * (rows - 2), 2], np.float32)),
    }
    features |= changes
    own = ("action", "reward", "discount", "step_type")
    return {name if name in own else f"observation:{name}": of for name, of in features.items()}


def dmlab_frames(seed: int, rows: int) -> np.ndarray:
    """[rows, 72, 96, 3] frames in red, green, blue: a blue sky over a floor, and a red ball."""
    frames = np.zeros((rows, *rl_unplugged_dmlab.FRAME_SHAPE), np.uint8)
    frames[:, :36] = (20, 60, 200)
    frames[:, 36:] = (90, 80, 10)
    for row in range(rows):
        at = (7 * seed + row) % 80
        frames[row, 40:48, at : at + 8] = (250, 5, 30)
    return frames


def dmlab(seed: int, rows: int, **changes: bytes | None) -> dict:
    """Features of an episode of DeepMind Lab; `changes` replace some, and None leaves one out."""
    rng = np.random.default_rng(seed)
    action = np.append(rng.integers(0, 15, rows - 1), 0)
    reward = np.append(rng.integers(-1, 2, rows - 1), 0).astype(np.float32)
    one_hot = np.zeros((rows, 15), np.float32)
    one_hot[np.arange(1, rows), action[:-1]] = 1
    to_go = np.zeros(rows, np.float32)
    for row in range(rows - 2, -1, -1):
        to_go[row] = reward[row] + 0.997 * to_go[row + 1]
    features: dict[str, bytes | None] = {
        "observations_pixels": wire.bytes_list(encode_png(dmlab_frames(seed, rows)[..., ::-1])),
        "observations_action": wire.float_list(one_hot.reshape(-1)),
        "observations_reward": wire.float_list(np.append(0, reward[:-1]).astype(np.float32)),
        "actions": wire.int64_list(action),
        "rewards": wire.float_list(reward),
        "discounts": wire.float_list(np.append(np.ones(rows - 1), 0).astype(np.float32)),
        "discounted_rewards": wire.float_list(to_go),
        "episode_return": wire.float_scalar(float(reward.sum())),
        "episode_id": wire.int64_scalar(-(2**62) + seed),
        "start_idx": wire.int64_scalar(0),
    }
    return features | changes


def values_of(feature: bytes | None) -> np.ndarray:
    """The numbers of a list of floats."""
    assert feature is not None
    record = wire.encode_example({"one": feature})
    return wire.float_values(wire.decode_example(record)["one"])


def example(features: Features) -> bytes:
    """A serialized Example whose entries are in this order; `wire` would sort them."""
    entries = [
        _body(wire.encode_example({name: value}))
        for name, value in features.items()
        if value is not None
    ]
    return _body(wire.bytes_list([b"".join(entries)]))


def shuffled(features: Features, seed: int) -> Features:
    """The features in another order, as that of released records changes from one to the next."""
    names = list(features)
    np.random.default_rng(seed).shuffle(names)
    return {name: features[name] for name in names}


def shard(examples: Iterable[Features], is_gzip: bool = True) -> bytes:
    """The file of these records, as TensorFlow writes it."""
    serialized = [example(shuffled(each, seed)) for seed, each in enumerate(examples)]
    return container(serialized, is_gzip)


def container(serialized: Iterable[bytes], is_gzip: bool = True) -> bytes:
    framed = b"".join(map(records.frame, serialized))
    return gzip.compress(framed, 6, mtime=0) if is_gzip else framed


def write(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read(dataset: Dataset, path: pathlib.Path) -> list:
    """The episodes of a shard, or errors."""
    return list(dataset.layout.read_all(dataset.parse, [path.name], str(path)))


def changed(rows: int, row: int, value: float) -> bytes:
    """Rewards or discounts: NaN in row 0, 1 in the others, and another value in one row."""
    values = np.append(NAN, np.ones(rows - 1, np.float32))
    values[row] = value
    return wire.float_list(values)


def _body(message: bytes) -> bytes:
    """What a length-delimited field holds."""
    position = 1
    while message[position] & 0x80:
        position += 1
    return message[position + 1 :]
