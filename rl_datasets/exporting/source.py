"""The source of an export, and the summary that an export writes."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.published.version import Counts, Version, VersionLike

SUMMARY_FILE = "export.json"
BLOCK_BYTES = 1 << 20  # Data are decoded, written and read back in blocks of this size.


@dataclasses.dataclass(frozen=True)
class Source:
    """Splits of a published version, read as one stream of episodes.

    Attributes:
      version: the version that is exported.
      splits: names of the splits, in the order in which they are read.
    """

    version: Version
    splits: tuple[str, ...]

    @property
    def spec(self) -> EpisodeSpec:
        """The spec of an episode."""
        return self.version.episode_spec

    @property
    def counts(self) -> Counts:
        """The numbers of episodes and transitions of all these splits, from the manifest."""
        return self.version.counts("+".join(self.splits))

    @property
    def steps(self) -> int:
        """The number of steps of all episodes, including those of the final observations."""
        return self.counts.transitions + self.counts.episodes

    def read(self, doing: str = "exporting") -> Iterator[Episode]:
        """Every episode in order, with a progress bar labelled `doing` on a terminal.

        Raises:
          DatasetError: as `Version.episodes`.
        """
        return self.version.episodes("+".join(self.splits), doing)


def open_source(version: VersionLike, split: str) -> Source:
    """Opens the source of an export.

    Args:
      version: a published version, as `Version.open` takes it.
      split: name of a split, several joined by `+`, or "all" for every split in the order of the
        manifest.

    Raises:
      DatasetError: there is no such version or split, or a field's name leads out of its folder.
    """
    version = Version.open(version)
    splits = tuple(version.split_names(split))
    spec = version.episode_spec
    for name in (*spec.extras, *spec.metadata):
        if not name.replace("/", "_").isidentifier() or name.startswith("/"):
            raise DatasetError(
                f"{version.location}/{manifest.FILE_NAME} names a field {name!r}, which cannot be "
                "the name of a file; publish this version again"
            )
    return Source(version, splits)


@dataclasses.dataclass(frozen=True)
class Export:
    """What an export wrote, as it was read back.

    Attributes:
      kind: the kind of export, such as `arrays`.
      target: the file or folder.
      source: what was exported: its name, its splits and the sha256 of its manifest.
      episodes: number of exported episodes.
      transitions: number of exported transitions.
      fields: the shape, the dtype and the sha256 of the bytes of every field, by its name.
      differences: what the format cannot hold or holds differently, one sentence each.
    """

    kind: str
    target: pathlib.Path
    source: Mapping[str, Any]
    episodes: int
    transitions: int
    fields: Mapping[str, Mapping[str, Any]]
    differences: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data, which does not depend on the target's path."""
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
        "name": source.version.name,
        "splits": list(source.splits),
        "manifest_sha256": source.version.fingerprint,
    }
    return Export(
        kind,
        target,
        described,
        source.counts.episodes,
        source.counts.transitions,
        fields,
        tuple(differences),
    )


def blocks(rows: Any) -> Iterator[np.ndarray]:
    """The rows of an array, or of encoded frames, decoded a block at a time.

    Raises:
      DatasetError: a frame is damaged.
    """
    step = max(1, BLOCK_BYTES // max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize))
    return (decoded(rows[start : start + step]) for start in range(0, len(rows), step))


def decoded(rows: Any) -> np.ndarray:
    """An array as it is, or encoded frames as an array.

    Raises:
      DatasetError: a frame is damaged.
    """
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise DatasetError(
            f"a frame of the dataset cannot be decoded ({error}); copy or publish it again"
        ) from error
