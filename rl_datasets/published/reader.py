"""The fast reader: whole episodes of a published version, without TensorFlow.

Plain `tfds.load` reads the same episodes through a tf.data pipeline a step. Here a record is one
episode, and its fields are views of the record's bytes; frames stay PNG files until asked for.

What is read is held against the manifest: the size of every shard before the first record, the
sha256 of each after its last, and the counts of the split at the end.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rl_datasets import files, records
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.published import kinds, manifest
from rl_datasets.transition import StackedTransition


def read_episodes(version_dir: str | os.PathLike[str], split: str = "train") -> Iterator[Episode]:
    """Every episode of a split, in the order of the source; frames are `EncodedFrames`.

    Args:
      version_dir: folder of a published version.
      split: name of the split, several joined by `+`, or `all`.

    Raises:
      DatasetError: there is no such version or split, or a file of it is missing, damaged or not
        what was published; none is given that is one too many.
    """
    published = manifest.read(pathlib.Path(version_dir))
    spec = manifest.spec_from_json(published["plan"]["spec"])
    return _read(pathlib.Path(version_dir), published, split, kinds.Episodes(spec))


def read_transitions(
    version_dir: str | os.PathLike[str], split: str = "train"
) -> Iterator[StackedTransition]:
    """Every transition of a split of a dataset whose records are transitions, as in the source.

    Args:
      version_dir: folder of a published version.
      split: name of the split, several joined by `+`, or `all`.

    Raises:
      DatasetError: as `read_episodes`, or the records are episodes.
    """
    published = manifest.read(pathlib.Path(version_dir))
    kind = kinds.of(manifest.any_spec_from_json(published["plan"]["spec"]))
    if not isinstance(kind, kinds.Transitions):
        raise DatasetError(f"{version_dir} holds episodes; read them with `reader.read_episodes`")
    return _read(pathlib.Path(version_dir), published, split, kind)


def read_shard(version_dir: str | os.PathLike[str], name: str) -> Iterator[Episode]:
    """Every episode of one shard.

    Args:
      version_dir: folder of a published version whose records are episodes.
      name: of the shard's file.

    Raises:
      DatasetError: as `read_episodes`, but nothing is counted.
    """
    folder = pathlib.Path(version_dir)
    published = manifest.read(folder)
    kind = kinds.Episodes(manifest.spec_from_json(published["plan"]["spec"]))
    return _read_shard(folder / name, published, kind)


def read_any(version_dir: pathlib.Path, split: str) -> Iterator[Any]:
    """Every record of a split, whichever its kind."""
    published = manifest.read(version_dir)
    kind = kinds.of(manifest.any_spec_from_json(published["plan"]["spec"]))
    return _read(version_dir, published, split, kind)


def shard_paths(
    version_dir: pathlib.Path, published: Mapping[str, Any], split: str
) -> list[pathlib.Path]:
    """Paths of the shards of one split, in order.

    Args:
      version_dir: folder of the version.
      published: its manifest.
      split: name of the split.

    Raises:
      DatasetError: one is missing, or has another size than the manifest says.
    """
    paths = [version_dir / name for name in manifest.shard_names(published, split)]
    for path in paths:
        if not path.is_file():
            raise DatasetError(f"{path} is missing; copy or publish this version anew")
        if path.stat().st_size != published["files"][path.name]["size"]:
            raise not_as_published(path)
    return paths


def check_shards(version_dir: str | os.PathLike[str], split: str) -> None:
    """Compares the sha256 of every shard of a split with the manifest, and decodes nothing.

    For a reader in any order, such as `serving.streaming`, which never reads a shard through.

    Raises:
      DatasetError: there is no such version or split, or a file is missing or differs.
    """
    folder = pathlib.Path(version_dir)
    published = manifest.read(folder)
    for name in manifest.split_names(published, split):
        for path in shard_paths(folder, published, name):
            if files.sha256_of(path) != published["files"][path.name]["sha256"]:
                raise not_as_published(path)


def not_as_published(path: pathlib.Path) -> DatasetError:
    """What is wrong with a file that the manifest does not describe."""
    return DatasetError(
        f"{path} is not what was published: its size or sha256 differs from {manifest.FILE_NAME}; "
        "copy or publish this version anew"
    )


def cannot_be_read(path: pathlib.Path, error: OSError) -> DatasetError:
    """What is wrong with a file that was there when reading began."""
    return DatasetError(
        f"{path} cannot be read any more: {error.strerror or error}; copy or publish this version "
        "anew"
    )


def _read(
    folder: pathlib.Path,
    published: Mapping[str, Any],
    split: str,
    kind: kinds.Episodes | kinds.Transitions,
) -> Iterator[Any]:
    names = manifest.split_names(published, split)
    shards = {name: shard_paths(folder, published, name) for name in names}
    return itertools.chain.from_iterable(
        _read_split(folder, shards[name], published, name, kind) for name in names
    )


def _read_split(
    folder: pathlib.Path,
    shards: Sequence[pathlib.Path],
    published: Mapping[str, Any],
    split: str,
    kind: kinds.Episodes | kinds.Transitions,
) -> Iterator[Any]:
    counts = published["splits"][split]
    told = (manifest.records(counts), counts["transitions"])
    read = transitions = 0
    for path in shards:
        for item in _read_shard(path, published, kind):
            read += 1
            transitions += kind.length(item)
            if read <= told[0] and transitions <= told[1]:
                yield item
    if (read, transitions) != told:
        raise DatasetError(
            f"split {split!r} of {folder} holds {read} {kind.noun}s with {transitions} "
            f"transitions, not {told[0]} with {told[1]} as its {manifest.FILE_NAME} says; copy or "
            "publish this version anew"
        )


def _read_shard(
    path: pathlib.Path, published: Mapping[str, Any], kind: kinds.Episodes | kinds.Transitions
) -> Iterator[Any]:
    digest = hashlib.sha256()
    yield from _items(path, kind, digest)
    if digest.hexdigest() != published["files"][path.name]["sha256"]:
        raise not_as_published(path)


def _items(
    path: pathlib.Path, kind: kinds.Episodes | kinds.Transitions, digest: Any
) -> Iterator[Any]:
    try:
        for record in records.read_records(path, digest=digest):
            try:
                item = kind.decode(record)
            except DatasetError as error:
                raise DatasetError(
                    f"in {path}, {error}; copy or publish this version anew"
                ) from error
            yield item
    except OSError as error:
        raise cannot_be_read(path, error) from error
