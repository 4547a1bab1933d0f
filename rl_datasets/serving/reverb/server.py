"""A Reverb server that holds a whole dataset."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import pathlib
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import reverb
import tensorflow as tf
from reverb.platform.default import checkpointers

from rl_datasets import staging
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving import frame_windows, segments
from rl_datasets.serving.cut import ONE_STEP, Cut
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.loading import rows_of
from rl_datasets.serving.packing import pack, unpack
from rl_datasets.serving.part import WHOLE, Part
from rl_datasets.serving.reverb import checkpoint, filling
from rl_datasets.serving.reverb.port import check_port
from rl_datasets.serving.reverb.schema import (
    BLOCK,
    CHATTER,
    SCHEMA,
    TRANSITIONS,
    Schema,
)
from rl_datasets.serving.segments import Layout
from rl_datasets.serving.transitions import Transition, from_episode
from rl_datasets.terminal import holding_back


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
      kept: the folder to keep Reverb's checkpoint in, once the server is filled; it must not exist.
      part: goes into the schema.

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
        kept: pathlib.Path | None = None,
        part: Part = WHOLE,
    ):
        rows = pack(transitions)
        if not len(rows):
            raise DatasetError("there are no transitions to serve; name a dataset that has some")
        fingerprint = fingerprint or hashlib.sha256(rows.view(np.uint8).data).hexdigest()
        schema = Schema(rows.dtype, len(rows), BLOCK, fingerprint, None, cut, splits, part)
        self._open(schema, port, lambda address: filling.fill(address, schema, rows, seed), kept)

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
        kept: pathlib.Path | None = None,
        part: Part = WHOLE,
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
          kept: as for the class.
          part: goes into the schema.
        """
        fingerprint = fingerprint or secrets.token_hex(16)
        schema = Schema(
            layout.row, num_transitions, segments.SEGMENT, fingerprint, layout, cut, splits, part
        )
        server = cls.__new__(cls)
        server._open(
            schema, port, lambda address: filling.fill_segments(address, schema, pieces), kept
        )
        return server

    @classmethod
    def from_published(
        cls,
        version: VersionLike,
        split: str = "train",
        cut: Cut = ONE_STEP,
        port: int | None = None,
        seed: int = 0,
        checkpoints: pathlib.Path | None = None,
        part: Part = WHOLE,
    ) -> ReverbServer:
        """Serves a split of a published version: images as frame windows, others as blocks.

        Args:
          version: a published version, as `Version.open` takes it.
          split: name of the split, several joined by `+`, or `all`.
          cut: how its episodes are cut into transitions.
          port: as for the class.
          seed: as for the class.
          checkpoints: the folder of checkpoints. The server starts from the one of exactly these
            data, and makes it if there is none; None keeps none.
          part: the part of the split that this server holds; other servers hold the others.

        Raises:
          DatasetError: the checkpoint is damaged or cannot be made; or as for the class, or as
            `loading.load_transitions`.
        """
        version = Version.open(version)
        splits = sorted(version.split_names(split))
        kept = None
        if checkpoints is not None:
            kept = checkpoint.folder_of(checkpoints, version.fingerprint, splits, cut, seed, part)
            if kept.exists():
                return cls._of_checkpoint(kept, port, version.fingerprint, splits, cut, part)
        split = "+".join(splits)  # In one order, so that all servers count episodes alike.
        counts = part.counts(version, split)
        if not counts.transitions:
            raise DatasetError(
                f"part {part} of {version.location} has no transitions: name fewer parts"
            )
        episodes = part.episodes(version, split, f"loading {version.location}")
        if not frame_windows.has_images(version.episode_spec):
            by_episode = (from_episode(episode, cut) for episode in episodes)
            transitions = unpack(rows_of(by_episode, counts.transitions))
            return cls(transitions, port, seed, version.fingerprint, cut, splits, kept, part)
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
            kept,
            part,
        )

    @classmethod
    def _of_checkpoint(
        cls,
        folder: pathlib.Path,
        port: int | None,
        fingerprint: str,
        splits: Sequence[str],
        cut: Cut,
        part: Part,
    ) -> ReverbServer:
        server = cls.__new__(cls)
        try:
            # What the checkpoint says of the tables takes the place of what these say.
            server._hold(_start([_table(TRANSITIONS, 1), _table(SCHEMA, 1)], port, folder))
        except RuntimeError as error:
            raise checkpoint.damaged(folder, error) from error
        with server._stopping_on_errors():
            server.schema = checkpoint.schema_of(
                server.address, folder, fingerprint, splits, cut, part
            )
        return server

    def _open(
        self,
        schema: Schema,
        port: int | None,
        fill: Callable[[str], None],
        kept: pathlib.Path | None,
    ) -> None:
        self.schema = schema
        with contextlib.nullcontext() if kept is None else staging.staged(kept) as folder:
            self._hold(_start(_tables(schema), port, folder))
            with self._stopping_on_errors():
                fill(self.address)
                if folder is not None:
                    _keep(self.address, folder)

    def _hold(self, server: reverb.Server) -> None:
        self.address = f"localhost:{server.port}"
        self._is_stopped = threading.Event()
        # Also at the end of a process, because Reverb's own finalizer runs too late.
        self._stop = weakref.finalize(self, _stop, server, self._is_stopped)
        del server  # The finalizer has the last reference, and drops it as the server stops.

    @contextlib.contextmanager
    def _stopping_on_errors(self) -> Iterator[None]:
        try:
            yield
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
    checkpoints: pathlib.Path | None = None,
    part: Part = WHOLE,
) -> None:
    """Serves a published version until Ctrl-C, as `rl-datasets serve` does.

    Raises:
      DatasetError: as `ReverbServer.from_published`.
      KeyboardInterrupt: Ctrl-C.
    """
    of_parts = "" if part == WHOLE else f"part {part}, "
    with ReverbServer.from_published(version, split, cut, port, seed, checkpoints, part) as server:
        print(
            f"serving {server.schema.num_transitions} transitions at {server.address} "
            f"({of_parts}every interface, no encryption); Ctrl-C stops",
            flush=True,
        )
        server.wait()


def _keep(address: str, folder: pathlib.Path) -> None:
    try:
        with holding_back(CHATTER):
            reverb.Client(address).checkpoint()
    except RuntimeError as error:
        raise DatasetError(
            f"cannot write Reverb's checkpoint to {folder} ({error}): make room there, or leave "
            "out --checkpoint"
        ) from error


def _start(
    tables: Sequence[reverb.Table], port: int | None, folder: pathlib.Path | None
) -> reverb.Server:
    """A server of what the folder has a checkpoint of, otherwise of empty tables."""
    if port is not None:
        check_port(port)
    keeper = None if folder is None else checkpointers.DefaultCheckpointer(str(folder))
    with holding_back(CHATTER):
        return reverb.Server(tables, port, keeper)


def _tables(schema: Schema) -> list[reverb.Table]:
    signature = {name: tf.TensorSpec(shape, tf.uint8) for name, shape in schema.columns.items()}
    return [_table(TRANSITIONS, schema.num_blocks, signature), _table(SCHEMA, 1)]


def _table(name: str, size: int, signature: Any = None) -> reverb.Table:
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
