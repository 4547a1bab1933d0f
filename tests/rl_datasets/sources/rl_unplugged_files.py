"""Shards such as RL Unplugged released, made by hand and by TensorFlow."""

from __future__ import annotations

import gzip
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from rl_datasets import records, wire
from rl_datasets.frames import encode_png


def frames(seed: int, rows: int) -> np.ndarray:
    """[rows, 84, 84, 1] frames, each marked by its seed and its row, black but for that."""
    observation = np.zeros((rows, 84, 84, 1), np.uint8)
    observation[:, 0, :2, 0] = [[1 + seed % 255, 1 + row % 255] for row in range(rows)]
    return observation


def episode(seed: int, rows: int, last_discount: float = 0, **changes: bytes | None) -> dict:
    """Features of an episode's record; `changes` replace features, and None leaves one out."""
    rng = np.random.default_rng(seed)
    reward = rng.integers(-1, 2, rows).astype(np.float32)
    discount = np.append(np.ones(rows - 1), last_discount).astype(np.float32)
    total = reward.sum(keepdims=True)
    features: dict[str, bytes | None] = {
        "checkpoint_idx": wire.int64_list(np.array([7])),
        "episode_idx": wire.int64_list(np.array([seed])),
        "observations": wire.bytes_list(encode_png(frames(seed, rows))),
        "actions": wire.int64_list(rng.integers(0, 9, rows)),
        "unclipped_rewards": wire.float_list(reward),
        "clipped_rewards": wire.float_list(reward),
        "discounts": wire.float_list(discount),
        "episode_return": wire.float_list(total),
        "clipped_episode_return": wire.float_list(total),
    }
    return {name: value for name, value in (features | changes).items() if value is not None}


def transition(seed: int, **changes: bytes | None) -> dict:
    """Features of a transition's record; `changes` replace features, and None leaves one out."""
    pngs = encode_png(frames(seed, 5))
    features: dict[str, bytes | None] = {
        "o_t": wire.bytes_list(pngs[:4]),
        "a_t": wire.int64_scalar(seed % 9),
        "r_t": wire.float_scalar(seed % 3 - 1),
        "d_t": wire.float_scalar(float(seed % 4 > 0)),
        "o_tp1": wire.bytes_list(pngs[1:]),
        "a_tp1": wire.int64_scalar((seed + 1) % 9),
        "episode_id": wire.int64_scalar(-(2**62) + seed),
        "episode_return": wire.float_scalar(0.5 * seed),
    }
    return {name: value for name, value in (features | changes).items() if value is not None}


def shard(examples: Sequence[dict]) -> bytes:
    """The file of these records."""
    return compress(wire.encode_example(example) for example in examples)


def compress(serialized: Iterable[bytes]) -> bytes:
    return gzip.compress(b"".join(map(records.frame, serialized)), 1, mtime=0)


def write(path: pathlib.Path, examples: Sequence[dict]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(shard(examples))
    return str(path)
