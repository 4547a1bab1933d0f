"""The episodes of a published version by number, so that they can be read in any order."""

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

_HEADER = struct.Struct("<QI")  # of a record: its length, and the checksum of that
_FRAMING = len(records.frame(b""))


class EpisodeFiles:
    """A sequence of the episodes of a split, each read when it is asked for.

    Args:
      version: whose records are episodes.
      split: name of the split, several joined by `+`, or `all`.

    Attributes:
      spec: of the episodes.

    Raises:
      DatasetError: the records are transitions, there is no such split, a file of it is missing
        or cut, or there are more or fewer episodes than its manifest says.
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
                f"its {manifest.FILE_NAME} says; copy or publish this version anew"
            )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Episode:
        """Reads an episode.

        Raises:
          DatasetError: it is damaged, or its file is gone.
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


def _places(shard: pathlib.Path) -> Iterator[tuple[pathlib.Path, int, int]]:
    """Position and size of every record of a shard, its framing included; reads lengths alone."""
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
        f"{shard} is damaged: a record is cut or its checksum does not agree; copy it anew"
    )
