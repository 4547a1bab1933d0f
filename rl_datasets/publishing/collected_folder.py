"""A folder that `rl-datasets collect` wrote, as the source of a builder."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Container
from typing import Any

from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import collected


@dataclasses.dataclass(frozen=True)
class CollectedFolder:
    """What a builder publishes of a collection; each of its files is a unit."""

    collection: collected.Collection

    @classmethod
    def open(
        cls, folder: str, builder: str, config: str, listed: Container[str]
    ) -> CollectedFolder:
        """Opens the collection in a folder, under its own name or one that the user chose.

        Args:
          folder: a folder that `rl-datasets collect` wrote.
          builder: the builder's name.
          config: the name of the configuration to publish it as.
          listed: the builder's own configurations.

        Raises:
          DatasetError: the folder holds no complete collection, or the name is another dataset's.
        """
        collection = collected.read_collection(folder)
        is_others = config in listed or collected.RECOLLECTED in config
        if config != collection.dataset and is_others:
            raise DatasetError(
                f"{folder} was collected as {collection.dataset!r}: publish it as "
                f"{builder}/{collection.dataset}, or under a name of your own, and not as "
                f"{builder}/{config}, which is another dataset"
            )
        return cls(collection)

    def episode_spec(self) -> EpisodeSpec:
        return self.collection.episode_spec()

    def units(self) -> list[SourceUnit]:
        folder = self.collection.folder.absolute()
        return [
            SourceUnit(
                name=unit.file,
                split="train",
                num_episodes=unit.episodes,
                num_transitions=unit.transitions,
                files=(str(folder / unit.file), str(folder / collected.COLLECTION_FILE)),
                read=functools.partial(collected.read_unit, str(folder / unit.file)),
            )
            for unit in self.collection.units
        ]

    def lineage(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self.collection)
        for told_elsewhere in ("folder", "units", "observation", "action"):
            del fields[told_elsewhere]
        return {"source": "a folder that rl-datasets collected", **fields, "repaired": []}
