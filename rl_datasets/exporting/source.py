"""What an export reads, and what it says of itself afterwards."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rl_datasets import files
from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest, reader
from rl_datasets.terminal import progress

ALL_SPLITS = "all"
SUMMARY_FILE = "export.json"
BLOCK_BYTES = 1 << 20  # Frames are decoded, and fields written and read back, this much at a time.


@dataclasses.dataclass(frozen=True)
class Source:
    """Splits of a published version, read as one stream of episodes.

    Attributes:
      folder: of the version.
      name: as `tfds.load` takes it, such as `dqn_replay/Pong_run_1:1.1.0`.
      manifest_sha256: of its MANIFEST.json, which names every byte of the version.
      spec: of an episode.
      splits: names of the splits, in the order in which they are read.
      episodes: of all these splits, by the manifest.
      transitions: of all these splits, by the manifest.
    """

    folder: pathlib.Path
    name: str
    manifest_sha256: str
    spec: EpisodeSpec
    splits: tuple[str, ...]
    episodes: int
    transitions: int

    @property
    def steps(self) -> int:
        """Rows of all episodes, their final observations included."""
        return self.transitions + self.episodes

    def read(self, doing: str = "exporting") -> Iterator[Episode]:
        """Every episode, one after another, with a progress bar on a terminal that says `doing`.

        Raises:
          DatasetError: as `reader.read_episodes`.
        """
        with progress(doing, self.transitions) as advance:
            for episode in reader.read_episodes(self.folder, "+".join(self.splits)):
                yield episode
                advance(episode.num_transitions)


def open_source(version_dir: str | os.PathLike[str], split: str) -> Source:
    """The source of an export.

    Args:
      version_dir: folder of a published version.
      split: name of a split, several joined by `+`, or "all" for every split in the order of the
        manifest.

    Raises:
      DatasetError: there is no such version or split, or a field's name leaves its folder.
    """
    folder = pathlib.Path(version_dir)
    published = manifest.read(folder)
    plan, counts = published["plan"], published["splits"]
    splits = tuple(counts if split == ALL_SPLITS else manifest.split_names(published, split))
    spec = manifest.spec_from_json(plan["spec"])
    for name in (*spec.extras, *spec.metadata):
        if not name.replace("/", "_").isidentifier() or name.startswith("/"):
            raise DatasetError(
                f"{folder / manifest.FILE_NAME} names a field {name!r}, which cannot be the name "
                "of a file; publish this version anew"
            )
    config = f"/{plan['config']}" if plan["config"] else ""
    return Source(
        folder=folder,
        name=f"{plan['dataset']}{config}:{plan['version']}",
        manifest_sha256=files.sha256_of(folder / manifest.FILE_NAME),
        spec=spec,
        splits=splits,
        episodes=sum(counts[name]["episodes"] for name in splits),
        transitions=sum(counts[name]["transitions"] for name in splits),
    )


@dataclasses.dataclass(frozen=True)
class Export:
    """What an export wrote, after it was read back.

    Attributes:
      kind: of the export, such as `arrays`.
      target: the file or folder.
      source: name, splits and sha256 of the manifest of what was exported.
      episodes: that were exported.
      transitions: that were exported.
      fields: by name: shape, dtype and the sha256 of the bytes of its rows.
      differences: what the format cannot hold, or holds otherwise, a sentence each.
    """

    kind: str
    target: pathlib.Path
    source: Mapping[str, Any]
    episodes: int
    transitions: int
    fields: Mapping[str, Mapping[str, Any]]
    differences: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """As plain data, the same wherever the target lies."""
        content = dataclasses.asdict(self)
        del content["target"]
        return content


def summary(
    kind: str,
    target: pathlib.Path,
    source: Source,
    fields: Mapping[str, Mapping[str, Any]],
    differences: Sequence[str] = (),
) -> Export:
    """The summary of an export of everything in `source`."""
    described = {
        "name": source.name,
        "splits": list(source.splits),
        "manifest_sha256": source.manifest_sha256,
    }
    return Export(
        kind, target, described, source.episodes, source.transitions, fields, tuple(differences)
    )


def blocks(rows: Any) -> Iterator[np.ndarray]:
    """The rows of an array, or of encoded frames, decoded a block at a time.

    Raises:
      DatasetError: a frame is damaged.
    """
    step = max(1, BLOCK_BYTES // max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize))
    return (decoded(rows[start : start + step]) for start in range(0, len(rows), step))


def decoded(rows: Any) -> np.ndarray:
    """An array as it is, or encoded frames as one.

    Raises:
      DatasetError: a frame is damaged.
    """
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise DatasetError(
            f"a frame of the dataset cannot be decoded ({error}); copy or publish it anew"
        ) from error
