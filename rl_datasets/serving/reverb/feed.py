"""Batches from a Reverb server."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import reverb
import tensorflow as tf

from rl_datasets.background import ahead
from rl_datasets.errors import DatasetError
from rl_datasets.serving import frame_windows, segments
from rl_datasets.serving.reverb.schema import (
    CHATTER,
    COUNTS,
    FRAMES,
    ROWS,
    SCHEMA,
    TRANSITIONS,
    Schema,
)
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
      timeout: seconds to wait for the server to answer, to be full, and for each batch.

    A server that dies may be replaced by one that serves the same; with any other, `next` raises.

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
        self._address = address
        self._timeout = timeout
        shape = (batch_size,) if steps is None else (steps, batch_size)
        pools = ahead(_pools(address, self.schema, math.prod(shape), timeout), timeout=timeout)
        pools = frame_windows.shuffled(pools, np.random.default_rng(seed))
        self._batches = frame_windows.batches(pools, shape)
        if (layout := self.schema.layout) is not None:
            at_once = frame_windows.batches_a_chunk(
                layout.frame.itemsize, layout.stack, math.prod(shape)
            )
            self._batches = ahead(self._batches, at_once)

    def __next__(self) -> Transition:
        try:
            return next(self._batches)
        except (tf.errors.OpError, StopIteration, TimeoutError) as error:
            raise DatasetError(
                f"the Reverb server at {self._address} gave nothing for {self._timeout:g} s; start "
                "it again with `rl-datasets serve`"
            ) from error


def wait_until_full(address: str, timeout: float) -> Schema:
    """The schema of a server, once it holds every block.

    Raises:
      DatasetError: the server cannot be reached, is not one of ours, or is not full in time.
    """
    client = reverb.Client(address)
    deadline = time.monotonic() + timeout
    schema, held = None, 0
    while True:
        tables = _server_info(client, address, deadline)
        if tables.keys() != {SCHEMA, TRANSITIONS}:
            raise DatasetError(
                f"the Reverb server at {address} has the tables {sorted(tables)}; start one with "
                "`rl-datasets serve`"
            )
        if schema is None and tables[SCHEMA].current_size:
            schema = _read_schema(client)
        held = tables[TRANSITIONS].current_size
        if schema is not None and held == schema.num_blocks:
            return schema
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    expected = schema.num_blocks if schema else "an unknown number of"
    raise DatasetError(
        f"the Reverb server at {address} holds {held} of {expected} blocks after {timeout:g} s: "
        "wait until `rl-datasets serve` prints its address, or start it again"
    )


def _server_info(client: reverb.Client, address: str, deadline: float) -> dict[str, Any]:
    try:
        return client.server_info(max(1, round(deadline - time.monotonic())))
    except (reverb.errors.DeadlineExceededError, RuntimeError) as error:
        raise DatasetError(
            f"no Reverb server answers at {address}; start it with `rl-datasets serve`, or correct "
            "the address"
        ) from error


def _read_schema(client: reverb.Client) -> Schema:
    with holding_back(CHATTER):
        sample = next(client.sample(SCHEMA, emit_timesteps=False))
    return Schema.from_json(sample.data[0].tobytes())


def _pools(
    address: str, schema: Schema, size: int, timeout: float
) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Frames, or None, and rows of many items at a time; of blocks, at least `size` rows."""
    if schema.layout is not None:
        for _, columns in _samples(address, schema, SEGMENTS_A_PULL, timeout):
            frames, rows = (
                columns[name].reshape(len(columns[name]), -1).view(dtype)
                for name, dtype in ((FRAMES, schema.layout.frame), (ROWS, schema.row))
            )
            yield segments.pool(frames["frame"], rows)
        return
    rows_a_pull = max(PULL_BYTES // schema.row.itemsize, size)
    for counts, columns in _samples(address, schema, -(-rows_a_pull // schema.block), timeout):
        rows = columns[ROWS].view(schema.row)
        yield None, rows[np.arange(schema.block) < counts[:, None]]


def _samples(
    address: str, schema: Schema, items: int, timeout: float
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
        rate_limiter_timeout_ms=round(1000 * timeout),
    )
    columns = samples.map(lambda sample: (sample.info.priority, sample.data))
    batches = columns.batch(items, drop_remainder=True).prefetch(PULLS_AHEAD)
    with holding_back(CHATTER):
        pulls = batches.as_numpy_iterator()
        first = list(itertools.islice(pulls, 1))
    for priorities, pull in itertools.chain(first, pulls):
        tags, counts = np.divmod(priorities.astype(np.int64), COUNTS)
        if np.any(tags != schema.tag):
            raise DatasetError(
                f"the Reverb server at {address} was replaced by one that serves another dataset, "
                "or cuts it differently; serve the first dataset again, and continue from a "
                "checkpoint"
            )
        yield counts, pull
