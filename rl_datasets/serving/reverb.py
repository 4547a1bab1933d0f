"""Batches from a Reverb server, which several learners can share.

A transition is one row of bytes (`packing.row_dtype`), and an item of the table is a block of
rows that a seeded permutation brought together: Reverb's cost is by item, so that blocks of 64 are
served forty times faster than single transitions. A feed draws blocks uniformly with replacement
and shuffles the rows of many before it cuts them into batches. Every transition is therefore
equally likely in every place of every batch, as with `ArrayFeed`, but draws are not independent:
the rows of one block appear in the same few batches, each as often as its block was drawn. Reverb
cannot seed its sampling; only `ArrayFeed` repeats a run.

Images lie in the server as single frames, once each, and an item is a segment: 16 rows with the
frames that they reach (`segments`). A feed shuffles the transitions of many segments and cuts their
stacks of frames out batch by batch. It is as with blocks, but that those of a segment follow one
another in their episode.

Every item bears a number that follows from the schema, so that a feed whose server was replaced
goes on if the new one serves the same, and stops if not.

The server listens on every interface, without encryption and without asking who calls: Reverb
offers nothing else. Serve on a trusted network, or behind a firewall.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import json
import math
import re
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import reverb
import tensorflow as tf

from rl_datasets.background import ahead
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving import segments, windows
from rl_datasets.serving.cut import ONE_STEP, Cut
from rl_datasets.serving.loading import load_transitions
from rl_datasets.serving.packing import pack
from rl_datasets.serving.segments import Layout
from rl_datasets.serving.transitions import Transition
from rl_datasets.serving.windows import Windows
from rl_datasets.terminal import holding_back, progress

TRANSITIONS = "transitions"
SCHEMA = "schema"
ROWS = "rows"
FRAMES = "frames"
BLOCK = 64
PULL_BYTES = 4 << 20  # what a feed draws and shuffles at a time where its batches are smaller
SEGMENTS_A_PULL = 256
PULLS_AHEAD = 2
BLOCKS_IN_FLIGHT = 16
BLOCKS_A_FLUSH = 32
COUNTS = 1 << 7  # An item's priority is COUNTS * tag + count: rows that are real, of BLOCK at most.
TAGS = 1 << 46  # A float64 holds whole numbers of 53 bits.
# What Reverb says of itself where nothing is wrong; it has no setting for that.
CHATTER = re.compile(
    rb"\[reverb/cc/\S+\] +(Initializing TFRecordCheckpointer|Loading latest checkpoint"
    rb"|Started replay server|Shutting down replay server|Sampler and server are owned by the same)"
)


@dataclasses.dataclass(frozen=True)
class Schema:
    """What a server serves; a feed needs its address and nothing else.

    Attributes:
      row: the structured dtype of a transition, see `packing.row_dtype`.
      num_transitions: N, of the whole split.
      block: rows of an item of the table; those of the last beyond N are padding.
      fingerprint: sha256 of the MANIFEST.json of the version; of transitions that were not
        published, that of their rows; of such windows, which come one by one, 32 random digits.
      layout: of the segments, where items are segments and not blocks.
      cut: how transitions were cut from a published version; None where they were not.
      splits: of the version.
    """

    row: np.dtype
    num_transitions: int
    block: int
    fingerprint: str
    layout: Layout | None = None
    cut: Cut | None = None
    splits: Sequence[str] = ()

    @property
    def tag(self) -> int:
        """A number that tells this schema from others; every item bears it."""
        return int.from_bytes(hashlib.sha256(self.to_json()).digest()[:8]) % TAGS

    @property
    def num_blocks(self) -> int:
        """Items in the table when it is full."""
        if self.layout is not None:
            return self.layout.num_segments
        return -(-self.num_transitions // self.block)

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the columns of an item, which are bytes."""
        if self.layout is None:
            return {ROWS: (self.block * self.row.itemsize,)}
        return {
            ROWS: (segments.SEGMENT_BLOCKS, segments.BLOCK * self.row.itemsize),
            FRAMES: (self.layout.segment_blocks, segments.BLOCK * self.layout.frame.itemsize),
        }

    def to_json(self) -> bytes:
        """The schema as JSON text, the dtypes as NumPy describes them."""
        return json.dumps(dataclasses.asdict(self), default=lambda dtype: dtype.descr).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Schema:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        row, layout, cut = (fields.pop(name) for name in ("row", "layout", "cut"))
        row = _dtype(row)
        if layout is not None:
            layout = Layout(**layout | {"row": row, "frame": _dtype(layout["frame"])})
        splits = tuple(fields.pop("splits"))
        return cls(
            row, layout=layout, cut=None if cut is None else Cut(**cut), splits=splits, **fields
        )


def _dtype(descr: list) -> np.dtype:
    return np.dtype([(name, kind, *map(tuple, shape)) for name, kind, *shape in descr])


class ReverbServer:
    """A Reverb server in this process, filled when the constructor returns.

    Use it as a context manager, or call `stop`; else it stops when it is no longer referred to, or
    the process ends. Sampling is held back until every item is there.

    Args:
      transitions: Transition of [N, ...] arrays.
      port: to listen on, on every interface; None picks a free one.
      seed: seeds the permutation that brings transitions together in blocks.
      fingerprint: goes into the schema; without one, the sha256 of the rows does.
      cut: goes into the schema.
      splits: go into the schema.

    Attributes:
      schema: what is served.
      address: what a `ReverbFeed` on this machine takes.

    Raises:
      DatasetError: there are no transitions, or the port cannot be listened on.
    """

    schema: Schema
    address: str

    def __init__(
        self,
        transitions: Transition,
        port: int | None = None,
        seed: int = 0,
        fingerprint: str = "",
        cut: Cut | None = None,
        splits: Sequence[str] = (),
    ):
        rows = pack(transitions)
        if not len(rows):
            raise DatasetError("there are no transitions to serve; name a dataset that has some")
        fingerprint = fingerprint or hashlib.sha256(rows.view(np.uint8).data).hexdigest()
        schema = Schema(rows.dtype, len(rows), BLOCK, fingerprint, None, cut, splits)
        self._open(schema, port, lambda address: _fill(address, schema, rows, seed))

    @classmethod
    def of_windows(
        cls,
        pieces: Iterable[Windows],
        layout: Layout,
        num_transitions: int,
        port: int | None = None,
        fingerprint: str = "",
        cut: Cut | None = None,
        splits: Sequence[str] = (),
    ) -> ReverbServer:
        """Serves windows over frames, of which one piece at a time need be in memory.

        Args:
          pieces: such as one an episode, or all transitions of a dataset in one.
          layout: what they hold, see `segments.layout_of`.
          num_transitions: in all pieces.
          port: as for the class.
          fingerprint: goes into the schema; without one, 32 random digits do.
          cut: goes into the schema.
          splits: go into the schema.
        """
        fingerprint = fingerprint or secrets.token_hex(16)
        schema = Schema(
            layout.row, num_transitions, segments.SEGMENT, fingerprint, layout, cut, splits
        )
        server = cls.__new__(cls)
        server._open(schema, port, lambda address: _fill_segments(address, schema, pieces))
        return server

    @classmethod
    def from_published(
        cls,
        version: VersionLike,
        split: str = "train",
        cut: Cut = ONE_STEP,
        port: int | None = None,
        seed: int = 0,
    ) -> ReverbServer:
        """Serves a split of a published version; images as windows, other observations as blocks.

        Args:
          version: a published version, as `Version.open` takes it.
          split: name of the split, several joined by `+`, or `all`.
          cut: how its episodes are cut into transitions.
          port: as for the class.
          seed: as for the class.

        Raises:
          DatasetError: as for the class, or as `loading.load_transitions`.
        """
        version = Version.open(version)
        splits = sorted(version.split_names(split))
        if not windows.has_images(version.episode_spec):
            transitions = load_transitions(version, split, cut)
            return cls(transitions, port, seed, version.fingerprint, cut, splits)
        counts = version.counts(split)
        episodes = version.episodes(split, f"loading {version.folder}")
        pieces = (windows.of_episode(episode, cut) for episode in episodes)
        first = next(pieces)
        return cls.of_windows(
            itertools.chain([first], pieces),
            segments.layout_of(first, counts.transitions + counts.episodes, cut.n_step),
            counts.transitions,
            port,
            version.fingerprint,
            cut,
            splits,
        )

    def _open(self, schema: Schema, port: int | None, fill: Callable[[str], None]) -> None:
        self.schema = schema
        server = _start(schema, port)
        self.address = f"localhost:{server.port}"
        self._is_stopped = threading.Event()
        # At the end of a process too: Reverb's own finalizer comes when half of Python is gone.
        self._stop = weakref.finalize(self, _stop, server, self._is_stopped)
        del server  # The last reference is that one, which goes as it stops.
        try:
            fill(self.address)
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Blocks until Ctrl-C, which it raises as `KeyboardInterrupt`, or until it is stopped."""
        self._is_stopped.wait()

    def stop(self) -> None:
        """Stops serving and frees the memory and the port."""
        self._stop()

    def __enter__(self) -> ReverbServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _stop(server: reverb.Server, is_stopped: threading.Event) -> None:
    with holding_back(CHATTER):
        server.stop()
    is_stopped.set()


def serve(
    version: VersionLike,
    split: str = "train",
    cut: Cut = ONE_STEP,
    port: int | None = None,
    seed: int = 0,
) -> None:
    """Serves a published version until Ctrl-C; what `rl-datasets serve` does.

    Raises:
      DatasetError: as `ReverbServer.from_published`.
      KeyboardInterrupt: Ctrl-C.
    """
    with ReverbServer.from_published(version, split, cut, port, seed) as server:
        print(
            f"serving {server.schema.num_transitions} transitions at {server.address} "
            "(every interface, no encryption); Ctrl-C stops",
            flush=True,
        )
        server.wait()


class ReverbFeed(Iterator[Transition]):
    """Batches from a Reverb server that serves a whole dataset.

    Args:
      address: `host:port` of a `ReverbServer`.
      batch_size: B.
      steps: K, to give [K, B, ...] at a time; None gives [B, ...].
      seed: seeds the shuffling here; the server's sampling cannot be seeded.
      timeout: seconds to wait for the server to answer, to be full, and for each batch.

    A server that dies may be replaced by one that serves the same; from any other, `next` raises.

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
        self._batches = windows.batches(pools, shape, np.random.default_rng(seed))
        if (layout := self.schema.layout) is not None:
            at_once = windows.batches_a_chunk(layout.frame.itemsize, layout.stack, math.prod(shape))
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
            f"no Reverb server answers at {address}; start it with `rl-datasets serve`, or mend "
            "the address"
        ) from error


def _read_schema(client: reverb.Client) -> Schema:
    with holding_back(CHATTER):
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
            # A Uniform sampler ignores the priority.
            priority = COUNTS * schema.tag + len(chosen)
            writer.create_item(TRANSITIONS, priority, {ROWS: writer.history[ROWS][-1]})
            if number % BLOCKS_A_FLUSH == 0:
                writer.flush(BLOCKS_A_FLUSH // 4)  # holds the writer's memory down
            advance(len(chosen))
        writer.flush()


def _fill_segments(address: str, schema: Schema, pieces: Iterable[Windows]) -> None:
    """An append is a block, and so is a chunk: Reverb compresses the frames of a block together."""
    client = reverb.Client(address)
    client.insert(np.frombuffer(schema.to_json(), np.uint8), {SCHEMA: 1.0})
    layout = schema.layout
    assert layout is not None
    held = layout.segment_blocks
    with client.trajectory_writer(num_keep_alive_refs=held) as writer:
        for column in (ROWS, FRAMES):
            writer.configure((column,), num_keep_alive_refs=held, max_chunk_length=1)
        items = 0
        for number, (frames, rows) in enumerate(segments.blocks(pieces, layout), start=1):
            writer.append({ROWS: _bytes_of(rows), FRAMES: _bytes_of(frames)})
            if number < segments.SEGMENT_BLOCKS * items + held:
                continue
            columns = {
                ROWS: writer.history[ROWS][-held:][: segments.SEGMENT_BLOCKS],
                FRAMES: writer.history[FRAMES][-held:],
            }
            writer.create_item(TRANSITIONS, COUNTS * schema.tag, columns)
            items += 1
            if items % BLOCKS_A_FLUSH == 0:
                writer.flush(BLOCKS_A_FLUSH // 4)
        writer.flush()


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), np.uint8)


def _start(schema: Schema, port: int | None) -> reverb.Server:
    signature = {name: tf.TensorSpec(shape, tf.uint8) for name, shape in schema.columns.items()}
    if port is not None:
        _check_port(port)
    tables = [_table(TRANSITIONS, schema.num_blocks, signature), _table(SCHEMA, 1, None)]
    with holding_back(CHATTER):
        return reverb.Server(tables, port)


def _check_port(port: int) -> None:
    """Reverb would share a port with another server, and each would get half of the calls."""
    try:
        with _listen(port):
            pass
    except (OSError, OverflowError) as error:
        raise DatasetError(
            f"cannot listen on port {port} ({error}); choose another with --port"
        ) from error


def _listen(port: int) -> socket.socket:
    """On every interface, of IPv4 alone where this machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    return socket.create_server(("", port))


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


def _pools(
    address: str, schema: Schema, size: int, timeout: float
) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Frames, or None, and rows of many items at a time, of at least `size` rows if of blocks."""
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
    """So many items at a time: their counts [items], and their columns [items, ...] uint8.

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
                "or cuts it otherwise, than when this feed began; serve the first again, and go on "
                "from what is whole"
            )
        yield counts, pull
