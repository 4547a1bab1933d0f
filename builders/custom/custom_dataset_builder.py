"""`custom`: a user's own data, under a name that the user chooses.

    custom/mine     a folder of npz files, each with an episode (`sources.npz_episodes`)
                    an HDF5 file in D4RL's layout, its address, or a folder with it (`sources.d4rl`)
                    a dataset of Minari (`sources.minari`)

A file `dataset.toml` in the folder may say more of the data (`sources.dataset_toml`).
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import dm_env.specs
import tensorflow_datasets as tfds

from rl_datasets import files
from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import (
    d4rl,
    d4rl_episodes,
    dataset_toml,
    downloads,
    episode_arrays,
    hdf5,
    minari,
    npz_episodes,
)
from rl_datasets.sources.d4rl_tasks import Task

UNIT_BYTES = 256 << 20  # Of npz files that make one unit, unless a file alone is larger.
_HDF5 = (".hdf5", ".h5")


class Builder(PublishedDatasetBuilder):
    """Publishes a user's own data, in one of the layouts that the module names."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def episode_spec(self) -> EpisodeSpec:
        return self._source.spec

    def source_units(self) -> Sequence[SourceUnit]:
        return self._source.units()

    def lineage(self) -> Mapping[str, Any]:
        facts = self._source.facts()
        return {**facts, **self._source.told.facts()}

    @functools.cached_property
    def _source(self) -> _NpzFolder | _D4rlFile | _Minari:
        if self.source is None:
            name = self.builder_config.name
            raise DatasetError(f"custom/{name} needs a source to be published: name the source")
        if downloads.is_url(self.source):
            folder = pathlib.Path(self._data_dir_root) / "downloads"
            path = downloads.download(self.source.split(), folder, hdf5.check)
            return _D4rlFile(path, dataset_toml.Told(), ())
        return _open(self.source)


def _open(source: str) -> _NpzFolder | _D4rlFile | _Minari:
    path = pathlib.Path(os.path.abspath(files.local_path(source)))
    if path.is_file() and path.suffix in _HDF5:
        return _D4rlFile(path, dataset_toml.Told(), ())
    if not path.is_dir():
        raise DatasetError(
            f"{source} is neither a folder nor a file named *.hdf5 or *.h5: name one of these"
        )
    toml = path / dataset_toml.FILE
    told, said_in = dataset_toml.read(path), (str(toml),) if toml.exists() else ()
    found: list[Any] = [
        functools.partial(_D4rlFile, each)
        for each in sorted(path.iterdir())
        if each.suffix in _HDF5
    ]
    if npz := npz_episodes.files_of(path):
        found.append(functools.partial(_NpzFolder, path, tuple(map(str, npz))))
    if minari.is_minari(path):
        found.append(functools.partial(_Minari, path))
    if len(found) != 1:
        raise DatasetError(
            f"{source} holds {len(found)} datasets: name a folder of npz files, a file in D4RL's "
            "layout, or a folder of Minari's with data/main_data.hdf5"
        )
    return found[0](told, said_in)


@dataclasses.dataclass(frozen=True)
class _NpzFolder:
    """A folder of npz files; as many as fit into `UNIT_BYTES` are a unit."""

    folder: pathlib.Path
    paths: tuple[str, ...]
    told: dataset_toml.Told
    said_in: tuple[str, ...]

    @functools.cached_property
    def spec(self) -> EpisodeSpec:
        episodes = npz_episodes.read_episodes(self.paths)
        return _with_bounds(episode_arrays.spec_of(episodes, str(self.folder)), self.told)

    def units(self) -> list[SourceUnit]:
        groups: list[list[str]] = [[]]
        size = 0
        for path in self.paths:
            size += os.path.getsize(path)
            if groups[-1] and size > UNIT_BYTES:
                groups.append([])
                size = os.path.getsize(path)
            groups[-1].append(path)
        read = npz_episodes.read_episodes
        return [
            _unit(pathlib.Path(group[0]).stem, (*group, *self.said_in), read, group, self.spec)
            for group in groups
        ]

    def facts(self) -> dict[str, Any]:
        return {"source": "a user's own npz files, one for each episode", "repaired": []}


@dataclasses.dataclass(frozen=True)
class _D4rlFile:
    """An HDF5 file in D4RL's layout, as one unit."""

    path: pathlib.Path
    told: dataset_toml.Told
    said_in: tuple[str, ...]

    @functools.cached_property
    def task(self) -> Task:
        return d4rl.task_of_shapes(self.path, is_d4rls=False)

    @functools.cached_property
    def contents(self) -> d4rl.Contents:
        return d4rl.read_contents(self.path, self.task)

    @functools.cached_property
    def spec(self) -> EpisodeSpec:
        spec = self.contents.episode_spec()
        action = dm_env.specs.Array(spec.action.shape, spec.action.dtype)
        return _with_bounds(dataclasses.replace(spec, action=action), self.told)

    def units(self) -> list[SourceUnit]:
        read = d4rl.read_episodes_and_faults
        return [
            _unit(self.path.stem, (str(self.path), *self.said_in), read, str(self.path), self.task)
        ]

    def facts(self) -> dict[str, Any]:
        return {
            "source": "a user's own HDF5 file in D4RL's layout",
            "rows": self.contents.rows,
            "has_next_observations": self.contents.has_next_observations,
            "metadata": self.contents.metadata,
            "repaired": d4rl_episodes.repairs(self.contents, self.task),
        }


@dataclasses.dataclass(frozen=True)
class _Minari:
    """A dataset of Minari, as one unit."""

    folder: pathlib.Path
    told: dataset_toml.Told
    said_in: tuple[str, ...]

    @functools.cached_property
    def described(self) -> minari.Description:
        return minari.read_description(self.folder)

    @functools.cached_property
    def spec(self) -> EpisodeSpec:
        episodes = minari.read_episodes(self.described)
        spec = episode_arrays.spec_of(episodes, str(self.folder))
        bounded = minari.action_spec(self.described, spec.action)
        return _with_bounds(dataclasses.replace(spec, action=bounded), self.told)

    def units(self) -> list[SourceUnit]:
        paths = (*self.described.files, *self.said_in)
        read = minari.read_episodes
        return [_unit(minari.UNIT, paths, read, self.described, self.spec)]

    def facts(self) -> dict[str, Any]:
        return {
            "source": "a dataset of Minari",
            "environment": self.described.environment,
            "minari": self.described.facts,
            "repaired": minari.repairs(self.described),
        }


def _with_bounds(spec: EpisodeSpec, told: dataset_toml.Told) -> EpisodeSpec:
    return dataclasses.replace(spec, action=told.action_spec(spec.action))


def _unit(
    name: str, paths: tuple[str, ...], read: Callable[..., Iterator[Any]], *arguments: Any
) -> SourceUnit:
    return SourceUnit(
        name=name,
        split="train",
        num_episodes=None,
        num_transitions=None,
        files=paths,
        read=functools.partial(read, *arguments),
    )
