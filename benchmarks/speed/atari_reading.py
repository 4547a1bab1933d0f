"""Measures how fast published Atari frames become batches of stacks with n-step returns.

The data are episodes of 1,000 transitions with frames of about 1.5 kB as PNG. A batch has 32
transitions of 4 stacked frames and 3-step returns. There are two anchors: a loop over the nested
dataset of plain `tfds.load`, which gives single steps and no batches, and a tf.data pipeline with
rlds's windows, which gives the same batches. Rates are measured in turns. Only the pipeline's comes
last: while it waits, it holds threads that the nested loop needs, at times nearly all of them.
A feed's stacks are transposed on their way to JAX's device, so that is measured too.
"""

from __future__ import annotations

import functools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dm_env.specs
import jax
import numpy as np
import rlds
import tensorflow as tf
import tensorflow_datasets as tfds

from benchmarks.speed.dqn_replay import synthetic_frames
from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.publish import publish
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_frame_windows
from rl_datasets.serving.reverb import ReverbFeed, ReverbServer
from rl_datasets.serving.streaming import StreamFeed

EPISODE_LENGTH = 1000
UNIT_EPISODES = 10
BATCH = 32
STACK, N_STEP, GAMMA = 4, 3, 0.99
CUT = Cut(N_STEP, GAMMA, STACK)
SHUFFLE = 10_000  # transitions in the shuffle buffer of a feed that has one


def synthetic_episodes(first: int, count: int) -> Iterator[Episode]:
    """`count` episodes of frames, numbered from `first`; each depends only on its number."""
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        yield Episode.from_transitions(
            synthetic_frames(EPISODE_LENGTH + 1, seed=number)[..., None],
            rng.integers(0, 18, EPISODE_LENGTH),
            rng.integers(-1, 2, EPISODE_LENGTH),
            is_terminal=number % 2 == 0,
        )


class SyntheticAtari(PublishedDatasetBuilder, skip_registration=True):  # type: ignore[call-arg]
    """As many episodes as `source` says, in units of 10."""

    VERSION = tfds.core.Version("1.0.0")

    def episode_spec(self) -> EpisodeSpec:
        return EpisodeSpec(
            observation=dm_env.specs.Array((84, 84, 1), np.uint8),
            action=dm_env.specs.BoundedArray((), np.int64, 0, 17),
        )

    def source_units(self) -> Sequence[SourceUnit]:
        episodes = int(self.source or 0)
        return [
            SourceUnit(
                name=f"episodes from {first}",
                split="train",
                num_episodes=(count := min(UNIT_EPISODES, episodes - first)),
                num_transitions=count * EPISODE_LENGTH,
                files=(),
                read=functools.partial(synthetic_episodes, first, count),
            )
            for first in range(0, episodes, UNIT_EPISODES)
        ]

    def lineage(self) -> Mapping[str, Any]:
        return {"source": "synthetic", "repaired": []}


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Steps/s of reading and of every feed; `ratio` is relative to the nested loop."""
    episodes, seconds, rounds = (20, 2.0, 1) if quick else (100, 10.0, 5)
    tfds.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        version = publish(SyntheticAtari(source=str(episodes), data_dir=folder)).path
        windows = load_frame_windows(version, cut=CUT)
        with ReverbServer.from_published(version, cut=CUT) as server:
            nested = "tfds.load, the nested loop, single steps"
            feeds: dict[str, tuple[Iterator[Any], int]] = {
                nested: (_nested_loop(version), 1),
            }
            for name, make in {
                "StreamFeed": lambda: StreamFeed(version, BATCH, 0, cut=CUT, shuffle=SHUFFLE),
                "ArrayFeed over windows": lambda: ArrayFeed(windows, BATCH, 0),
                "ReverbFeed over windows": lambda: ReverbFeed(server.address, BATCH),
            }.items():
                feeds[name] = make(), BATCH
                feeds[f"{name}, put on JAX's device"] = _on_device(make()), BATCH
            rates = _in_turns(feeds, seconds, rounds)
            in_tf_data = _windows_in_tf_data(version), BATCH
            rates |= _in_turns(
                {"tfds.load, windows of rlds in tf.data": in_tf_data}, seconds, rounds
            )
    return [
        {
            "name": name,
            "value": rate,
            "unit": "steps/s",
            "anchor": nested,
            "ratio": rate / rates[nested],
        }
        for name, rate in rates.items()
    ]


def _in_turns(
    feeds: Mapping[str, tuple[Iterator[Any], int]], seconds: float, rounds: int
) -> dict[str, float]:
    """The median of several measurements of each, after one to warm up."""
    measured = [
        {name: _steps_a_second(feed, steps, seconds) for name, (feed, steps) in feeds.items()}
        for _ in range(rounds + 1)
    ]
    return {name: statistics.median(turn[name] for turn in measured[1:]) for name in feeds}


def _steps_a_second(feed: Iterator[Any], steps: int, seconds: float) -> float:
    taken, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(feed)
        taken += steps
    return taken / elapsed


def _on_device(batches: Iterator[Any]) -> Iterator[Any]:
    return (jax.block_until_ready(jax.device_put(batch)) for batch in batches)


def _published(version: pathlib.Path) -> tf.data.Dataset:
    """The dataset of `tfds.load`, repeated."""
    read_config = tfds.ReadConfig(try_autocache=False)
    return (
        tfds.builder_from_directory(version)
        .as_dataset(split="train", read_config=read_config)
        .repeat()
    )


def _nested_loop(version: pathlib.Path) -> Iterator[Any]:
    for episode in _published(version):
        yield from episode["steps"].as_numpy_iterator()


def _windows_in_tf_data(version: pathlib.Path) -> Iterator[Any]:
    """Batches of shuffled windows; windows that extend beyond their episode are left out."""
    weights = tf.constant([GAMMA**k for k in range(N_STEP)], tf.float32)

    def windows(episode: dict[str, Any]) -> tf.data.Dataset:
        return rlds.transformations.batch(
            episode["steps"], size=STACK + N_STEP, shift=1, drop_remainder=True
        )

    def transition(window: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        frames = tf.transpose(window["observation"][..., 0], (1, 2, 0))
        taken = slice(STACK - 1, STACK - 1 + N_STEP)
        reward = tf.reduce_sum(weights * window["reward"][taken])
        discount = GAMMA ** (N_STEP - 1) * tf.reduce_prod(window["discount"][taken])
        return (
            frames[..., :STACK],
            window["action"][STACK - 1],
            reward,
            discount,
            frames[..., N_STEP:],
        )

    return (
        _published(version)
        .interleave(windows, num_parallel_calls=tf.data.AUTOTUNE)
        .shuffle(SHUFFLE, seed=0)
        .map(transition, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
        .as_numpy_iterator()
    )
