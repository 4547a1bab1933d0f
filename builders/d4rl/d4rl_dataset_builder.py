"""`d4rl`: the datasets of "D4RL: Datasets for Deep Data-Driven Reinforcement Learning".

A configuration has D4RL's own id:

    d4rl/halfcheetah-medium-v2                    D4RL's data, from its HDF5 file
    d4rl/halfcheetah-medium-v2-recollected        collected again by D4RL's rules and policy
    d4rl/halfcheetah-expert-v2-recollected-sac-1a2b3c4d
                                                  by D4RL's rules and this project's SAC, whose
                                                  weights' sha256 begins with these digits

`rl_datasets.collection.naming` has the rule. D4RL's files hold only the policies of its medium
data.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.collected_folder import CollectedFolder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import collected, d4rl, d4rl_episodes, downloads, hdf5
from rl_datasets.sources.collected import RECOLLECTED
from rl_datasets.sources.d4rl_tasks import Task, task, tasks

COLLECTED = {
    "random": "collected again by D4RL's rules",
    "medium": "collected again by D4RL's rules with D4RL's own policy",
}


def _description(of: Task) -> str:
    defects = "".join(f"\n- {defect}." for defect in of.known_defects)
    return f"D4RL's {of.id}, from {of.url}.{' Known defects:' if defects else ''}{defects}"


class Builder(PublishedDatasetBuilder):
    """Publishes D4RL's file of a task, or a collected folder.

    The `source` is the file; its address; a folder or an address that mirrors D4RL's own,
    http://rail.eecs.berkeley.edu/datasets/offline_rl; several addresses, with spaces between, which
    are tried in order; or a folder that `rl-datasets collect` wrote. Downloads are kept in
    `downloads` in the data_dir.
    """

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar = {
        "2.0.0": "Collected again in the v2 bodies, those of D4RL, or in what the name says; the "
        "manifest names the environment. Episodes of files have `is_done`.",
        "1.0.0": "First release. What was collected again is of gymnasium's v4 bodies, whose "
        "masses and contacts are not D4RL's.",
    }
    BUILDER_CONFIGS: ClassVar = [
        *(
            tfds.core.BuilderConfig(name=name, description=_description(of))
            for name, of in tasks().items()
        ),
        *(
            tfds.core.BuilderConfig(
                name=f"{environment}-{data}-v2{RECOLLECTED}",
                description=f"The task {environment}-{data}-v2 of D4RL, {origin}.",
            )
            for environment in ("halfcheetah", "hopper", "walker2d", "ant")
            for data, origin in COLLECTED.items()
        ),
    ]

    @classmethod
    def config_of(cls, source: str) -> str:
        """The configuration that a collected folder says it is, or the task with this file name."""
        if _is_collected(source):
            return collected.read_collection(source).dataset
        name = downloads.file_name(source)
        found = [of.id for of in tasks().values() if of.file.rpartition("/")[2] == name]
        if len(found) != 1:
            raise DatasetError(
                f"{source} does not say which task of D4RL it is: name one, such as "
                f"d4rl/{min(found, default='halfcheetah-medium-v2')}"
            )
        return found[0]

    def episode_spec(self) -> EpisodeSpec:
        return self._source.episode_spec()

    def source_units(self) -> Sequence[SourceUnit]:
        return self._source.units()

    def lineage(self) -> Mapping[str, Any]:
        return self._source.lineage()

    @functools.cached_property
    def _source(self) -> CollectedFolder | _File:
        config, source = self.builder_config.name, self.source
        if source is None:
            raise DatasetError(f"d4rl/{config} needs a source to be published: name the source")
        if _is_collected(source):
            folder = CollectedFolder.open(source, self.name, config, self.builder_configs)
            if folder.collection.protocol != self.name:
                raise DatasetError(
                    f"{source} was collected by the protocol {folder.collection.protocol!r}, so it "
                    f"is not a dataset of D4RL: publish it as {folder.collection.protocol}"
                )
            return folder
        if RECOLLECTED in config:
            raise DatasetError(
                f"d4rl/{config} is a collection, and {source} is not the folder of one; publish "
                f"D4RL's own file as d4rl/{config.partition(RECOLLECTED)[0]}"
            )
        of = task(config)
        path = _find(source, of, pathlib.Path(self._data_dir_root) / "downloads")
        return _File(str(path), of, d4rl.read_contents(path, of))


@dataclasses.dataclass(frozen=True)
class _File:
    """D4RL's file of a task, as one unit."""

    path: str
    task: Task
    contents: d4rl.Contents

    def episode_spec(self) -> EpisodeSpec:
        return self.contents.episode_spec()

    def units(self) -> list[SourceUnit]:
        return [
            SourceUnit(
                name=self.task.id,
                split="train",
                num_episodes=None,
                num_transitions=None,
                files=(self.path,),
                read=functools.partial(d4rl.read_episodes_and_faults, self.path, self.task),
            )
        ]

    def lineage(self) -> dict[str, Any]:
        contents, of = self.contents, self.task
        return {
            "source": f"D4RL, {of.url}",
            "task": of.id,
            "environment": of.environment,
            "rows": contents.rows,
            "horizon": of.horizon,
            "reference_returns": of.reference,
            "trajectories": of.trajectories,
            "has_timeouts": contents.has_timeouts,
            "has_next_observations": contents.has_next_observations,
            "metadata": contents.metadata,
            "repaired": d4rl_episodes.repairs(contents, of),
            "known_defects": of.known_defects,
        }


def _is_collected(source: str) -> bool:
    return (pathlib.Path(source) / collected.COLLECTION_FILE).is_file()


def _find(source: str, of: Task, scratch: pathlib.Path) -> pathlib.Path:
    """The file of a task, downloaded if the source is an address."""
    if downloads.is_url(source):
        urls = [
            url if downloads.file_name(url).endswith(".hdf5") else f"{url.rstrip('/')}/{of.file}"
            for url in source.split()
        ]
        return downloads.download(urls, scratch, hdf5.check)
    root = pathlib.Path(os.path.abspath(source))
    candidates = [root / of.file, root / pathlib.Path(of.file).name, root]
    for path in candidates:
        if path.is_file():
            return path
    raise DatasetError(
        f"{source} is neither a file nor a folder with {of.file}: name one, or the address of a "
        f"mirror, or D4RL's own, {of.url}"
    )
