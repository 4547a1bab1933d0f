"""Publishes replayed episodes as a separate dataset, like every other dataset."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from rl_datasets import files
from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.replaying.episodes import Replayer, Stored
from rl_datasets.replaying.source import Source

REPLAYED = "-replayed"
_LIBRARIES = ("ale-py", "opencv-python-headless", "numpy")


class ReplayedBuilder(PublishedDatasetBuilder):
    """Publishes the replayed episodes of a source, under the source's name with `-replayed`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def __init__(self, *, of: Source, replayer: Replayer, **kwargs: Any):
        """Makes a builder.

        Args:
          of: the source to replay.
          replayer: replays its episodes.
          **kwargs: TFDS's own: `data_dir`; `version`.
        """
        self._of, self._replayer = of, replayer
        self.name = of.dataset  # Other builders have the name of their class.
        super().__init__(source=of.name, config=config_name(of, replayer), **kwargs)

    def episode_spec(self) -> EpisodeSpec:
        return self._replayer.spec(self._of.spec)

    def source_units(self) -> Sequence[SourceUnit]:
        return [
            dataclasses.replace(
                unit, read=functools.partial(_read, self._of.stored(unit), self._replayer)
            )
            for unit in self._of.units
        ]

    def lineage(self) -> Mapping[str, Any]:
        inherited = {
            name: fact
            for name, fact in self._of.lineage.items()
            if name not in ("source", "rom_md5", "rewards", "final_observation")
        }
        return {
            **self._of.origin,
            "replayed": "every stored frame is shown again by an emulator, in which the actions "
            "that sticky actions kept were searched for",
            "emulator": {name: importlib.metadata.version(name) for name in _LIBRARIES},
            "search_patience": self._replayer.patience,
            "roms_sha256": {
                str(rom_set): files.sha256_of(self._replayer.roms[rom_set])
                for rom_set in self._replayer.tried
            },
            **inherited,
            "rom_set": str(self._replayer.named),
            "rewards": "`reward` is clipped to [-1, 1], as learners of DQN Replay expect it, and "
            "`raw_reward` is the game's own; an episode that is not replayed whole has what was "
            "stored",
            "final_observation": "the game's own; what the source has in its place where "
            "`final_observation_is_known` does not hold",
        }


def config_name(source: Source, replayer: Replayer) -> str:
    """The configuration's name: `Pong_run_1-replayed`, then the name of each option in use.

    No two configurations that differ share a name.
    """
    asked = {"proved": replayer.prove, "ram": replayer.ram, "screens": replayer.screens}
    return f"{source.config}{REPLAYED}{''.join(f'-{name}' for name in asked if asked[name])}"


def _read(
    stored: Callable[..., Iterator[Stored | EpisodeError]], replayer: Replayer, *copies: str
) -> Iterator[Episode | EpisodeError]:
    return replayer.replay_all(stored(*copies))
