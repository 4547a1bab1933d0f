"""Random access to the episodes of a published version, by their numbers."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.published import encoding, manifest, reader

if TYPE_CHECKING:
    from rl_datasets.published.version import Version


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
        self._paths = [
            path
            for name in version.split_names(split)
            for path in reader.shard_paths(version, name)
        ]
        self._shards = [version.file_format.open_records(path) for path in self._paths]
        self._starts = list(itertools.accumulate(map(len, self._shards), initial=0))
        told = version.counts(split).episodes
        if len(self) != told:
            raise DatasetError(
                f"split {split!r} of {version.location} holds {len(self)} episodes, not {told} as "
                f"its {manifest.FILE_NAME} says; copy or publish this version again"
            )

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: int) -> Episode:
        """Reads an episode.

        Raises:
          DatasetError: the episode is damaged, or its file is gone.
        """
        number = range(len(self))[number]
        shard = bisect.bisect_right(self._starts, number) - 1
        try:
            record = self._shards[shard][number - self._starts[shard]]
        except OSError as error:
            raise reader.cannot_be_read(self._paths[shard], error) from error
        return encoding.decode_episode(record, self.spec)

    def lengths(self) -> list[int]:
        """The number of transitions of each episode; reads all of them, and decodes no frame.

        Raises:
          DatasetError: an episode is damaged, or its file is gone.
        """
        return [self[number].num_transitions for number in range(len(self))]
