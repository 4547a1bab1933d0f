"""Assembles a version from the shards that the workers wrote."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow_datasets as tfds

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import croissant, kinds, manifest
from rl_datasets.publishing import pipeline, staging_folder
from rl_datasets.publishing.units import Receipt, read_receipt

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder


def why_skipped(plan: Mapping[str, Any], tasks: Sequence[pipeline.Task]) -> dict[str, str]:
    """The reasons why units were skipped, by the units' names."""
    skipped = {}
    for task, planned in zip(tasks, plan["units"], strict=True):
        if task.skipped is not None and task.skipped.exists():
            reason = task.skipped.read_text(encoding="utf-8")
            # Relative names, so that the same source gives the same bytes wherever it is.
            for path, name in zip(task.unit.files, planned["files"], strict=True):
                reason = reason.replace(str(path), name)
            skipped[task.unit.name] = reason
    if len(skipped) == len(tasks):
        raise DatasetError(
            f"every unit of the source is bad, so nothing was published; the first one because "
            f"{skipped[tasks[0].unit.name]}"
        )
    return skipped


def read_receipts(tasks: Sequence[pipeline.Task]) -> list[Receipt]:
    """Reads the receipt of every task; raises `DatasetError` if the runner lost a unit."""
    receipts = []
    for task in tasks:
        receipt = read_receipt(task.receipt)
        if receipt is None:
            raise DatasetError(
                f"the runner lost unit {task.unit.name!r}, so nothing was published; publish "
                "again, which keeps the whole units"
            )
        receipts.append(receipt)
    return receipts


def name_shards(
    builder: PublishedDatasetBuilder, kept: Sequence[pipeline.Task], version: pathlib.Path
) -> list[str]:
    """Names the shards as if there had been no other units, and removes all other files."""
    names = staging_folder.shard_names(builder, [task.unit for task in kept])
    for task, name in zip(kept, names, strict=True):
        if task.shard.name != name:
            os.rename(task.shard, version / name)
    for path in version.iterdir():
        if path.name not in names:
            path.unlink()
    return names


def write_tfds_metadata(
    builder: PublishedDatasetBuilder,
    tasks: Sequence[pipeline.Task],
    receipts: Sequence[Receipt],
    version: pathlib.Path,
) -> None:
    """Writes dataset_info.json and features.json with TFDS's own classes."""
    builder.info.set_file_format(builder.file_format, override=True)
    builder.info.set_splits(
        tfds.core.splits.SplitDict(
            [
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[receipts[i].records for i in indices],
                    num_bytes=sum(receipts[i].size for i in indices),
                )
                for split, indices in staging_folder.by_split([task.unit for task in tasks]).items()
            ]
        )
    )
    builder.info.write_to_directory(version)


def make_manifest(
    plan: Mapping[str, Any],
    tasks: Sequence[pipeline.Task],
    receipts: Sequence[Receipt],
    shards: Sequence[str],
    skipped: Mapping[str, str],
    version: pathlib.Path,
) -> dict[str, Any]:
    """The manifest of what was written; also writes croissant.json, which is made of it."""
    kind = kinds.of(tasks[0].spec)
    splits = {
        split: kind.statistics([receipts[i].tally for i in indices])
        for split, indices in staging_folder.by_split([task.unit for task in tasks]).items()
    }
    counted = {
        receipt.unit: kind.counts(receipt.tally)
        for task, receipt in zip(tasks, receipts, strict=True)
        if task.unit.num_episodes is None
    }
    copied = {name: sha256 for each in receipts for name, sha256 in each.copied.items()}
    left_out = {each.unit: list(each.left_out) for each in receipts if each.left_out}
    entries = {
        shard: {"size": receipt.size, "sha256": receipt.sha256}
        for shard, receipt in zip(shards, receipts, strict=True)
    }
    # TFDS may write more than its two files, such as a LICENSE.
    for path in sorted(version.iterdir()):
        if path.name not in entries and path.name != manifest.FILE_NAME:
            entries[path.name] = manifest.file_entry(path)
    make = functools.partial(
        manifest.make,
        plan,
        splits,
        counted=counted,
        copied=copied,
        skipped=skipped,
        left_out=left_out,
    )
    described = version / croissant.FILE_NAME
    files.write(described, croissant.text(make(entries)))
    return make({**entries, described.name: manifest.file_entry(described)})
