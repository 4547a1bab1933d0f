"""The fast reader: whole episodes of a published version, without TensorFlow.

Plain `tfds.load` reads the same episodes through a tf.data pipeline a step. Here a record is one
episode, and its fields are views of the record's bytes; frames stay PNG files until asked for.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

from rl_datasets import records
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.publishing import encoding, manifest


def read_episodes(version_dir: str | os.PathLike[str], split: str = "train") -> Iterator[Episode]:
    """Every episode of a split, in the order of the source; frames are `EncodedFrames`.

    Args:
      version_dir: folder of a published version.
      split: name of the split.

    Raises:
      DatasetError: there is no such version or split, or a file of it is missing or damaged.
    """
    version_dir = pathlib.Path(version_dir)
    published = manifest.read(version_dir)
    spec = manifest.spec_from_json(published["plan"]["spec"])
    for shard in shard_names(published, split):
        path = version_dir / shard
        try:
            for record in records.read_records(path):
                yield encoding.decode_episode(record, spec)
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
