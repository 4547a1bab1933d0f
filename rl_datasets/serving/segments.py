"""Frame windows in pieces of one size: what a Reverb item and a shuffle buffer hold.

The frames of all episodes make one stream, whatever their lengths. Every place of the stream has a
row: the transition whose stack begins there, or an empty row where an episode ends and no
transition begins. Frames and rows are cut into blocks of `BLOCK`. A segment is `SEGMENT` rows with
the frames that they reach. The next segment shares some of these frames, so blocks are stored once.

    blocks of rows      | 0 | 1 | 2 | 3 | 4 | 5 |
    blocks of frames    | 0 | 1 | 2 | 3 | 4 | 5 |
    segment 0            rows 0-1, frames 0-2
    segment 1                    rows 2-3, frames 2-4
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from rl_datasets.serving import frame_windows
from rl_datasets.serving.frame_windows import FrameWindows

BLOCK = 8
SEGMENT_BLOCKS = 2
SEGMENT = SEGMENT_BLOCKS * BLOCK
_BLOCKS_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of segments.

    Attributes:
      row: structured dtype of a row, see `frame_windows.FrameWindows`.
      frame: dtype of one frame, with one field, `frame`.
      num_frames: number of frames in the whole stream, without the frame of zeros.
      stack: number of frames in a stack.
      reach: number of frames from the oldest of an observation to the newest of its
        next_observation.
    """

    row: np.dtype
    frame: np.dtype
    num_frames: int
    stack: int
    reach: int

    @property
    def num_segments(self) -> int:
        """The number of segments of the whole stream."""
        return -(-self.num_frames // SEGMENT)

    @property
    def segment_blocks(self) -> int:
        """The number of blocks of frames in a segment."""
        return SEGMENT_BLOCKS + -(-(self.reach - 1) // BLOCK)


def layout_of(like: FrameWindows, num_frames: int, n_step: int) -> Layout:
    """The layout of a stream of frames and rows such as these."""
    return Layout(
        row=like.rows.dtype,
        frame=np.dtype([("frame", like.frames.dtype, like.frames.shape[1:])]),
        num_frames=num_frames,
        stack=(stack := like.rows.dtype["observation"].shape[0]),
        reach=stack + n_step,
    )


def blocks(
    pieces: Iterable[FrameWindows], layout: Layout
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The blocks of a stream, until its last segment is whole.

    Args:
      pieces: for example one for each episode; the frames of each follow those of the previous one.
      layout: their layout.

    Yields:
      BLOCK frames [BLOCK, ...] and BLOCK rows, whose numbers count from the place of the row: 1 is
      the frame at that place, and 0 a frame of zeros. An empty row is zeros.

    Raises:
      ValueError: the pieces do not have as many frames as the layout says.
    """
    # The newest frame of a stack is `stack - 1` places after its row.
    frames = np.zeros((layout.stack - 1, *layout.frame["frame"].shape), layout.frame["frame"].base)
    rows = np.empty(0, layout.row)
    for next_frames, next_rows in _pieces_and_padding(pieces, layout):
        frames, rows = np.concatenate([frames, next_frames]), np.concatenate([rows, next_rows])
        whole = len(rows) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            yield frames[start : start + BLOCK], rows[start : start + BLOCK]
        frames, rows = frames[whole:], rows[whole:]


def pool(segments_frames: np.ndarray, segments_rows: np.ndarray) -> FrameWindows:
    """The transitions of several segments.

    Args:
      segments_frames: [P, frames, ...].
      segments_rows: [P, SEGMENT].

    Returns:
      FrameWindows of the transitions in the order of the rows, without the empty rows.
    """
    count, num_frames, *shape = segments_frames.shape
    frames = np.empty((1 + count * num_frames, *shape), segments_frames.dtype)
    frames[0] = 0
    frames[1:] = segments_frames.reshape(-1, *shape)
    place = np.arange(count)[:, None] * num_frames + np.arange(SEGMENT)
    is_full = segments_rows["observation"][..., -1] > 0
    rows = segments_rows[is_full]
    frame_windows.renumber(rows, place[is_full][:, None])
    return FrameWindows(frames, rows)


def _pieces_and_padding(
    pieces: Iterable[FrameWindows], layout: Layout
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames [N, ...] and a row for each, a bounded number at a time."""
    at_once = BLOCK * _BLOCKS_AT_ONCE
    num_frames = 0
    for piece in pieces:
        frames, rows = piece.frames[1:], _a_row_a_frame(piece, layout)
        num_frames += len(frames)
        for start in range(0, len(frames), at_once):
            yield frames[start : start + at_once], rows[start : start + at_once]
    if num_frames != layout.num_frames:
        raise ValueError(f"the pieces have {num_frames} frames, not {layout.num_frames}")
    num_blocks = (layout.num_segments - 1) * SEGMENT_BLOCKS + layout.segment_blocks
    padding = np.zeros(num_blocks * BLOCK - layout.num_frames, layout.frame)["frame"]
    yield padding, np.zeros(len(padding), layout.row)


def _a_row_a_frame(piece: FrameWindows, layout: Layout) -> np.ndarray:
    """Each transition in the row of the newest frame of its stack; the other rows are zeros."""
    newest = piece.rows["observation"][:, -1:].copy()
    relative = piece.rows.copy()
    frame_windows.renumber(relative, layout.stack - newest)
    rows = np.zeros(len(piece.frames) - 1, layout.row)
    rows[newest[:, 0] - 1] = relative
    return rows
