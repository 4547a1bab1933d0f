"""Batches from a Reverb server."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

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
    schemas_of,
    wait_for_return,
)
from rl_datasets.serving.reverb.schema import CHATTER, COUNTS, FRAMES, ROWS, TRANSITIONS, Schema
from rl_datasets.serving.transitions import Transition
from rl_datasets.terminal import holding_back

PULL_BYTES = 4 << 20  # A feed draws and shuffles this much at a time if its batches are smaller.
SEGMENTS_A_PULL = 256
PULLS_AHEAD = 2
BLOCKS_IN_FLIGHT = 16


class ReverbFeed(Iterator[Transition]):
    """Batches from a Reverb server that serves a whole dataset, or from servers of all its parts.

    Args:
      address: `host:port` of a `ReverbServer`; or those of all parts, in any order.
      batch_size: B.
      steps: K, to give [K, B, ...] at a time; None gives [B, ...].
      seed: seeds the shuffling here; the server's sampling cannot be seeded.
      timeout: seconds to wait, at the start, for each server to answer and to be full.

    Of several servers each is drawn from in proportion to what it holds, item by item.

    A server that is lost later is waited for, without a limit: a line on standard error says so.
    Nothing is drawn until it serves the whole dataset again; if it serves another, `next` raises.

    Attributes:
      schema: what the server serves; of several, the first.

    Raises:
      DatasetError: a server cannot be reached, is not one of ours, or is still not full; or the
        servers do not hold each part of one dataset once.
      ValueError: batch_size, steps or timeout is not positive.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        batch_size: int,
        steps: int | None = None,
        seed: int = 0,
        timeout: float = 60.0,
    ):
        if batch_size < 1 or (steps is not None and steps < 1) or not timeout > 0:
            raise ValueError(
                f"batch_size={batch_size}, steps={steps} and timeout={timeout} must be positive"
            )
        addresses = [address] if isinstance(address, str) else list(address)
        served = dict(zip(addresses, schemas_of(addresses, timeout), strict=True))
        self.schema = served[addresses[0]]
        shape = (batch_size,) if steps is None else (steps, batch_size)
        self._batches = _lasting(served, shape, np.random.default_rng(seed))

    def __next__(self) -> Transition:
        return next(self._batches)


def _lasting(
    served: Mapping[str, Schema], shape: tuple[int, ...], rng: np.random.Generator
) -> Iterator[Transition]:
    """Batches without end: what was under way when a server was lost is drawn anew."""
    while True:
        # Reverb itself tries to reach a lost server for ever, and says nothing.
        with contextlib.suppress(NotServingError, tf.errors.OpError):
            yield from _batches(served, shape, rng)
        for address, schema in served.items():
            wait_for_return(address, schema)


def _batches(
    served: Mapping[str, Schema], shape: tuple[int, ...], rng: np.random.Generator
) -> Iterator[Transition]:
    """Batches until a server is lost."""
    watch = functools.partial(check_still_serves, served)
    layout = next(iter(served.values())).layout
    pools = _pools(served, math.prod(shape), seed=int(rng.integers(1 << 31)))
    # Only the caller asks a server: a thread that did as the process ends would abort it.
    pools = ahead(pools, watch=watch if layout is None else lambda: None)
    batches = frame_windows.batches(frame_windows.shuffled(pools, rng), shape)
    if layout is None:
        return batches
    at_once = frame_windows.batches_a_chunk(layout.frame.itemsize, layout.stack, math.prod(shape))
    return ahead(batches, at_once, watch)


def _pools(
    served: Mapping[str, Schema], size: int, seed: int
) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Frames, or None, and rows of many items at a time; of blocks, at least `size` rows."""
    schema = next(iter(served.values()))
    if schema.layout is not None:
        for _, columns in _samples(served, SEGMENTS_A_PULL, seed):
            frames, rows = (
                columns[name].reshape(len(columns[name]), -1).view(dtype)
                for name, dtype in ((FRAMES, schema.layout.frame), (ROWS, schema.row))
            )
            yield segments.pool(frames["frame"], rows)
        return
    rows_a_pull = max(PULL_BYTES // schema.row.itemsize, size)
    for counts, columns in _samples(served, -(-rows_a_pull // schema.block), seed):
        rows = columns[ROWS].view(schema.row)
        yield None, rows[np.arange(schema.block) < counts[:, None]]


def _samples(
    served: Mapping[str, Schema], items: int, seed: int = 0
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields items together: their counts [items], and their columns [items, ...] uint8.

    Args:
      served: the schema of each server, by its address.
      items: how many together.
      seed: seeds which server each item is drawn from.

    Raises:
      DatasetError: items are of another schema, because the server was replaced.
    """
    addresses, tags = list(served), np.array([schema.tag for schema in served.values()])
    datasets = [_dataset(*of_server) for of_server in enumerate(served.items())]
    samples = datasets[0]
    if len(datasets) > 1:
        blocks = np.array([schema.num_blocks for schema in served.values()])
        samples = tf.data.Dataset.sample_from_datasets(
            datasets, (blocks / blocks.sum()).tolist(), seed, stop_on_empty_dataset=True
        )
    batches = samples.batch(items, drop_remainder=True).prefetch(PULLS_AHEAD)
    with holding_back(CHATTER):
        pulls = batches.as_numpy_iterator()
        first = list(itertools.islice(pulls, 1))
    for servers, priorities, pull in itertools.chain(first, pulls):
        of_items, counts = np.divmod(priorities.astype(np.int64), COUNTS)
        if np.any(wrong := of_items != tags[servers]):
            raise replaced(addresses[servers[wrong][0]])
        yield counts, pull


def _dataset(number: int, of_server: tuple[str, Schema]) -> tf.data.Dataset:
    """Items of a server: its number, their priority, and their columns."""
    address, schema = of_server
    samples = reverb.TrajectoryDataset(
        address,
        TRANSITIONS,
        dtypes=dict.fromkeys(schema.columns, tf.uint8),
        shapes={name: tf.TensorShape(shape) for name, shape in schema.columns.items()},
        max_in_flight_samples_per_worker=BLOCKS_IN_FLIGHT,
        rate_limiter_timeout_ms=round(1000 * ANSWER_SECONDS),
    )
    return samples.map(lambda sample: (number, sample.info.priority, sample.data))
