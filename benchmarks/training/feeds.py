"""Where a run's batches come from: arrays in memory, a version's files, or a Reverb server."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.training.cells import Cell
from benchmarks.training.preparation import check_served
from benchmarks.training.tasks.choice import Task
from benchmarks.training.tasks.control import with_extras
from rl_datasets.published import reader
from rl_datasets.published.version import Version
from rl_datasets.serving.transitions import Transition

if TYPE_CHECKING:
    from rl_datasets.serving.arrays import ArrayFeed
    from rl_datasets.serving.source_samplings import SourceFeed


@contextlib.contextmanager
def open_feed(
    cell: Cell, task: Task, feed: str, steps_a_call: int, step: int
) -> Iterator[Iterator[Transition]]:
    """Batches [K, B, ...] from `step` on; a Reverb server's cannot be repeated."""
    batch_size, split = cell.recipe.batch_size, task.row.data.split
    if feed == "arrays":
        arrays = _arrays(task, batch_size, cell.seed, steps_a_call)
        arrays.seek(step)
        yield arrays
    elif feed == "stream":
        from rl_datasets.serving.streaming import StreamFeed

        _check_shards(task.version, split)
        stream = StreamFeed(
            task.version,
            batch_size,
            cell.seed,
            steps_a_call,
            split,
            task.cut,
            share=task.row.data.uniform_share(),
        )
        stream.seek(step)
        yield (with_extras(batch, ()) for batch in stream)
    elif feed == "reverb":
        from rl_datasets.serving.reverb import ReverbServer

        with ReverbServer.from_published(task.version, split, task.cut, seed=cell.seed) as server:
            yield _reverb_feed(server.address, task, batch_size, steps_a_call, cell.seed)
    else:
        yield _reverb_feed(feed, task, batch_size, steps_a_call, cell.seed)


def _arrays(task: Task, batch_size: int, seed: int, steps: int) -> ArrayFeed | SourceFeed:
    from rl_datasets.serving.arrays import ArrayFeed

    if task.sampling is None:
        return ArrayFeed(task.transitions(), batch_size, seed, steps)
    _check_shards(task.version, task.row.data.split)
    return task.source_feed(task.sampling, batch_size, seed, steps)


@functools.cache  # Once a process is enough: what other feeds read is checked as they load it.
def _check_shards(version: Version, split: str) -> None:
    reader.check_shards(version, split)


def _reverb_feed(
    address: str, task: Task, batch_size: int, steps_a_call: int, seed: int
) -> Iterator[Transition]:
    from rl_datasets.serving.reverb import ReverbFeed

    feed = ReverbFeed(address.split(","), batch_size, steps=steps_a_call, seed=seed)
    check_served(address, feed.schema, task)
    return (with_extras(batch, task.extras) for batch in feed)
