"""Batches from a Reverb server."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
import reverb
import tensorflow as tf

from rl_datasets.background import ahead
from rl_datasets.serving import frame_windows, segments
from rl_datasets.serving.reverb.connection import (
    ANSWER_SECONDS,
    NotServingError,
    check_still_serves,
    replaced,
    wait_for_return,
    wait_until_full,
)
from rl_datasets.serving.reverb.schema import CHATTER, COUNTS, FRAMES, ROWS, TRANSITIONS, Schema
from rl_datasets.serving.transitions import Transition
from rl_datasets.terminal import holding_back

PULL_BYTES = 4 << 20  # A feed draws and shuffles this much at a time if its batches are smaller.
SEGMENTS_A_PULL = 256
PULLS_AHEAD = 2
BLOCKS_IN_FLIGHT = 16


class ReverbFeed(Iterator[Transition]):
    """Batches from a Reverb server that serves a whole dataset.

    Args:
      address: `host:port` of a `ReverbServer`.
      batch_size: B.
      steps: K, to give [K, B, ...] at a time; None gives [B, ...].
      seed: seeds the shuffling here; the server's sampling cannot be seeded.
      timeout: seconds to wait, at the start, for the server to answer and to be full.

    A server that is lost later is waited for, without a limit: a line on standard error says so.
    Nothing is drawn until it serves the whole dataset again; if it serves another, `next` raises.

    Raises:
      DatasetError: the server cannot be reached, is not one of ours, or is still not full.
      ValueError: batch_size, steps or timeout is not positive.
    """

    def __init__(
        self,
        address: str,
        batch_size: int,
        steps: int | None = None,
        seed: int = 0,
        timeout: float = 60.0,
    ):
        if batch_size < 1 or (steps is not None and steps < 1) or not timeout > 0:
            raise ValueError(
                f"batch_size={batch_size}, steps={steps} and timeout={timeout} must be positive"
            )
        self.schema = wait_until_full(address, timeout)
        shape = (batch_size,) if steps is None else (steps, batch_size)
        self._batches = _lasting(address, self.schema, shape, np.random.default_rng(seed))

    def __next__(self) -> Transition:
        return next(self._batches)


def _lasting(
    address: str, schema: Schema, shape: tuple[int, ...], rng: np.random.Generator
) -> Iterator[Transition]:
    """Batches without end: what was under way when a server was lost is drawn anew."""
    while True:
        # Reverb itself tries to reach a lost server for ever, and says nothing.
        with contextlib.suppress(NotServingError, tf.errors.OpError):
            yield from _batches(address, schema, shape, rng)
        wait_for_return(address, schema)


def _batches(
    address: str, schema: Schema, shape: tuple[int, ...], rng: np.random.Generator
) -> Iterator[Transition]:
    """Batches until the server is lost."""
    watch = functools.partial(check_still_serves, address, schema)
    pools = ahead(_pools(address, schema, math.prod(shape)), watch=watch)
    batches = frame_windows.batches(frame_windows.shuffled(pools, rng), shape)
    if (layout := schema.layout) is None:
        return batches
    at_once = frame_windows.batches_a_chunk(layout.frame.itemsize, layout.stack, math.prod(shape))
    return ahead(batches, at_once, watch)


def _pools(
    address: str, schema: Schema, size: int
) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Frames, or None, and rows of many items at a time; of blocks, at least `size` rows."""
    if schema.layout is not None:
        for _, columns in _samples(address, schema, SEGMENTS_A_PULL):
            frames, rows = (
                columns[name].reshape(len(columns[name]), -1).view(dtype)
                for name, dtype in ((FRAMES, schema.layout.frame), (ROWS, schema.row))
            )
            yield segments.pool(frames["frame"], rows)
        return
    rows_a_pull = max(PULL_BYTES // schema.row.itemsize, size)
    for counts, columns in _samples(address, schema, -(-rows_a_pull // schema.block)):
        rows = columns[ROWS].view(schema.row)
        yield None, rows[np.arange(schema.block) < counts[:, None]]


def _samples(
    address: str, schema: Schema, items: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields items together: their counts [items], and their columns [items, ...] uint8.

    Raises:
      DatasetError: items are of another schema, because the server was replaced.
    """
    samples = reverb.TrajectoryDataset(
        address,
        TRANSITIONS,
        dtypes=dict.fromkeys(schema.columns, tf.uint8),
        shapes={name: tf.TensorShape(shape) for name, shape in schema.columns.items()},
        max_in_flight_samples_per_worker=BLOCKS_IN_FLIGHT,
        rate_limiter_timeout_ms=round(1000 * ANSWER_SECONDS),
    )
    columns = samples.map(lambda sample: (sample.info.priority, sample.data))
    batches = columns.batch(items, drop_remainder=True).prefetch(PULLS_AHEAD)
    with holding_back(CHATTER):
        pulls = batches.as_numpy_iterator()
        first = list(itertools.islice(pulls, 1))
    for priorities, pull in itertools.chain(first, pulls):
        tags, counts = np.divmod(priorities.astype(np.int64), COUNTS)
        if np.any(tags != schema.tag):
            raise replaced(address)
        yield counts, pull
