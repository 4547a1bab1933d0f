"""Episodes of frames as pictures: an animated GIF, and a sheet of single frames.

Frames are [N, H, W, 1 or 3] uint8, an array or `frames.EncodedFrames`, and are decoded one at a
time. The same frames give the same bytes.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np
import PIL.Image

from rl_datasets import files
from rl_datasets.errors import DatasetError

# Atari shows 60 frames per second, and an agent sees every fourth. GIF counts in 1/100 s.
FRAME_MILLISECONDS = 70
GAP = 2  # Pixels between the frames of a sheet.
_GAP_COLOUR = 128


def write_gif(
    path: str | os.PathLike[str],
    frames: Any,
    *,
    scale: int = 2,
    frame_milliseconds: int = FRAME_MILLISECONDS,
    max_frames: int = 1_000,
) -> int:
    """Writes frames as a GIF that repeats forever.

    Args:
      path: where to write the GIF, whole or not at all; an existing file is replaced.
      frames: [N, H, W, 1 or 3] uint8, N of at least 1.
      scale: width and height of each pixel, in pixels of the GIF.
      frame_milliseconds: how long a frame is shown; a multiple of 10.
      max_frames: if there are more frames, every k-th is shown, with the smallest k that fits.

    Returns:
      k, which is 1 if every frame is shown.

    Raises:
      DatasetError: the observations are not frames.
    """
    _check(frames)
    every = -(-len(frames) // max_frames)
    images = (_image(frames[index], scale) for index in range(0, len(frames), every))
    first = next(images)
    with files.replacing(pathlib.Path(path)) as partial:
        first.save(
            partial,
            format="GIF",
            save_all=True,
            append_images=images,
            duration=frame_milliseconds,
            loop=0,
        )
    return every


def write_contact_sheet(
    path: str | os.PathLike[str],
    frames: Any,
    *,
    count: int = 32,
    columns: int = 8,
    scale: int = 1,
    colours: int | None = None,
) -> list[int]:
    """Writes a PNG of frames side by side, in rows, as evenly spaced as the episode allows.

    Args:
      path: where to write the PNG, whole or not at all; an existing file is replaced.
      frames: [N, H, W, 1 or 3] uint8, N of at least 1.
      count: number of frames, or all if there are fewer. Two or more include the first and the
        last.
      columns: number of frames in a row.
      scale: width and height of each pixel, in pixels of the sheet.
      colours: how many colours stand for all, which makes a smaller file; None to keep them.

    Returns:
      The numbers of the frames, in order.

    Raises:
      DatasetError: the observations are not frames.
    """
    _check(frames)
    chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int).tolist()
    _, height, width, channels = frames.shape
    cell = np.array([height * scale + GAP, width * scale + GAP])
    rows, columns = -(-len(chosen) // columns), min(columns, len(chosen))
    size = cell * (rows, columns) - GAP
    sheet = np.full((*size, channels), _GAP_COLOUR, np.uint8)
    for place, index in enumerate(chosen):
        top, left = cell * divmod(place, columns)
        frame = _enlarged(frames[index], scale)
        sheet[top : top + len(frame), left : left + frame.shape[1]] = frame
    with files.replacing(pathlib.Path(path)) as partial:
        image = _image(sheet)
        reduced = (
            image if colours is None else image.quantize(colours, dither=PIL.Image.Dither.NONE)
        )
        reduced.save(partial, format="PNG")
    return chosen


def _check(frames: Any) -> None:
    shape, dtype = tuple(frames.shape), frames.dtype
    if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or not shape[0]:
        raise DatasetError(
            f"observations are {dtype} {shape}, and only frames, uint8 (N, height, width, 1 or 3), "
            "can be shown: choose a dataset of frames"
        )


def _image(frame: np.ndarray, scale: int = 1) -> PIL.Image.Image:
    frame = _enlarged(frame, scale)
    return PIL.Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame)


def _enlarged(frame: np.ndarray, scale: int) -> np.ndarray:
    return frame.repeat(scale, axis=0).repeat(scale, axis=1)
