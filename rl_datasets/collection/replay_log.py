"""Dopamine's replay buffer of frames, and one that logs itself as Dopamine's does."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np
from isal import igzip

from rl_datasets import errors, files
from rl_datasets.sources.dqn_replay import layout


class ReplayBuffer:
    """A circular replay buffer in memory, with the rows and the padding of Dopamine's.

    Attributes:
      store: the replay buffer by field: observation [C, *frame_shape] uint8, action [C] int32,
        reward [C] float32, terminal [C] uint8.
      add_count: number of rows that were ever added, with padding; the cursor is
        `add_count % capacity`.
    """

    def __init__(
        self,
        capacity: int = layout.CAPACITY,
        stack_size: int = layout.STACK_SIZE,
        frame_shape: tuple[int, int] = layout.FRAME_SHAPE,
    ):
        """Makes an empty replay buffer; memory is used as rows are added.

        Args:
          capacity: C, the number of rows.
          stack_size: number of frames in an agent's stack, one more than the rows of padding.
          frame_shape: (height, width) of a frame.

        Raises:
          ValueError: the capacity is too small for a stack.
        """
        if capacity < stack_size + layout.UPDATE_HORIZON:
            raise ValueError(f"capacity must be at least {stack_size + layout.UPDATE_HORIZON}")
        self.store = {
            name: np.zeros((capacity, *(frame_shape if name == "observation" else ())), dtype)
            for name, dtype in layout.STORE.items()
        }
        self.add_count = 0
        self._capacity = capacity
        self._stack_size = stack_size
        self._blank = np.zeros(frame_shape, np.uint8)
        self._is_episode_start = True

    def add(self, observation: np.ndarray, action: int, reward: float, terminal: bool) -> None:
        """Adds a row, after its padding if it is the first of an episode.

        Args:
          observation: [*frame_shape] uint8, the frame when the action was chosen.
          action: the action.
          reward: the reward that the action earned, clipped.
          terminal: whether the action ended the episode.
        """
        if self._is_episode_start:
            for _ in range(self._stack_size - 1):
                self._put(self._blank, 0, 0.0, False)
        self._put(observation, action, reward, terminal)
        self._is_episode_start = bool(terminal)

    def _put(self, observation: np.ndarray, action: int, reward: float, terminal: bool) -> None:
        row = (observation, action, reward, terminal)
        for array, value in zip(self.store.values(), row, strict=True):
            array[self.add_count % self._capacity] = value
        self.add_count += 1


class ReplayLog(ReplayBuffer):
    """A replay buffer that logs itself as Dopamine's does, with the same bugs.

        with ReplayLog("Pong/1/replay_logs") as log:
            log.add(observation, action, reward, terminal)

    Leaving the block without an exception saves the final checkpoint.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        capacity: int = layout.CAPACITY,
        stack_size: int = layout.STACK_SIZE,
        frame_shape: tuple[int, int] = layout.FRAME_SHAPE,
    ):
        """Creates the folder and an empty replay buffer.

        Args:
          folder: the folder of the checkpoints, such as `Pong/1/replay_logs`.
          capacity: C, the number of rows of the replay buffer and of a checkpoint.
          stack_size: as of `ReplayBuffer`.
          frame_shape: likewise.

        Raises:
          DatasetError: the folder cannot be created, or already holds checkpoints.
          ValueError: the capacity is too small for a stack.
        """
        super().__init__(capacity, stack_size, frame_shape)
        self.folder = pathlib.Path(folder)
        self._checkpoints = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            present = sorted(self.folder.glob("*_ckpt.*.gz"))
        except OSError as error:
            raise errors.DatasetError(
                f"cannot write into {folder} ({error.strerror}): name another folder"
            ) from error
        if present:
            raise errors.DatasetError(
                f"{present[0]} already exists: name a folder without checkpoints"
            )

    def __enter__(self) -> ReplayLog:
        return self

    def __exit__(self, error_type: Any, *_: Any) -> None:
        if error_type is None:
            self.close()

    def add(self, observation: np.ndarray, action: int, reward: float, terminal: bool) -> None:
        """As of `ReplayBuffer`.

        Raises:
          DatasetError: the checkpoint that this row completes cannot be written.
        """
        super().add(observation, action, reward, terminal)
        if self.add_count % self._capacity == self._capacity - 1:
            self._save(self.add_count)

    def close(self) -> None:
        """Saves the final checkpoint, which holds the cursor where others hold `add_count`.

        Raises:
          DatasetError: the checkpoint cannot be written.
        """
        self._save(self.add_count % self._capacity)

    def _save(self, add_count: int) -> None:
        cursor = self.add_count % self._capacity
        near = np.arange(self._stack_size + layout.UPDATE_HORIZON) - layout.UPDATE_HORIZON
        arrays = (
            *self.store.values(),
            np.array(add_count, np.int64),
            (cursor + near) % self._capacity,
        )
        for member, array in zip(layout.MEMBERS, arrays, strict=True):
            _write_array(self.folder / layout.file_name(member, self._checkpoints), array)
        self._checkpoints += 1


def _write_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a gzip-compressed NumPy file whose bytes depend only on the array."""
    try:
        with (
            files.replacing(path) as partial,
            open(partial, "wb") as raw,
            igzip.IGzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file,
        ):
            np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    except OSError as error:
        raise errors.DatasetError(
            f"cannot write {path} ({error.strerror or error}): fix that and log again"
        ) from error
