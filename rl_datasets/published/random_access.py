"""Random access to the episodes of a published version, by their numbers."""

from __future__ import annotations

import os
import pathlib
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rl_datasets import records
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.published import encoding, manifest, reader

if TYPE_CHECKING:
    from rl_datasets.published.version import Version

_HEADER = struct.Struct("<QI")  # The header of a record: its length and the length's checksum.
_FRAMING = len(records.frame(b""))


class EpisodeFiles:
    """A sequence of the episodes of a split, each read when it is accessed.

    Args:
      version: a version whose records are episodes.
      split: name of the split, several joined by `+`, or `all`.

    Attributes:
      spec: the spec of the episodes.

    Raises:
      DatasetError: the records are transitions, there is no such split, a file of it is missing or
        truncated, or there are more or fewer episodes than its manifest says.
    """

    def __init__(self, version: Version, split: str):
        self.spec = version.episode_spec
        self._places = [
            place
            for name in version.split_names(split)
            for shard in reader.shard_paths(version, name)
            for place in _places(shard)
        ]
        told = version.counts(split).episodes
        if len(self) != told:
            raise DatasetError(
                f"split {split!r} of {version.folder} holds {len(self)} episodes, not {told} as "
                f"its {manifest.FILE_NAME} says; copy or publish this version again"
            )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Episode:
        """Reads an episode.

        Raises:
          DatasetError: the episode is damaged, or its file is gone.
        """
        shard, position, size = self._places[number]
        try:
            with open(shard, "rb") as file:
                file.seek(position)
                framed = file.read(size)
        except OSError as error:
            raise reader.cannot_be_read(shard, error) from error
        record = framed[_HEADER.size : _HEADER.size - _FRAMING]
        if records.frame(record) != framed:
            raise _damaged(shard)
        return encoding.decode_episode(record, self.spec)

    def lengths(self) -> list[int]:
        """The number of transitions of each episode; reads all of them, and decodes no frame.

        Raises:
          DatasetError: an episode is damaged, or its file is gone.
        """
        return [self[number].num_transitions for number in range(len(self))]


def _places(shard: pathlib.Path) -> Iterator[tuple[pathlib.Path, int, int]]:
    """Position and size, with framing, of every record of a shard; only lengths are read."""
    with open(shard, "rb", buffering=0) as file:
        end, position = os.fstat(file.fileno()).st_size, 0
        while position < end:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise _damaged(shard)
            size = _HEADER.unpack(header)[0] + _FRAMING
            if position + size > end:
                raise _damaged(shard)
            yield shard, position, size
            position = file.seek(position + size)


def _damaged(shard: pathlib.Path) -> DatasetError:
    return DatasetError(
        f"{shard} is damaged: a record is truncated or its checksum does not match; copy it again"
    )
