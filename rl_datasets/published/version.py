"""A published version of a dataset, opened once.

    version = Version.open("brac/halfcheetah-pure-recollected")
    for episode in version.episodes():
        ...

Its manifest is read and checked when it is opened. A record is read only when it is needed, and
compared with the manifest.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rl_datasets import files
from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.published import copies, file_formats, kinds, manifest, names, reader
from rl_datasets.published.lineage import Lineage
from rl_datasets.published.random_access import EpisodeFiles
from rl_datasets.stores.store import is_address
from rl_datasets.terminal import progress
from rl_datasets.transition import StackedTransition, TransitionSpec

ALL = "all"  # All splits, in the order of the manifest.


class Counts(NamedTuple):
    """What one or several splits hold.

    Attributes:
      episodes: number of episodes; 0 where each record is a transition.
      transitions: number of transitions.
    """

    episodes: int
    transitions: int


@dataclasses.dataclass(frozen=True)
class Version:
    """A published version.

    Attributes:
      location: its folder as the user named it, or its address in a store.
      folder: the folder of its files on this machine; of a version in a store they are fetched
        when they are needed, see `file`.
      manifest: the content of its MANIFEST.json, which `published.manifest` describes.
      fingerprint: sha256 of MANIFEST.json, which identifies every byte of the version.
      spec: the spec of its episodes, or of its transitions if each record is a transition.
      lineage: the origin of its data.
    """

    location: str
    folder: pathlib.Path
    manifest: Mapping[str, Any] = dataclasses.field(compare=False, repr=False)
    fingerprint: str
    spec: EpisodeSpec | TransitionSpec = dataclasses.field(compare=False, repr=False)
    lineage: Lineage = dataclasses.field(compare=False, repr=False)

    @classmethod
    def open(
        cls, version: VersionLike, data_dir: str | os.PathLike[str] = files.DEFAULT_DATA_DIR
    ) -> Version:
        """Opens a version.

        Args:
          version: `builder/config:1.0.0`; without the number, the newest; or the folder or address
            of a version. An open version is returned as it is.
          data_dir: the folder of published datasets, or its address.

        Raises:
          DatasetError: there is no such version, or its manifest is damaged.
        """
        if isinstance(version, Version):
            return version
        location = names.find(version, data_dir)
        is_remote = is_address(location)
        folder = copies.of_version(location) if is_remote else pathlib.Path(location)
        content, fingerprint = manifest.read(folder)
        plan = content["plan"]
        return cls(
            location=location,
            folder=folder,
            manifest=content,
            fingerprint=fingerprint,
            spec=manifest.spec_from_json(plan["spec"]),
            lineage=Lineage.from_json(plan["lineage"]),
        )

    def file(self, name: str) -> pathlib.Path:
        """The path of a file of the manifest on this machine.

        A file of a version in a store is fetched if it was not yet.

        Raises:
          DatasetError: the store does not have it, or not as it was published.
        """
        if is_address(self.location):
            copies.fetch(self.location, self.folder, name, self.manifest["files"][name])
        return self.folder / name

    @property
    def dataset(self) -> str:
        """Name of the builder, such as `brac`."""
        return self.manifest["plan"]["dataset"]

    @property
    def config(self) -> str:
        """Name of the builder's configuration, such as `halfcheetah-pure`; empty without one."""
        return self.manifest["plan"]["config"] or ""

    @property
    def name(self) -> str:
        """The name that `tfds.load` takes, such as `brac/halfcheetah-pure:2.0.0`."""
        config = f"/{self.config}" if self.config else ""
        return f"{self.dataset}{config}:{self.manifest['plan']['version']}"

    @property
    def episode_spec(self) -> EpisodeSpec:
        """The spec of its episodes.

        Raises:
          DatasetError: its records are transitions that no episode can be made of.
        """
        if isinstance(self.spec, TransitionSpec):
            raise DatasetError(
                f"{self.location} holds transitions that no episode can be made of; read them with "
                "`tfds.load` or `Version.transitions`"
            )
        return self.spec

    @property
    def kind(self) -> kinds.Episodes | kinds.Transitions:
        """The kind of its records."""
        return kinds.of(self.spec)

    @property
    def file_format(self) -> file_formats.FileFormat:
        """The file format of its shards."""
        return file_formats.FILE_FORMATS[manifest.file_format(self.manifest["plan"])]

    @property
    def splits(self) -> Mapping[str, Mapping[str, Any]]:
        """Statistics of every split, by name, as the manifest has them."""
        return self.manifest["splits"]

    @property
    def size(self) -> int:
        """The size of all files except the manifest, in bytes."""
        return sum(entry["size"] for entry in self.manifest["files"].values())

    def split_names(self, split: str) -> list[str]:
        """The splits that a name stands for: one, several joined by `+`, or `all`.

        `all` lists them in the order of the manifest, which is the source's.

        Raises:
          DatasetError: there is no such split, or it is named twice.
        """
        known = list(self.splits)
        chosen = known if split == ALL else split.split("+")
        for name in chosen:
            if name not in known:
                raise DatasetError(f"{self.name} has no split {name!r}; it has {known}")
            if chosen.count(name) > 1:
                raise DatasetError(f"{split!r} names split {name!r} twice; name it once")
        return chosen

    def counts(self, split: str = ALL) -> Counts:
        """The numbers of episodes and transitions of one or several splits, from the manifest.

        Raises:
          DatasetError: as `split_names`.
        """
        splits = [self.splits[name] for name in self.split_names(split)]
        return Counts(
            sum(split.get("episodes", 0) for split in splits),
            sum(split["transitions"] for split in splits),
        )

    def episodes(self, split: str = "train", doing: str = "") -> Iterator[Episode]:
        """Every episode of a split, in the order of the source; frames are `EncodedFrames`.

        Args:
          split: name of the split, several joined by `+`, or `all`.
          doing: the label of a progress bar on a terminal; empty for no bar.

        Raises:
          DatasetError: the records are transitions, there is no such split, or a file of it is
            missing, damaged or not what was published. No more episodes are yielded than the
            manifest says.
        """
        _ = self.episode_spec  # It refuses a version of transitions.
        episodes = reader.records(self, split)
        return _with_progress(episodes, doing, self.counts(split)) if doing else episodes

    def episode(self, split: str, place: int) -> Episode:
        """One episode, by its number in a split.

        Raises:
          DatasetError: as `episodes`, or the split has no such episode.
        """
        episode = next(itertools.islice(self.episodes(split), place, None), None)
        if episode is None:
            raise DatasetError(
                f"split {split!r} of {self.location} has no episode {place}; `rl-datasets show` "
                "says how many it has"
            )
        return episode

    def transitions(self, split: str = "train") -> Iterator[StackedTransition]:
        """Every transition of a split, in the source's order, if the records are transitions.

        Raises:
          DatasetError: as `episodes`, or the records are episodes.
        """
        if isinstance(self.spec, EpisodeSpec):
            raise DatasetError(f"{self.location} holds episodes; read them with `Version.episodes`")
        return reader.records(self, split)

    def episode_files(self, split: str = "train") -> EpisodeFiles:
        """The episodes of a split by number, for reading in any order.

        Raises:
          DatasetError: as `episodes`.
        """
        return EpisodeFiles(self, split)


VersionLike = Version | str | os.PathLike[str]


def _with_progress(episodes: Iterator[Episode], doing: str, counts: Counts) -> Iterator[Episode]:
    with progress(doing, counts.transitions) as advance:
        for episode in episodes:
            yield episode
            advance(episode.num_transitions)
