"""Transitions whose frames are stored once; a stack is cut out of the frames on demand.

A transition with four frames in a stack holds eight frames, and its neighbours hold seven of them.
So a million transitions take 7 GB as single frames of 84 x 84, and 56 GB as stacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl_datasets.serving import transitions as tr
from rl_datasets.serving.cut import ONE_STEP, Cut, flattened
from rl_datasets.serving.packing import pack, pack_into, unpack
from rl_datasets.serving.transitions import Transition

if TYPE_CHECKING:
    from rl_datasets.episode import Episode, EpisodeSpec
    from rl_datasets.published.version import Counts
    from rl_datasets.serving.share import Share

NUMBERS = ("observation", "next_observation")  # The fields of a row that hold frame numbers.
CHUNK_BYTES = 4 << 20  # The stacks cut out at a time have this size if batches are smaller.
MOST_BATCHES_A_CHUNK = 64

Pool = tuple[np.ndarray | None, np.ndarray]  # frames, or None, and rows: see `batches`


class FrameWindows(NamedTuple):
    """N transitions whose observations are frame numbers.

    Attributes:
      frames: [F, *observation], of which frame 0 is zeros.
      rows: [N] packed transitions (`packing.row_dtype`), whose observation and
        next_observation are frame numbers [stack] int32, oldest first.
    """

    frames: np.ndarray
    rows: np.ndarray


def has_images(spec: EpisodeSpec) -> bool:
    """Whether a dataset's observations are images, which are served as frame windows."""
    observation = spec.observation
    if isinstance(observation, Mapping):
        return False
    return observation.dtype == np.uint8 and len(observation.shape) == 3


def of_episode(
    episode: Episode, cut: Cut = ONE_STEP, is_in: np.ndarray | None = None
) -> FrameWindows:
    """The transitions of an episode; see `transitions.step_windows` for what they mean.

    Args:
      episode: T transitions.
      cut: how it is cut.
      is_in: whether each transition is wanted, [T] bool; if None, all are. Frames that the wanted
        ones do not reach are neither decoded nor kept.
    """
    observation = flattened(episode.observation, cut)
    rows = pack(tr.step_windows(episode, cut))
    if is_in is not None:
        observation, rows = reached(observation, rows[is_in])
    return FrameWindows(tr.numbered(observation), rows)


def reached(observation: Any, rows: np.ndarray) -> tuple[Any, np.ndarray]:
    """The observations that rows reach, in order, and the rows with the numbers of those.

    Args:
      observation: [F, *observation], an array or `EncodedFrames`, of which number 1 is the first.
      rows: packed transitions whose observations are frame numbers, which are not changed.
    """
    numbers = np.unique(np.concatenate([rows[name].ravel() for name in NUMBERS]))
    numbers = numbers[numbers > 0]
    rows = rows.copy()
    for name in NUMBERS:
        is_zeros = rows[name] == 0
        rows[name] = np.where(is_zeros, 0, 1 + np.searchsorted(numbers, rows[name]))
    return observation[numbers - 1], rows


def most_frames(counts: Counts, cut: Cut, share: Share | None = None) -> int:
    """The most frames that the transitions of a split, or a share of them, reach."""
    every = counts.transitions + counts.episodes
    if share is None:
        return every
    of_each = cut.frame_stack + min(cut.n_step, cut.frame_stack)
    return min(every, of_each * share.size(counts.transitions))


def cut_out(frames: np.ndarray | None, rows: np.ndarray) -> Transition:
    """Rows [...] as transitions [..., ...], with stacks in place of frame numbers.

    Args:
      frames: [F, ...], or None if rows hold the observations themselves.
      rows: packed transitions.
    """
    transitions = unpack(rows)
    return transitions if frames is None else tr.with_frames(transitions, frames)


def transition_bytes(frames: np.ndarray | None, rows: np.ndarray) -> int:
    """The size of one transition in bytes, with its stacks."""
    if frames is None:
        return rows.dtype.itemsize
    numbers = sum(rows.dtype[name].shape[0] for name in NUMBERS)
    return rows.dtype.itemsize + numbers * frames[0].nbytes


def batches_a_chunk(frame_bytes: int, stack: int, size: int) -> int:
    """The number of batches of `size` transitions that are worth cutting out in a thread."""
    return min(max(1, CHUNK_BYTES // (2 * stack * frame_bytes * size)), MOST_BATCHES_A_CHUNK)


def joined(pieces: Iterable[FrameWindows], num_frames: int, num_rows: int) -> FrameWindows:
    """Joins pieces in order, of which one at a time is needed; the result has one frame of zeros.

    Args:
      pieces: at least one.
      num_frames: of all pieces together, besides those of zeros; or more.
      num_rows: likewise.
    """
    frames, rows = None, None
    frames_end, rows_end = 1, 0
    for piece in pieces:
        if frames is None or rows is None:
            frames = np.empty((1 + num_frames, *piece.frames.shape[1:]), piece.frames.dtype)
            frames[0] = 0
            rows = np.empty(num_rows, piece.rows.dtype)
        frames_start, rows_start = frames_end, rows_end
        frames_end += len(piece.frames) - 1
        rows_end += len(piece.rows)
        frames[frames_start:frames_end] = piece.frames[1:]
        pack_into(rows[rows_start:rows_end], unpack(piece.rows))
        renumber(rows[rows_start:rows_end], frames_start - 1)
    assert frames is not None
    assert rows is not None
    return FrameWindows(frames[:frames_end], rows[:rows_end])


def renumber(rows: np.ndarray, by: int | np.ndarray) -> None:
    """Adds to the frame numbers of rows [N], in place; the frame of zeros stays number 0.

    Args:
      rows: packed transitions.
      by: what to add, one number for all or one for each row [N, 1].
    """
    for name in NUMBERS:
        numbers = rows[name]
        numbers += np.where(numbers > 0, by, 0).astype(np.int32)


def shuffled(pools: Iterator[Pool], rng: np.random.Generator) -> Iterator[Pool]:
    """The same pools, the rows of each in an order that `rng` draws."""
    for frames, rows in pools:
        yield frames, np.take(rows, rng.permutation(len(rows)), mode="clip")


def batches(pools: Iterator[Pool], shape: tuple[int, ...]) -> Iterator[Transition]:
    """Cuts the rows of pools, in their order, into batches.

    The rest of a pool begins the first batch of the next pool, so no transition is lost.

    Args:
      pools: frames, or None if rows hold the observations themselves, and rows [N].
      shape: the leading axes of a batch, [B] or [K, B].
    """
    size = math.prod(shape)
    pieces: list[np.ndarray] = []
    missing = size
    for frames, rows in pools:
        start = 0
        while start < len(rows):
            cut = rows[start : start + missing]
            start += len(cut)
            if len(cut) == size:
                yield cut_out(frames, cut.reshape(shape))
                continue
            pieces.append(pack(cut_out(frames, cut)))
            missing -= len(cut)
            if missing == 0:
                yield unpack(np.concatenate(pieces).reshape(shape))
                pieces, missing = [], size
