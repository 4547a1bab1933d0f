"""A Reverb server that holds a whole dataset, and how it is filled."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import reverb
import tensorflow as tf

from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving import frame_windows, segments
from rl_datasets.serving.cut import ONE_STEP, Cut
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.loading import load_transitions
from rl_datasets.serving.packing import pack
from rl_datasets.serving.reverb.port import check_port
from rl_datasets.serving.reverb.schema import (
    BLOCK,
    CHATTER,
    COUNTS,
    FRAMES,
    ROWS,
    SCHEMA,
    TRANSITIONS,
    Schema,
)
from rl_datasets.serving.segments import Layout
from rl_datasets.serving.transitions import Transition
from rl_datasets.terminal import holding_back, progress

BLOCKS_A_FLUSH = 32


class ReverbServer:
    """A Reverb server in this process, filled when the constructor returns.

    Use it as a context manager, or call `stop`. Otherwise it stops when nothing refers to it any
    more, or when the process ends. Nothing can be sampled until every item is there.

    Args:
      transitions: Transition of [N, ...] arrays.
      port: the port to listen on, on every interface; None picks a free one.
      seed: seeds the permutation that brings transitions together in blocks.
      fingerprint: goes into the schema; by default the sha256 of the rows.
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
    def of_frame_windows(
        cls,
        pieces: Iterable[FrameWindows],
        layout: Layout,
        num_transitions: int,
        port: int | None = None,
        fingerprint: str = "",
        cut: Cut | None = None,
        splits: Sequence[str] = (),
    ) -> ReverbServer:
        """Serves frame windows; memory needs to hold only one piece at a time.

        Args:
          pieces: for example one for each episode, or one with all transitions of a dataset.
          layout: the layout of the pieces, see `segments.layout_of`.
          num_transitions: the number of transitions in all pieces.
          port: as for the class.
          fingerprint: goes into the schema; by default 32 random digits.
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
        """Serves a split of a published version: images as frame windows, others as blocks.

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
        if not frame_windows.has_images(version.episode_spec):
            transitions = load_transitions(version, split, cut)
            return cls(transitions, port, seed, version.fingerprint, cut, splits)
        counts = version.counts(split)
        episodes = version.episodes(split, f"loading {version.folder}")
        pieces = (frame_windows.of_episode(episode, cut) for episode in episodes)
        first = next(pieces)
        return cls.of_frame_windows(
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
        # Also at the end of a process, because Reverb's own finalizer runs too late.
        self._stop = weakref.finalize(self, _stop, server, self._is_stopped)
        del server  # The finalizer has the last reference, and drops it as the server stops.
        try:
            fill(self.address)
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Blocks until the server is stopped, or until Ctrl-C, which raises `KeyboardInterrupt`."""
        self._is_stopped.wait()

    def stop(self) -> None:
        """Stops serving and frees the memory and the port."""
        self._stop()

    def __enter__(self) -> ReverbServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def serve(
    version: VersionLike,
    split: str = "train",
    cut: Cut = ONE_STEP,
    port: int | None = None,
    seed: int = 0,
) -> None:
    """Serves a published version until Ctrl-C, as `rl-datasets serve` does.

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
                writer.flush(BLOCKS_A_FLUSH // 4)  # This bounds the writer's memory.
            advance(len(chosen))
        writer.flush()


def _fill_segments(address: str, schema: Schema, pieces: Iterable[FrameWindows]) -> None:
    """Appends one block at a time, each one chunk, so Reverb compresses its frames together."""
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
        check_port(port)
    tables = [_table(TRANSITIONS, schema.num_blocks, signature), _table(SCHEMA, 1, None)]
    with holding_back(CHATTER):
        return reverb.Server(tables, port)


def _table(name: str, size: int, signature: Any) -> reverb.Table:
    """A table of `size` items, which can be sampled only when it is full."""
    return reverb.Table(
        name,
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=size,
        max_times_sampled=0,
        rate_limiter=reverb.rate_limiters.MinSize(size),
        signature=signature,
    )


def _stop(server: reverb.Server, is_stopped: threading.Event) -> None:
    with holding_back(CHATTER):
        server.stop()
    is_stopped.set()
