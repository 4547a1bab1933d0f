"""The tasks of a plan, and the names of their shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow_datasets as tfds

from rl_datasets.publishing.stage import Stage, Task
from rl_datasets.publishing.units import SourceUnit

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder


def make_tasks(
    builder: PublishedDatasetBuilder,
    units: Sequence[SourceUnit],
    plan: Mapping[str, Any],
    stage: Stage,
    keep_going: bool,
) -> list[Task]:
    """A task for each unit, in the units' order."""
    spec = builder.episode_spec()
    return [
        Task(
            unit=unit,
            spec=spec,
            shard=shard,
            stage=stage,
            keep_going=keep_going,
            sources={
                file: plan["sources"][name]
                for file, name in zip(unit.files, planned["files"], strict=True)
                if isinstance(file, str)  # The copy of an object was checked when it was made.
            },
            names={
                str(file): name for file, name in zip(unit.files, planned["files"], strict=True)
            },
            file_format=plan["file_format"],
        )
        for unit, planned, shard in zip(
            units, plan["units"], shard_names(plan, plan["units"]), strict=True
        )
    ]


def shard_names(plan: Mapping[str, Any], units: Sequence[Mapping[str, Any]]) -> list[str]:
    """The file names of the shards of some of a plan's units, as TFDS names those of a split."""
    names: dict[str, Iterator[str]] = {}
    for split, of_split in by_split(units).items():
        template = tfds.core.ShardedFileTemplate(
            data_dir="",
            dataset_name=plan["dataset"],
            split=split,
            filetype_suffix=plan["file_format"],
        )
        names[split] = iter(template.sharded_filenames(len(of_split)))
    return [next(names[unit["split"]]) for unit in units]


def by_split(units: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """The indices of the units of each split; the splits are in the order of their first units."""
    splits: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        splits.setdefault(unit["split"], []).append(index)
    return splits
