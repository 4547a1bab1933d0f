"""The fast reader: whole records of a published version, without TensorFlow.

Plain `tfds.load` reads the same episodes step by step through a tf.data pipeline. Here a record is
one episode, and its fields are views of the record's bytes. Frames stay PNG files until they are
needed.

What is read is compared with the manifest: the size of every shard before the first record, the
sha256 of each shard after its last record, and the counts of the split at the end.
"""

from __future__ import annotations

import hashlib
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest

if TYPE_CHECKING:
    from rl_datasets.published.version import Version


def records(version: Version, split: str) -> Iterator[Any]:
    """Every record of one or several splits, of either kind.

    Raises:
      DatasetError: there is no such split, or a file of it is missing, damaged or not what was
        published. No more records are yielded than the manifest says.
    """
    splits = version.split_names(split)
    shards = {name: shard_paths(version, name) for name in splits}
    return itertools.chain.from_iterable(_of_split(version, name, shards[name]) for name in splits)


def of_shard(version: Version, name: str) -> Iterator[Any]:
    """Every record of the shard with this file name.

    Raises:
      DatasetError: as `records`, but records are not counted.
    """
    path, digest = version.file(name), hashlib.sha256()
    yield from _items(version, path, digest)
    if digest.hexdigest() != version.manifest["files"][name]["sha256"]:
        raise not_as_published(path)


def shard_paths(version: Version, split: str) -> list[pathlib.Path]:
    """Paths of the shards of one split, in order.

    Raises:
      DatasetError: a shard is missing, or its size differs from the manifest.
    """
    paths = [version.file(name) for name in manifest.shard_names(version.manifest, split)]
    for path in paths:
        if not path.is_file():
            raise missing(path)
        if path.stat().st_size != version.manifest["files"][path.name]["size"]:
            raise not_as_published(path)
    return paths


def check_shards(version: Version, split: str) -> None:
    """Compares the sha256 of every shard of a split with the manifest, without decoding anything.

    It is for readers in any order, such as `serving.streaming`, which never read a whole shard.

    Raises:
      DatasetError: there is no such split, or a file is missing or differs.
    """
    for name in version.split_names(split):
        for path in shard_paths(version, name):
            if files.sha256_of(path) != version.manifest["files"][path.name]["sha256"]:
                raise not_as_published(path)


def missing(path: str | pathlib.Path) -> DatasetError:
    """The error of a file of the manifest that is not there."""
    return DatasetError(f"{path} is missing; copy or publish this version again")


def not_as_published(path: str | pathlib.Path) -> DatasetError:
    """The error of a file that differs from the manifest."""
    return DatasetError(
        f"{path} is not what was published: its size or sha256 differs from {manifest.FILE_NAME}; "
        "copy or publish this version again"
    )


def cannot_be_read(path: pathlib.Path, error: OSError) -> DatasetError:
    """The error of a file that was there when reading began."""
    return DatasetError(
        f"{path} cannot be read any more: {error.strerror or error}; copy or publish this version "
        "again"
    )


def _of_split(version: Version, split: str, shards: Sequence[pathlib.Path]) -> Iterator[Any]:
    counts, kind = version.splits[split], version.kind
    told = (manifest.records(counts), counts["transitions"])
    read = transitions = 0
    for path in shards:
        for item in of_shard(version, path.name):
            read += 1
            transitions += kind.length(item)
            if read <= told[0] and transitions <= told[1]:
                yield item
    if (read, transitions) != told:
        raise DatasetError(
            f"split {split!r} of {version.location} holds {read} {kind.noun}s with {transitions} "
            f"transitions, not {told[0]} with {told[1]} as its {manifest.FILE_NAME} says; copy or "
            "publish this version again"
        )


def _items(version: Version, path: pathlib.Path, digest: Any) -> Iterator[Any]:
    kind = version.kind
    try:
        for record in version.file_format.read_records(path, digest=digest):
            try:
                item = kind.decode(record)
            except DatasetError as error:
                raise DatasetError(
                    f"in {path}, {error}; copy or publish this version again"
                ) from error
            yield item
    except OSError as error:
        raise cannot_be_read(path, error) from error
