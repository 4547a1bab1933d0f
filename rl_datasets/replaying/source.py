"""What can be replayed: a published version, a log in Dopamine's layout, RL Unplugged's shards."""

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
      config: of the builder, such as `Pong_run_1`.
      spec: of its episodes.
      units: its files, each with the episodes that it holds.
      lineage: of it, as a manifest tells it.
      origin: which of the lineage's facts tell what exactly was replayed.
      is_a_row_early: whether its files have a reward one row before the action that earned it.
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
        """Reads what a unit holds; called as the unit's `read`, and picklable as that is."""
        return functools.partial(_read, unit.read, self.dataset == _RL_UNPLUGGED)

    def roms(self, named: RomSet | None = None) -> dict[RomSet, pathlib.Path]:
        """The game's ROM in each set that is here, the named one first.

        Where the sets have the same ROM there is one.

        Args:
          named: the set that comes first; None for the one that the lineage names.

        Raises:
          DatasetError: no set is named, or the ROM of the one that is is not here.
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
    """A published version; a unit is a shard of it.

    Raises:
      DatasetError: it holds none of an Atari game's episodes.
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
    return _checked(source, str(version.folder))


def of_builder(builder: PublishedDatasetBuilder) -> Source:
    """What a builder would publish; its units are the builder's.

    Raises:
      DatasetError: its source cannot be read, or is none of an Atari game's episodes.
    """
    spec, lineage, config = builder.episode_spec(), builder.lineage(), builder.builder_config.name
    if isinstance(spec, TransitionSpec):
        raise DatasetError(
            f"{builder.name}/{config} holds transitions that no episode can be made of, so it "
            f"cannot be replayed: name its episodes, {config.removesuffix('_transitions')}"
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
            f"{name} is not of a game of DQN Replay's, by its frames and its lineage, so it cannot "
            "be replayed: name a version of dqn_replay or of rl_unplugged_atari, or what they are "
            "published from"
        )
    if clash := sorted(source.spec.extras.keys() & EXTRAS.keys()):
        raise DatasetError(
            f"{name} has {clash[0]} already, as what was replayed has: name what it was replayed "
            "from"
        )
    return source


def _units_of_split(version: Version, split: str) -> Iterator[SourceUnit]:
    """A unit a shard; a manifest counts splits, so it tells of a shard that is one alone."""
    shards, counts = manifest.shard_names(version.manifest, split), version.counts(split)
    folder = version.folder.absolute()
    is_told = len(shards) == 1
    for shard in shards:
        yield SourceUnit(
            name=shard,
            split=split,
            num_episodes=counts.episodes if is_told else None,
            num_transitions=counts.transitions if is_told else None,
            files=(str(folder / shard), str(folder / manifest.FILE_NAME)),
            read=functools.partial(_episodes_of_shard, folder, shard),
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
