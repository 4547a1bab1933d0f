"""What the builders of RL Unplugged's suites share: shards are read together, as larger units."""

from __future__ import annotations

import abc
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import buckets
from rl_datasets.sources.rl_unplugged_shards import BUCKET, Dataset, Shard

UNIT_BYTES = 256 << 20  # Of shards that make one unit, at least; some shards have no episode.


class SuiteBuilder(PublishedDatasetBuilder):
    """Publishes the shards of one of a suite's datasets; a configuration is a dataset.

    The `source` is the bucket, gs://rl_unplugged, or a copy of it; or a folder of it from the
    suite's to the dataset's.
    """

    @abc.abstractmethod
    def dataset(self, config: str) -> Dataset:
        """The dataset of one of the listed configurations."""

    @abc.abstractmethod
    def facts(self, config: str) -> Mapping[str, Any]:
        """The lineage of the dataset, but for its source."""

    def episode_spec(self) -> EpisodeSpec:
        return self._dataset.spec

    def source_units(self) -> Sequence[SourceUnit]:
        return [self._unit(number, group) for number, group in enumerate(_grouped(self._shards))]

    def lineage(self) -> Mapping[str, Any]:
        return {
            "source": f"RL Unplugged, {BUCKET}/{self._dataset.shards.folder}",
            "shards": len(self._shards),
            **self.facts(self.builder_config.name),
        }

    def _unit(self, number: int, shards: Sequence[Shard]) -> SourceUnit:
        names = [os.path.basename(str(shard)) for shard in shards]
        paths = [str(shard) for shard in shards if isinstance(shard, pathlib.Path)]
        read = self._dataset.layout.read_all
        return SourceUnit(
            name=f"part_{number:03d}",
            split="train",
            num_episodes=None,
            num_transitions=None,
            files=tuple(s if isinstance(s, buckets.Object) else str(s) for s in shards),
            read=functools.partial(read, self._dataset.parse, names, *paths),
        )

    @functools.cached_property
    def _shards(self) -> list[Shard]:
        if self.source is None:
            raise DatasetError(
                f"{self.name}/{self.builder_config.name} needs a source: name {BUCKET}, or a "
                "folder of its shards"
            )
        return self._dataset.shards.find(self.source)

    @property
    def _dataset(self) -> Dataset:
        config = self.builder_config.name
        if config not in self.builder_configs:
            raise DatasetError(
                f"{self.name}/{config} is not a dataset of RL Unplugged: name one, such as "
                f"{self.name}/{next(iter(self.builder_configs))}"
            )
        return self.dataset(config)


def _grouped(shards: Sequence[Shard]) -> list[list[Shard]]:
    """Shards in order, in groups that each hold an episode, because they are large enough."""
    groups: list[list[Shard]] = [[]]
    size = 0
    for shard in shards:
        if size >= UNIT_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(shard)
        size += _size(shard)
    if len(groups) > 1 and size < UNIT_BYTES:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def _size(shard: Shard) -> int:
    if isinstance(shard, buckets.Object):
        return shard.size
    return shard.stat().st_size if shard.exists() else 0
