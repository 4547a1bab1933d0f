"""Measures publishing RL Unplugged's shards against Tianshou's converter of the same records.

The data are a shard of episodes of 500 rows, and a shard of shuffled transitions with 8 PNG files
each, with frames of about 1.5 kB. Publishing leaves a version that was checked, read back and
hashed.

The anchor repeats what `convert_rl_unplugged_atari.py` of Tianshou v2.0.1 does. It parses each
record of a transition shard and decodes its 8 files with TensorFlow's eager operations, stacks
them, and copies them into a row. Then it writes all rows to HDF5 with gzip. According to Tianshou's
README, a shard of 500,000 takes an hour.
"""

from __future__ import annotations

import pathlib
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from isal import igzip, isal_zlib

from benchmarks.speed.dqn_replay import synthetic_frames
from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import Builder
from rl_datasets import records, wire
from rl_datasets.frames import encode_png
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import rl_unplugged

ANCHOR = "Tianshou's converter, re-enacted"
EPISODE_LENGTH = 500
STACK = rl_unplugged.STACK
SHARD = "Pong/run_1-00000-of-00001"
_WARM_UP = 50  # Transitions.


def write_episodes(path: pathlib.Path, pngs: list[bytes], rows: int) -> None:
    """Writes an episode shard of so many rows."""
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with igzip.open(path, "wb") as file:
        for episode, first in enumerate(range(0, rows, EPISODE_LENGTH)):
            reward = rng.integers(-1, 2, EPISODE_LENGTH).astype(np.float32)
            discount = np.append(np.ones(EPISODE_LENGTH - 1), 0).astype(np.float32)
            observations = [pngs[(first + i) % len(pngs)] for i in range(EPISODE_LENGTH)]
            features = {
                "checkpoint_idx": wire.int64_scalar(0),
                "episode_idx": wire.int64_scalar(episode),
                "observations": wire.bytes_list(observations),
                "actions": wire.int64_list(rng.integers(0, 6, EPISODE_LENGTH)),
                "unclipped_rewards": wire.float_list(reward),
                "clipped_rewards": wire.float_list(reward),
                "discounts": wire.float_list(discount),
                "episode_return": wire.float_scalar(reward.sum()),
                "clipped_episode_return": wire.float_scalar(reward.sum()),
            }
            file.write(records.frame(wire.encode_example(features)))


def write_transitions(path: pathlib.Path, pngs: list[bytes], rows: int) -> None:
    """Writes a transition shard of so many rows."""
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with igzip.open(path, "wb") as file:
        for first in rng.integers(0, len(pngs) - STACK, rows):
            features = {
                "o_t": wire.bytes_list(pngs[first : first + STACK]),
                "a_t": wire.int64_scalar(int(rng.integers(6))),
                "r_t": wire.float_scalar(float(rng.integers(-1, 2))),
                "d_t": wire.float_scalar(1.0),
                "o_tp1": wire.bytes_list(pngs[first + 1 : first + 1 + STACK]),
                "a_tp1": wire.int64_scalar(int(rng.integers(6))),
                "episode_id": wire.int64_scalar(int(first)),
                "episode_return": wire.float_scalar(7.0),
            }
            file.write(records.frame(wire.encode_example(features)))


def convert_like_tianshou(rows: int, shard: pathlib.Path) -> None:
    """The anchor: converts the first `rows` records of a transition shard, one at a time."""
    import tensorflow as tf

    frames, scalar = tf.io.FixedLenFeature([STACK], tf.string), tf.io.FixedLenFeature
    description = {
        "o_t": frames,
        "o_tp1": frames,
        "a_t": scalar([], tf.int64),
        "a_tp1": scalar([], tf.int64),
        "r_t": scalar([], tf.float32),
        "d_t": scalar([], tf.float32),
        "episode_id": scalar([], tf.int64),
        "episode_return": scalar([], tf.float32),
    }

    def stacked(files: tf.Tensor) -> tf.Tensor:
        decoded = [tf.io.decode_png(files[i], channels=1) for i in range(STACK)]
        return tf.squeeze(tf.stack(decoded, axis=0), axis=-1)

    arrays: dict[str, Any] = {
        "observations": np.empty((rows, STACK, 84, 84), np.uint8),
        "next_observations": np.empty((rows, STACK, 84, 84), np.uint8),
        "actions": np.empty(rows, np.int64),
        "rewards": np.empty(rows, np.float32),
        "terminals": np.empty(rows, bool),
    }
    dataset = tf.data.TFRecordDataset(str(shard), compression_type="GZIP")
    for row, serialized in enumerate(dataset.take(rows)):
        record = tf.io.parse_single_example(serialized, description)
        arrays["observations"][row] = stacked(record["o_t"]).numpy()
        arrays["next_observations"][row] = stacked(record["o_tp1"]).numpy()
        arrays["actions"][row] = tf.cast(record["a_t"], tf.int64).numpy()
        arrays["rewards"][row] = tf.cast(record["r_t"], tf.float32).numpy()
        arrays["terminals"][row] = tf.cast(1 - record["d_t"], tf.bool).numpy()
    with tempfile.NamedTemporaryFile() as out, h5py.File(out, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip")


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Transitions per second; `ratio` is relative to `anchor`."""
    of_episodes, of_transitions, of_anchor = (
        (20_000, 2_000, 500) if quick else (500_000, 100_000, 5_000)
    )
    film = synthetic_frames(2_000)[..., None]
    pngs = encode_png(film)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        small, large = root / "small" / SHARD, root / "large" / SHARD
        write_episodes(small, pngs, EPISODE_LENGTH)
        write_episodes(large, pngs, of_episodes)
        episodes = of_episodes / _seconds(_publish, "Pong_run_1", small, large)
        write_transitions(small, pngs, _WARM_UP)
        write_transitions(large, pngs, of_transitions)
        transitions = of_transitions / _seconds(_publish, "Pong_run_1_transitions", small, large)
        anchor = of_anchor / _seconds(convert_like_tianshou, of_anchor, small, large)
    rows = [
        (ANCHOR, anchor),
        ("publish an episode shard", episodes),
        ("publish a transition shard", transitions),
    ]
    return [
        {
            "name": name,
            "value": rate,
            "unit": "transitions/s",
            "anchor": ANCHOR,
            "ratio": rate / anchor,
        }
        for name, rate in rows
    ] + _deflaters(film)


def _publish(config: str, shard: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as data_dir:
        publish(Builder(config=config, source=str(shard.parent), data_dir=data_dir))


def _seconds(
    work: Callable[..., None], what: Any, small: pathlib.Path, large: pathlib.Path
) -> float:
    """Seconds that the work takes on the large shard, after a warm-up on the small one.

    It is the better of two turns, because the first may wait for memory that the host of a virtual
    machine has lent to others.
    """
    work(what, small)
    turns = []
    for _ in range(2):
        start = time.perf_counter()
        work(what, large)
        turns.append(time.perf_counter() - start)
    return min(turns)


def _deflaters(film: np.ndarray) -> list[dict[str, Any]]:
    """Compares the libraries that can deflate a PNG file, on rows that no filter has changed."""
    ways = {
        "zlib 1": lambda rows: zlib.compress(rows, 1),
        "zlib 6": lambda rows: zlib.compress(rows, 6),
        "ISA-L 1, as frames.py does": lambda rows: isal_zlib.compress(rows, 1),
    }
    rows, anchor = [], "zlib 1"
    for name, deflate in ways.items():
        start = time.process_time()
        size = np.mean([len(deflate(frame.tobytes())) for frame in film])
        rows.append((name, len(film) / (time.process_time() - start), float(size)))
    _, its_rate, its_size = rows[0]
    return [
        row
        for name, rate, size in rows
        for row in (
            {
                "name": f"deflate by {name}",
                "value": rate,
                "unit": "frames/s a core",
                "anchor": anchor,
                "ratio": rate / its_rate,
            },
            {
                "name": f"deflated by {name}",
                "value": size,
                "unit": "bytes a frame",
                "anchor": anchor,
                "ratio": size / its_size,
            },
        )
    ]
