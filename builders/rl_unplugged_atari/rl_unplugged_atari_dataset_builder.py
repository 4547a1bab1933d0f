"""`rl_unplugged_atari`: DQN Replay's data of 46 games, as RL Unplugged released them.

A configuration is a run of a game, and a split is a checkpoint of it, as in TFDS's
`rlu_atari_checkpoints_ordered`:

    rl_unplugged_atari/Pong_run_1    from the shards of gs://rl_unplugged/atari_episodes_ordered
"""

from __future__ import annotations

import functools
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import atari, rl_unplugged

_CONFIG = re.compile(r"(?P<game>\w+)_run_(?P<run>[1-5])")


class Builder(PublishedDatasetBuilder):
    """Publishes a copy of a run's shards.

    The `source` is a copy of the bucket, or of its folder of episodes, or of the game's folder.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(
            name=f"{game}_run_{run}", description=f"Episodes in order: game {game}, run {run}."
        )
        for game, run in itertools.product(rl_unplugged.GAMES, rl_unplugged.RUNS)
    ]

    @classmethod
    def config_of(cls, source: str) -> str:
        """Shards do not say which game they are of, so a configuration must be named."""
        raise DatasetError(
            f"{source} may hold many runs: name the one to publish, such as "
            "rl_unplugged_atari/Pong_run_1"
        )

    def episode_spec(self) -> EpisodeSpec:
        game, _ = self._run
        return atari.atari_episode_spec(atari.ATARI_GAMES[game].num_actions)

    def source_units(self) -> Sequence[SourceUnit]:
        """A unit a shard; one that is missing is a file that cannot be read."""
        return [
            SourceUnit(
                name=(name := f"checkpoint_{index:02d}"),
                split=name,
                num_episodes=None,
                num_transitions=None,
                files=(str(path),),
                read=functools.partial(rl_unplugged.read_episodes, str(path), index),
            )
            for index, path in enumerate(self._shards)
        ]

    def lineage(self) -> Mapping[str, Any]:
        game, run = self._run
        return {
            "source": f"RL Unplugged, gs://rl_unplugged/{rl_unplugged.EPISODES}",
            "game": game,
            "run": run,
            "shards": len(self._shards),
            "agent": "dqn",
            "rom_set": "atari-py 0.2.5",
            "sticky_probability": 0.25,
            "rewards": "clipped to [-1, 1] when they were logged; scores cannot be recovered",
            "final_observation": "never stored: a frame of zeros after a terminal transition, the "
            "last row's own observation after a truncated one",
            "repaired": [
                "the last row of an episode that is truncated, as `counted` counts them, gives its "
                "observation alone; its action and reward are left out",
            ],
            "known_defects": [
                "in the one real file that could be examined, Asterix run 1, every reward stands "
                "one step before the action that earned it; rewards stand here where the files "
                "have them",
            ],
        }

    @functools.cached_property
    def _shards(self) -> list[pathlib.Path]:
        game, run = self._run
        if self.source is None:
            raise DatasetError(
                f"rl_unplugged_atari/{game}_run_{run} needs a source: name a folder of its shards"
            )
        return rl_unplugged.find_shards(self.source, game, run)

    @property
    def _run(self) -> tuple[str, int]:
        named = _CONFIG.fullmatch(self.builder_config.name)
        if named is None or named["game"] not in rl_unplugged.GAMES:
            raise DatasetError(
                f"rl_unplugged_atari/{self.builder_config.name} is no run of RL Unplugged's 46 "
                "games: name one, such as rl_unplugged_atari/Pong_run_1"
            )
        return named["game"], int(named["run"])
