"""Batches from a Reverb server, which several learners can share.

A transition is one row of bytes (`transitions.row_dtype`), and an item of the table is a block of
rows that a seeded permutation brought together: Reverb's cost is by item, so that blocks of 64 are
served forty times faster than single transitions. A feed draws blocks uniformly with replacement
and shuffles the rows of many before it cuts them into batches. Every transition is therefore
equally likely in every place of every batch, as with `ArrayFeed`, but draws are not independent:
the rows of one block appear in the same few batches, each as often as its block was drawn. Reverb
cannot seed its sampling; only `ArrayFeed` repeats a run.

The server listens on every interface, without encryption and without asking who calls: Reverb
offers nothing else. Serve on a trusted network, or behind a firewall.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import reverb
import tensorflow as tf

from rl_datasets.errors import DatasetError
from rl_datasets.serving.transitions import Transition, load_transitions, pack, progress, unpack

T = TypeVar("T")

TRANSITIONS = "transitions"
SCHEMA = "schema"
ROWS = "rows"
BLOCK = 64
PULL_BYTES = 4 << 20  # what a feed draws and shuffles at a time where its batches are smaller
PULLS_AHEAD = 2
BLOCKS_IN_FLIGHT = 16
BLOCKS_A_FLUSH = 32


@dataclasses.dataclass(frozen=True)
class Schema:
    """What a server serves; a feed needs its address and nothing else.

    Attributes:
      row: the structured dtype of a transition, see `transitions.row_dtype`.
      num_transitions: N, of the whole split.
      block: rows of an item of the table; those of the last beyond N are padding.
      fingerprint: sha256 of the MANIFEST.json of the version, empty if it is not published.
    """

    row: np.dtype
    num_transitions: int
    block: int
    fingerprint: str

    @property
    def num_blocks(self) -> int:
        """Items in the table when it is full."""
        return -(-self.num_transitions // self.block)

    def to_json(self) -> bytes:
        """The schema as JSON text, the dtype as NumPy describes it."""
        return json.dumps(dataclasses.asdict(self) | {"row": self.row.descr}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Schema:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        row = [(name, kind, *map(tuple, shape)) for name, kind, *shape in fields.pop("row")]
        return cls(row=np.dtype(row), **fields)


class ReverbServer:
    """A Reverb server in this process, filled when the constructor returns.

    Use it as a context manager, or call `stop`. Sampling is held back until every block is there.

    Args:
      transitions: Transition of [N, ...] arrays.
      port: to listen on, on every interface; None picks a free one.
      seed: seeds the permutation that brings transitions together in blocks.
      fingerprint: goes into the schema.

    Attributes:
      schema: what is served.
      address: what a `ReverbFeed` on this machine takes.

    Raises:
      DatasetError: there are no transitions, or the port cannot be listened on.
    """

    def __init__(
        self, transitions: Transition, port: int | None = None, seed: int = 0, fingerprint: str = ""
    ):
        rows = pack(transitions)
        if not len(rows):
            raise DatasetError("there are no transitions to serve; name a dataset that has some")
        self.schema = Schema(rows.dtype, len(rows), BLOCK, fingerprint)
        self._server: reverb.Server | None = _start(self.schema, port)
        self.address = f"localhost:{self._server.port}"
        try:
            _fill(self.address, self.schema, rows, seed)
        except BaseException:
            self.stop()
            raise

    @classmethod
    def from_published(
        cls,
        version_dir: str | os.PathLike[str],
        split: str = "train",
        port: int | None = None,
        seed: int = 0,
        n_step: int = 1,
        gamma: float = 1.0,
        frame_stack: int = 1,
    ) -> ReverbServer:
        """Serves a split of a published version; see `transitions.load_transitions`."""
        from rl_datasets import files
        from rl_datasets.publishing import manifest

        transitions = load_transitions(version_dir, split, n_step, gamma, frame_stack)
        fingerprint = files.sha256_of(pathlib.Path(version_dir) / manifest.FILE_NAME)
        return cls(transitions, port, seed, fingerprint)

    def wait(self) -> None:
        """Blocks until Ctrl-C, which it raises as `KeyboardInterrupt`."""
        if self._server is not None:
            self._server.wait()

    def stop(self) -> None:
        """Stops serving and frees the memory and the port."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> ReverbServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def serve(
    version_dir: str | os.PathLike[str],
    split: str = "train",
    port: int | None = None,
    seed: int = 0,
    n_step: int = 1,
    gamma: float = 1.0,
    frame_stack: int = 1,
) -> None:
    """Serves a published version until Ctrl-C; what `rl-datasets serve` does.

    Raises:
      DatasetError: as `ReverbServer.from_published`.
    """
    with ReverbServer.from_published(
        version_dir, split, port, seed, n_step, gamma, frame_stack
    ) as server:
        print(
            f"serving {server.schema.num_transitions} transitions at {server.address} "
            "(every interface, no encryption); Ctrl-C stops",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()


class ReverbFeed(Iterator[Transition]):
    """Batches from a Reverb server that serves a whole dataset.

    Args:
      address: `host:port` of a `ReverbServer`.
      batch_size: B.
      steps: K, to give [K, B, ...] at a time; None gives [B, ...].
      seed: seeds the shuffling here; the server's sampling cannot be seeded.
      timeout: seconds to wait for the server to answer, to be full, and for each batch.

    Raises:
      DatasetError: the server cannot be reached, is not one of ours, or is still not full.
    """

    def __init__(
        self,
        address: str,
        batch_size: int,
        steps: int | None = None,
        seed: int = 0,
        timeout: float = 60.0,
    ):
        if batch_size < 1 or (steps is not None and steps < 1):
            raise ValueError(f"batch_size={batch_size} and steps={steps} must be positive")
        self.schema = wait_until_full(address, timeout)
        self._address = address
        self._timeout = timeout
        self._shape = (batch_size,) if steps is None else (steps, batch_size)
        self._rng = np.random.default_rng(seed)
        self._rest = np.empty(0, self.schema.row)
        row_bytes = self.schema.row.itemsize
        rows_a_pull = max(PULL_BYTES // row_bytes, math.prod(self._shape))
        blocks_a_pull = -(-rows_a_pull // self.schema.block)
        self._blocks = _block_dataset(address, self.schema, blocks_a_pull, timeout)
        self._ready: Iterator[Transition] = iter(())
        self._pending = _in_background(self._pull)

    def __next__(self) -> Transition:
        transitions = next(self._ready, None)
        while transitions is None:
            self._ready = iter(self._next_pull())
            transitions = next(self._ready, None)
        return transitions

    def _next_pull(self) -> list[Transition]:
        try:
            batches = self._pending.result(self._timeout)
        except (tf.errors.OpError, StopIteration, TimeoutError) as error:
            raise DatasetError(
                f"the Reverb server at {self._address} gave nothing for {self._timeout:g} s; start "
                "it again with `rl-datasets serve`"
            ) from error
        self._pending = _in_background(self._pull)
        return batches

    def _pull(self) -> list[Transition]:
        counts, blocks = next(self._blocks)
        rows = blocks.view(self.schema.row)
        rows = rows[np.arange(self.schema.block) < counts[:, None]]
        rows = np.concatenate([self._rest, rows])
        rows = np.take(rows, self._rng.permutation(len(rows)), mode="clip")
        size = math.prod(self._shape)
        whole = len(rows) // size * size
        self._rest = rows[whole:].copy()
        return [unpack(batch) for batch in rows[:whole].reshape(-1, *self._shape)]


def _in_background(function: Callable[[], T]) -> concurrent.futures.Future[T]:
    """Calls in a daemon thread: Reverb's client waits for ever for a server that died."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # whoever asks for the result is told
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


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
            f"no Reverb server answers at {address}; start it with `rl-datasets serve`, or mend "
            "the address"
        ) from error


def _read_schema(client: reverb.Client) -> Schema:
    sample = next(client.sample(SCHEMA, emit_timesteps=False))
    return Schema.from_json(sample.data[0].tobytes())


def _fill(address: str, schema: Schema, rows: np.ndarray, seed: int) -> None:
    client = reverb.Client(address)
    client.insert(np.frombuffer(schema.to_json(), np.uint8), {SCHEMA: 1.0})
    order = np.random.default_rng(seed).permutation(len(rows))
    with (
        client.trajectory_writer(num_keep_alive_refs=1) as writer,
        progress(f"filling {address}", len(rows)) as advance,
    ):
        for number, start in enumerate(range(0, len(rows), schema.block), start=1):
            chosen = order[start : start + schema.block]
            block = np.zeros(schema.block, schema.row)
            block[: len(chosen)] = rows[chosen]
            writer.append({ROWS: block.view(np.uint8)})
            # A Uniform sampler ignores the priority: it tells the feed how many rows are real.
            writer.create_item(TRANSITIONS, len(chosen), {ROWS: writer.history[ROWS][-1]})
            if number % BLOCKS_A_FLUSH == 0:
                writer.flush(BLOCKS_A_FLUSH // 4)  # holds the writer's memory down
            advance(len(chosen))
        writer.flush()


def _start(schema: Schema, port: int | None) -> reverb.Server:
    row_bytes = schema.block * schema.row.itemsize
    block = {ROWS: tf.TensorSpec((row_bytes,), tf.uint8)}
    if port is not None:
        _check_port(port)
    return reverb.Server(
        [_table(TRANSITIONS, schema.num_blocks, block), _table(SCHEMA, 1, None)], port
    )


def _check_port(port: int) -> None:
    """Reverb would share a port with another server, and each would get half of the calls."""
    try:
        with socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True):
            pass
    except (OSError, OverflowError) as error:
        raise DatasetError(
            f"cannot listen on port {port} ({error}); choose another with --port"
        ) from error


def _table(name: str, size: int, signature: Any) -> reverb.Table:
    """A table that holds `size` items for good and lets none be sampled before it has them all."""
    return reverb.Table(
        name,
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=size,
        max_times_sampled=0,
        rate_limiter=reverb.rate_limiters.MinSize(size),
        signature=signature,
    )


def _block_dataset(
    address: str, schema: Schema, blocks: int, timeout: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks at a time: their numbers of real rows [blocks], and their bytes [blocks, bytes]."""
    samples = reverb.TrajectoryDataset(
        address,
        TRANSITIONS,
        dtypes={ROWS: tf.uint8},
        shapes={ROWS: tf.TensorShape((schema.block * schema.row.itemsize,))},
        max_in_flight_samples_per_worker=BLOCKS_IN_FLIGHT,
        rate_limiter_timeout_ms=round(1000 * timeout),
    )
    rows = samples.map(lambda sample: (sample.info.priority, sample.data[ROWS]))
    return rows.batch(blocks, drop_remainder=True).prefetch(PULLS_AHEAD).as_numpy_iterator()
