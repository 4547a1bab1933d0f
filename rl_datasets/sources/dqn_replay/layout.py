"""The layout of DQN Replay's logs (Agarwal, Schuurmans and Norouzi 2020), which is Dopamine's.

Dopamine's `LoggedReplayBuffer` (google-research/batch_rl) saves its circular replay buffer of C
rows, C being 1,000,000, into `<Game>/<run>/replay_logs` whenever it is about to be full. A
checkpoint N is

    $store$_observation_ckpt.N.gz    [C, 84, 84] uint8, the frame seen when `action` was chosen
    $store$_action_ckpt.N.gz         [C] int32
    $store$_reward_ckpt.N.gz         [C] float32, clipped to [-1, 1]
    $store$_terminal_ckpt.N.gz       [C] uint8, whether the row ended its episode
    add_count_ckpt.N.gz              int64, number of rows that were ever added
    invalid_range_ckpt.N.gz          [5] int64, rows near the cursor

each a gzip-compressed NumPy file. Newer versions add `episode_end_indices_ckpt.N.gz`, a pickle,
which only `final_buffer` reads. In the following, row numbers count from the beginning of the run:

- Row number a is stored at index a % C. A checkpoint is saved when index C - 2 was filled, one row
  before the buffer is full. So a full checkpoint holds C - 1 rows in order, and at its last index
  the row *before* them, which no earlier checkpoint holds. The first checkpoint of a run has
  nothing there yet.
- Three rows of zeros come before an episode's first row, to fill the first stack of frames. Nothing
  marks them, and games have black frames too. They are the three rows after a terminal row and at
  the beginning of the run, and must be zero in the small arrays.
- They are added together with the episode's first row, so the number of rows can skip the point
  where a checkpoint is saved, and C rows are lost. The files are still numbered without a gap;
  `add_count` shows the loss.
- The final checkpoint is saved where the run stopped. Its `add_count` is the cursor, from which on
  it holds stale rows. If these are the rows of the previous checkpoint, none was lost in between.
- A time limit is recorded as terminal. The limit is 27,000 rows, and an episode of exactly this
  length is taken to have reached it.
"""

from __future__ import annotations

import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping

import numpy as np

from rl_datasets import errors
from rl_datasets.sources import atari

CAPACITY = 1_000_000
STACK_SIZE = 4
TIME_LIMIT = 27_000
FOLDER_NAME = "replay_logs"

UPDATE_HORIZON = 1
FRAME_SHAPE = atari.FRAME_SHAPE[:2]
FRAME_BYTES = math.prod(FRAME_SHAPE)
STORE: Mapping[str, np.dtype] = {
    "observation": np.dtype(np.uint8),
    "action": np.dtype(np.int32),
    "reward": np.dtype(np.float32),
    "terminal": np.dtype(np.uint8),
}
MEMBERS = (*(f"$store$_{name}" for name in STORE), "add_count", "invalid_range")
_FILE_NAME = re.compile(r"(?P<member>.+)_ckpt\.(?P<number>0|[1-9]\d{0,8})\.gz")
COPY_AGAIN = "copy it again, or leave its checkpoint out"


def file_name(member: str, number: int) -> str:
    """The file name of one of the `MEMBERS` of a checkpoint."""
    return f"{member}_ckpt.{number}.gz"


def files_of(folder: str | os.PathLike[str], number: int) -> tuple[str, ...]:
    """The paths of a checkpoint's six files, whether they exist or not."""
    folder = pathlib.Path(folder).absolute()
    return tuple(str(folder / file_name(member, number)) for member in MEMBERS)


def checkpoint_numbers(folder: pathlib.Path) -> list[int]:
    """The numbers of all checkpoints that have a file in the folder, in order.

    Raises:
      DatasetError: the folder cannot be read, or holds no file of a checkpoint.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise errors.DatasetError(
            f"{folder} cannot be read ({error.strerror}): name a local or mounted copy of a run of "
            "DQN Replay, or log a run of your own"
        ) from error
    numbers = numbers_among(names)
    if not numbers:
        raise errors.DatasetError(
            f"{folder} holds no file such as {file_name(MEMBERS[0], 0)}: name a local or mounted "
            "copy of a run of DQN Replay, or log a run of your own"
        )
    return numbers


def numbers_among(names: Iterable[str]) -> list[int]:
    """The numbers of all checkpoints that have a file of one of these names, in order."""
    found = [match for name in names if (match := _FILE_NAME.fullmatch(name))]
    return sorted({int(match["number"]) for match in found if match["member"] in MEMBERS})
