"""Assembles a version from the shards that the workers wrote."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow_datasets as tfds

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import croissant, kinds, manifest
from rl_datasets.publishing.stage import Stage
from rl_datasets.publishing.tasks import by_split, shard_names
from rl_datasets.publishing.units import Receipt

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder


class Outcome(NamedTuple):
    """What the workers left in a stage.

    Attributes:
      units: the units that were written, as the plan has them.
      shards: the names of their shards in the stage, and for each the name in the version.
      receipts: their receipts.
      skipped: why other units were skipped, by the units' names.
    """

    units: list[Mapping[str, Any]]
    shards: dict[str, str]
    receipts: list[Receipt]
    skipped: dict[str, str]


def outcome(plan: Mapping[str, Any], stage: Stage) -> Outcome:
    """What the workers left.

    The shards are named as if there had been no other units.

    Raises:
      DatasetError: the runner lost a unit, or all units are bad.
    """
    units, staged, receipts, skipped = [], [], [], {}
    for unit, shard in zip(plan["units"], shard_names(plan, plan["units"]), strict=True):
        receipt = stage.receipt(shard)
        if receipt is not None:
            units.append(unit)
            staged.append(shard)
            receipts.append(receipt)
        elif (reason := stage.why_skipped(shard)) is not None:
            skipped[unit["name"]] = reason
        else:
            raise DatasetError(
                f"the runner lost unit {unit['name']!r}, so nothing was published; publish "
                "again, which keeps the whole units"
            )
    if not units:
        raise DatasetError(
            f"every unit of the source is bad, so nothing was published; the first one because "
            f"{next(iter(skipped.values()))}"
        )
    shards = dict(zip(staged, shard_names(plan, units), strict=True))
    return Outcome(units, shards, receipts, skipped)


def write_tfds_metadata(
    builder: PublishedDatasetBuilder,
    plan: Mapping[str, Any],
    found: Outcome,
    folder: pathlib.Path,
) -> None:
    """Writes dataset_info.json and features.json with TFDS's own classes."""
    builder.info.set_file_format(plan["file_format"], override=True)
    builder.info.set_splits(
        tfds.core.splits.SplitDict(
            [
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[found.receipts[i].records for i in indices],
                    num_bytes=sum(found.receipts[i].size for i in indices),
                )
                for split, indices in by_split(found.units).items()
            ]
        )
    )
    builder.info.write_to_directory(folder)


def make_manifest(plan: Mapping[str, Any], found: Outcome, folder: pathlib.Path) -> dict[str, Any]:
    """The manifest of what was written; also writes croissant.json, which is made of it."""
    kind, receipts = kinds.of(manifest.spec_from_json(plan["spec"])), found.receipts
    splits = {
        split: kind.statistics([receipts[i].tally for i in indices])
        for split, indices in by_split(found.units).items()
    }
    counted = {
        receipt.unit: kind.counts(receipt.tally)
        for unit, receipt in zip(found.units, receipts, strict=True)
        if unit["episodes"] is None
    }
    copied = {name: sha256 for each in receipts for name, sha256 in each.copied.items()}
    left_out = {each.unit: list(each.left_out) for each in receipts if each.left_out}
    entries = {
        shard: {"size": receipt.size, "sha256": receipt.sha256}
        for shard, receipt in zip(found.shards.values(), receipts, strict=True)
    }
    # TFDS may write more than its two files, such as a LICENSE.
    for path in sorted(folder.iterdir()):
        if path.name not in entries and path.name != manifest.FILE_NAME:
            entries[path.name] = manifest.file_entry(path)
    make = functools.partial(
        manifest.make,
        plan,
        splits,
        counted=counted,
        copied=copied,
        skipped=found.skipped,
        left_out=left_out,
    )
    described = folder / croissant.FILE_NAME
    files.write(described, croissant.text(make(entries)))
    return make({**entries, described.name: manifest.file_entry(described)})
