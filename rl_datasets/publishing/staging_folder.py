"""The folder in which a version is built, and a task for each of its units.

1.0.0.lock                  held by the process that publishes
1.0.0.staging/plan.json     what is being published; another plan starts again
1.0.0.staging/receipts/     one for each unit, written after its shard
1.0.0.staging/skipped/      with `--keep-going`, the reasons why units are left out
1.0.0.staging/stop          if the workers must stop, the reason
1.0.0.staging/version/      becomes 1.0.0
"""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow_datasets as tfds

from rl_datasets import files
from rl_datasets.published import manifest
from rl_datasets.publishing import pipeline
from rl_datasets.publishing.units import SourceUnit

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder


def folder_of(target: pathlib.Path) -> pathlib.Path:
    """The folder in which the version `target` is built."""
    return target.with_name(f"{target.name}.staging")


def lock_file(target: pathlib.Path) -> pathlib.Path:
    """The lock of the process that publishes the version `target`."""
    return target.with_name(f"{target.name}.lock")


def open_stage(target: pathlib.Path, plan: Mapping[str, Any]) -> pathlib.Path:
    """Opens the staging folder of this plan, with the units that an earlier attempt left whole."""
    folder = folder_of(target)
    path = folder / "plan.json"
    staged = json.dumps({"format": manifest.FORMAT, "plan": plan})
    if not path.exists() or path.read_text(encoding="utf-8") != staged:
        shutil.rmtree(folder, ignore_errors=True)
    (folder / "receipts").mkdir(parents=True, exist_ok=True)
    (folder / "version").mkdir(exist_ok=True)
    files.write(path, staged)
    return folder


def make_tasks(
    builder: PublishedDatasetBuilder,
    units: Sequence[SourceUnit],
    plan: Mapping[str, Any],
    folder: pathlib.Path,
    keep_going: bool,
) -> list[pipeline.Task]:
    """A task for each unit, in the units' order."""
    spec, stop = builder.episode_spec(), folder / "stop"
    stop.unlink(missing_ok=True)
    shutil.rmtree(folder / "skipped", ignore_errors=True)
    (folder / "skipped").mkdir()
    for stale in (folder / "receipts").glob("*.progress"):  # A killed process left it.
        stale.unlink()
    return [
        pipeline.Task(
            unit=unit,
            spec=spec,
            shard=folder / "version" / shard,
            receipt=folder / "receipts" / f"{shard}.json",
            stop=stop,
            skipped=folder / "skipped" / shard if keep_going else None,
            sources={
                file: plan["sources"][name]
                for file, name in zip(unit.files, planned["files"], strict=True)
                if isinstance(file, str)  # The copy of an object was checked when it was made.
            },
            file_format=builder.file_format,
        )
        for unit, planned, shard in zip(
            units, plan["units"], shard_names(builder, units), strict=True
        )
    ]


def shard_names(builder: PublishedDatasetBuilder, units: Sequence[SourceUnit]) -> list[str]:
    """The file name of every unit's shard, as TFDS names the shards of a split."""
    names: dict[str, Iterator[str]] = {}
    for split, of_split in by_split(units).items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=builder.data_dir,
            dataset_name=builder.name,
            split=split,
            filetype_suffix=builder.file_format,
        )
        names[split] = iter(template.sharded_filenames(len(of_split)))
    return [next(names[unit.split]) for unit in units]


def by_split(units: Sequence[SourceUnit]) -> dict[str, list[int]]:
    """The indices of the units of each split; the splits are in the order of their first units."""
    splits: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        splits.setdefault(unit.split, []).append(index)
    return splits
