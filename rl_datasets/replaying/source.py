"""Sources of replays: a published version, a log in Dopamine's layout, or RL Unplugged's shards."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rl_datasets import files, roms
from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest, reader
from rl_datasets.published.version import Version
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.replaying.episodes import EXTRAS, Stored
from rl_datasets.roms import RomSet
from rl_datasets.sources import atari, rl_unplugged
from rl_datasets.transition import TransitionSpec

_RL_UNPLUGGED = "rl_unplugged_atari"  # whose files lack the reward of an episode's first action


@dataclasses.dataclass(frozen=True)
class Source:
    """Stored episodes of a game.

    Attributes:
      dataset: the builder, such as `dqn_replay`.
      config: the builder's configuration, such as `Pong_run_1`.
      spec: the spec of the episodes.
      units: the files, each with the episodes that it holds.
      lineage: the lineage, as in a manifest.
      origin: lineage facts that identify what was replayed.
      is_a_row_early: whether the files have a reward one row before the action that earned it.
    """

    dataset: str
    config: str
    spec: EpisodeSpec
    units: Sequence[SourceUnit]
    lineage: Mapping[str, Any]
    origin: Mapping[str, Any]
    is_a_row_early: bool

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.config}"

    @property
    def game(self) -> str:
        return self.lineage["game"]

    def stored(self, unit: SourceUnit) -> Callable[..., Iterator[Stored | EpisodeError]]:
        """A reader of what a unit holds, called like the unit's `read`, and picklable too."""
        return functools.partial(_read, unit.read, self.dataset == _RL_UNPLUGGED)

    def roms(self, named: RomSet | None = None) -> dict[RomSet, pathlib.Path]:
        """The game's ROM in each installed set, the named set first.

        Where the sets have the same ROM, it is listed once.

        Args:
          named: the set that comes first; None for the one that the lineage names.

        Raises:
          DatasetError: no set is named, or the named set's ROM is not installed.
        """
        named = named or roms.roms_for(self.lineage)
        paths = {named: roms.rom_path(self.game, named)}
        for other in set(RomSet) - {named}:
            try:
                path = roms.rom_path(self.game, other)
            except DatasetError:  # It is not installed, or ale-py cannot play it.
                continue
            if files.sha256_of(path) != files.sha256_of(paths[named]):
                paths[other] = path
        return paths


def of_version(version: Version) -> Source:
    """A source of a published version; each shard is a unit.

    Raises:
      DatasetError: the version does not hold episodes of an Atari game.
    """
    spec = version.episode_spec
    source = Source(
        dataset=version.dataset,
        config=version.config,
        spec=spec,
        units=[unit for split in version.splits for unit in _units_of_split(version, split)],
        lineage=version.lineage.facts,
        origin={"source": version.name, "source_manifest_sha256": version.fingerprint},
        is_a_row_early=version.dataset == _RL_UNPLUGGED
        and rl_unplugged.STORED_REWARD not in spec.extras,  # as in version 1.0.0
    )
    return _checked(source, str(version.location))


def of_builder(builder: PublishedDatasetBuilder) -> Source:
    """A source of what a builder would publish, with the builder's units.

    Raises:
      DatasetError: the builder's source cannot be read, or does not hold episodes of an Atari game.
    """
    spec, lineage, config = builder.episode_spec(), builder.lineage(), builder.builder_config.name
    if isinstance(spec, TransitionSpec):
        raise DatasetError(
            f"{builder.name}/{config} holds shuffled transitions, which cannot be replayed: name "
            f"the configuration of its episodes, {config.removesuffix('_transitions')}"
        )
    source = Source(
        dataset=builder.name,
        config=config,
        spec=spec,
        units=builder.source_units(),
        lineage=lineage,
        origin={"source": lineage["source"]},
        is_a_row_early=builder.name == _RL_UNPLUGGED,
    )
    return _checked(source, f"{builder.name}/{config}")


def _checked(source: Source, name: str) -> Source:
    observation = source.spec.one_observation
    if (observation.shape, observation.dtype) != (atari.FRAME_SHAPE, np.uint8) or (
        source.lineage.get("game") not in atari.ATARI_GAMES
    ):
        raise DatasetError(
            f"{name} does not have the frames and the lineage of a DQN Replay game, so it cannot "
            "be replayed: name a version of dqn_replay or rl_unplugged_atari, or the files that "
            "they are published from"
        )
    if clash := sorted(source.spec.extras.keys() & EXTRAS.keys()):
        raise DatasetError(
            f"{name} already has the field {clash[0]}, so it was replayed before: name what it was "
            "replayed from"
        )
    return source


def _units_of_split(version: Version, split: str) -> Iterator[SourceUnit]:
    """A unit for each shard; the counts are known only of a split with one shard.

    A manifest counts splits, not shards.
    """
    shards, counts = manifest.shard_names(version.manifest, split), version.counts(split)
    are_known = len(shards) == 1
    for shard in shards:
        path = version.file(shard).absolute()
        yield SourceUnit(
            name=shard,
            split=split,
            num_episodes=counts.episodes if are_known else None,
            num_transitions=counts.transitions if are_known else None,
            files=(str(path), str(path.with_name(manifest.FILE_NAME))),
            read=functools.partial(_episodes_of_shard, path.parent, shard),
        )


def _episodes_of_shard(folder: pathlib.Path, shard: str) -> Iterator[Episode]:
    return reader.of_shard(Version.open(folder), shard)


def _read(
    read: Callable[..., Iterator[Episode | EpisodeError]], lacks_first: bool, *copies: str
) -> Iterator[Stored | EpisodeError]:
    for episode in read(*copies):
        yield episode if isinstance(episode, EpisodeError) else _stored(episode, lacks_first)


def _stored(episode: Episode, lacks_first: bool) -> Stored:
    if not lacks_first:
        return Stored(episode, episode.reward[:-1])
    if rl_unplugged.STORED_REWARD not in episode.extras:  # Version 1.0.0 has them as stored.
        aligned = np.append(rl_unplugged.earned(episode.reward[:-1]), np.float32(0))
        episode = dataclasses.replace(episode, reward=aligned)
    return Stored(episode, np.append(np.float32(np.nan), episode.reward[1:-1]))
