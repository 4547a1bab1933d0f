"""Reads a run of DQN Replay: first its contents, then its episodes."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rl_datasets import errors, frames
from rl_datasets.episode import Episode
from rl_datasets.sources import atari
from rl_datasets.sources.dqn_replay import checkpoints, episode_index, gzipped, layout

_BATCH = 64  # Frames in memory at once: they fit in a processor's cache.


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """The contents of a folder of checkpoints, found without its frames.

    Attributes:
      units: one for each checkpoint in which an episode begins.
      faults: what is wrong with each checkpoint that cannot be read, by its number.
      repaired: what was left out or repaired, one sentence each.
    """

    units: tuple[episode_index.Unit, ...]
    faults: Mapping[int, str]
    repaired: tuple[str, ...]


def read_run(folder: str | os.PathLike[str], time_limit: int = layout.TIME_LIMIT) -> LoggedRun:
    """Finds the episodes of a run without reading its frames.

    Args:
      folder: the folder of the checkpoints, such as `Pong/1/replay_logs`.
      time_limit: number of rows after which the run's environment ended an episode.

    Raises:
      DatasetError: there is no such folder, it holds no checkpoint, or an episode is longer than
        the time limit. A checkpoint that cannot be read is a gap, and `faults` says why.
    """
    folder = pathlib.Path(folder).absolute()
    numbers = layout.checkpoint_numbers(folder)
    chains: list[episode_index.Chain] = []
    faults: dict[int, str] = {}
    previous: tuple[checkpoints.Checkpoint, checkpoints.SmallArrays] | None = None
    for number in numbers:
        try:
            arrays = checkpoints.read_small_arrays(folder, number)
            checkpoint = checkpoints.place(
                folder, number, arrays, previous, is_last=number == numbers[-1]
            )
            follows = previous is not None and previous[0].stop == checkpoint.first
            before = -1 if previous is None else previous[0].number
            jumped = not follows and checkpoint.first > 0 and before == number - 1
            begins = checkpoint.first == 0 or (jumped and checkpoints.is_step(checkpoint, arrays))
            chain = chains[-1] if follows else episode_index.Chain(checkpoint.first, begins)
            chain.append(checkpoint, arrays)
        except errors.DatasetError as error:
            faults[number] = str(error)
            continue
        if not follows:
            chains.append(chain)
        previous = checkpoint, arrays
    spans = [chain.spans(time_limit) for chain in chains]
    units = itertools.chain(*(chain.units(own) for chain, own in zip(chains, spans, strict=True)))
    repaired = episode_index.repaired(chains, list(itertools.chain(*spans)), time_limit)
    return LoggedRun(tuple(units), faults, tuple(repaired))


def read_episodes(unit: episode_index.Unit) -> Iterator[Episode]:
    """Reads the episodes of a unit, one at a time, in the order in which they were played.

    Frames are encoded as PNG files, as a dataset holds them, while they are streamed. So memory
    never holds more than a few raw frames, however long an episode is. The frames of the checkpoint
    are streamed once. So are all frames of each checkpoint into which its last episode continues,
    because the first row that such a checkpoint adds is stored at its very end. A buffer whose
    oldest row is in its middle is streamed twice.

    Raises:
      DatasetError: a file is truncated, damaged or has changed since `read_run`.
    """
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(_Reader(checkpoint)) for checkpoint in unit.checkpoints]
        for index, span in enumerate(unit.spans):
            rows = span.stop - span.start
            pngs = [b""] * rows
            action, reward = np.empty(rows, np.int64), np.empty(rows, np.float32)
            for reader in readers:
                reader.read(span, pngs, action, reward)
            yield atari.episode_from_rows(
                frames.EncodedFrames(pngs, atari.FRAME_SHAPE),
                action,
                reward,
                is_terminal=span.is_terminal,
                metadata={"checkpoint_id": np.int64(unit.number), "episode_id": np.int64(index)},
            )
        for reader in readers:
            reader.finish()


class _Reader:
    """The rows of a checkpoint, read in order."""

    def __init__(self, checkpoint: checkpoints.Checkpoint):
        self._checkpoint = checkpoint
        self._batch = np.empty((_BATCH, *atari.FRAME_SHAPE), np.uint8)
        capacity = (checkpoint.capacity,)
        self._action, self._reward = (
            gzipped.read_array(checkpoint.path(f"$store$_{name}"), capacity, layout.STORE[name])
            for name in ("action", "reward")
        )
        self._frames = gzipped.Npy(checkpoint.path("$store$_observation"))
        self._frames.check((*capacity, *layout.FRAME_SHAPE), layout.STORE["observation"])

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: Any) -> None:
        self._frames.__exit__()

    def read(
        self, span: episode_index.Span, pngs: list[bytes], action: np.ndarray, reward: np.ndarray
    ) -> None:
        """Fills in the rows of the span that the checkpoint holds."""
        own = self._checkpoint
        start, stop = max(span.start, own.first), min(span.stop, own.stop)
        if start >= stop:
            return
        rows = slice(start - span.start, stop - span.start)
        places = np.arange(start, stop) % own.capacity
        action[rows], reward[rows] = self._action[places], self._reward[places]
        before = int(np.argmin(places))  # rows before the one at index 0, if that is among them
        first = (int(places[0]), before)
        rest = (int(places[before]), len(places) - before)
        if span.start < own.first:  # Nothing else is read of this file, so it takes one pass.
            pngs_of_rest = self._read_frames(*rest)
            pngs[rows] = self._read_frames(*first) + pngs_of_rest
        else:
            pngs[rows] = self._read_frames(*first) + self._read_frames(*rest)

    def finish(self) -> None:
        """Reads the frames to the end, which checks their checksum."""
        self._frames.finish(self._checkpoint.capacity * layout.FRAME_BYTES)

    def _read_frames(self, place: int, count: int) -> list[bytes]:
        pngs: list[bytes] = []
        for done in range(0, count, _BATCH):
            batch = self._batch[: count - done]
            self._frames.read_into((place + done) * layout.FRAME_BYTES, batch)
            pngs += frames.encode_png(batch)
        return pngs
