"""The fast reader: whole episodes of a published version, without TensorFlow.

Plain `tfds.load` reads the same episodes through a tf.data pipeline a step. Here a record is one
episode, and its fields are views of the record's bytes; frames stay PNG files until asked for.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import Any

from rl_datasets import records
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.publishing import kinds, manifest
from rl_datasets.transition import StackedTransition


def read_episodes(version_dir: str | os.PathLike[str], split: str = "train") -> Iterator[Episode]:
    """Every episode of a split, in the order of the source; frames are `EncodedFrames`.

    Args:
      version_dir: folder of a published version.
      split: name of the split.

    Raises:
      DatasetError: there is no such version or split, or a file of it is missing or damaged.
    """
    spec = manifest.spec_from_json(manifest.read(pathlib.Path(version_dir))["plan"]["spec"])
    return _read(version_dir, split, kinds.Episodes(spec))


def read_transitions(
    version_dir: str | os.PathLike[str], split: str = "train"
) -> Iterator[StackedTransition]:
    """Every transition of a split of a dataset whose records are transitions, as in the source.

    Args:
      version_dir: folder of a published version.
      split: name of the split.

    Raises:
      DatasetError: there is no such version or split, its records are episodes, or a file of it is
        missing or damaged.
    """
    spec = manifest.any_spec_from_json(manifest.read(pathlib.Path(version_dir))["plan"]["spec"])
    kind = kinds.of(spec)
    if not isinstance(kind, kinds.Transitions):
        raise DatasetError(f"{version_dir} holds episodes; read them with `reader.read_episodes`")
    return _read(version_dir, split, kind)


def read_any(version_dir: pathlib.Path, split: str) -> Iterator[Any]:
    """Every record of a split, whichever its kind."""
    spec = manifest.any_spec_from_json(manifest.read(version_dir)["plan"]["spec"])
    return _read(version_dir, split, kinds.of(spec))


def _read(
    version_dir: str | os.PathLike[str], split: str, kind: kinds.Episodes | kinds.Transitions
) -> Iterator[Any]:
    version_dir = pathlib.Path(version_dir)
    for shard in shard_names(manifest.read(version_dir), split):
        path = version_dir / shard
        try:
            yield from map(kind.decode, records.read_records(path))
        except FileNotFoundError:
            raise DatasetError(f"{path} is missing; copy or publish this version anew") from None


def shard_names(published: dict, split: str) -> list[str]:
    """File names of the shards of a split, in order, by its manifest."""
    if split not in published["splits"]:
        raise DatasetError(
            f"there is no split {split!r}; this dataset has {sorted(published['splits'])}"
        )
    prefix = f"{published['plan']['dataset']}-{split}.tfrecord-"
    return sorted(name for name in published["files"] if name.startswith(prefix))
