"""`rl_unplugged_atari`: DQN Replay's data of 46 games, as RL Unplugged released them.

A configuration is a run of a game:

    rl_unplugged_atari/Pong_run_1                its episodes; a split is a checkpoint, as in TFDS's
                                                 `rlu_atari_checkpoints_ordered`
    rl_unplugged_atari/Pong_run_1_transitions    the same transitions, shuffled, with their stacked
                                                 frames; no episode can be made of them
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import tensorflow_datasets as tfds

from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import atari, buckets, rl_unplugged, rl_unplugged_shards
from rl_datasets.transition import TransitionSpec

FAMILIES = {
    "": (rl_unplugged.EPISODES, "Episodes in order"),
    "_transitions": (rl_unplugged.TRANSITIONS, "Transitions, shuffled"),
}
_CONFIG = re.compile(r"(?P<game>[A-Za-z]+)_run_(?P<run>[1-5])(?P<family>_transitions)?")


class Run(NamedTuple):
    """A run of a game, in one of the two forms in which it was released."""

    game: str
    run: int
    family: str

    @property
    def has_episodes(self) -> bool:
        return self.family == rl_unplugged.EPISODES


class Builder(PublishedDatasetBuilder):
    """Publishes a run's shards.

    The `source` is the bucket, gs://rl_unplugged, or a copy of it; or one of its two folders, or
    the game's folder.
    """

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar = {
        "2.0.0": "Rewards of episodes stand with the actions that earned them; steps also have "
        "`stored_reward`, the reward that the file has in their row. Transitions are as in 1.0.0.",
        "1.0.0": "First release. Rewards of episodes stand where the files have them, one step "
        "before the action that earned them.",
    }
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(
            name=f"{game}_run_{run}{suffix}", description=f"{what}: game {game}, run {run}."
        )
        for (suffix, (_, what)), game, run in itertools.product(
            FAMILIES.items(), rl_unplugged.GAMES, rl_unplugged.RUNS
        )
    ]

    def episode_spec(self) -> EpisodeSpec | TransitionSpec:
        spec = rl_unplugged.episode_spec(atari.ATARI_GAMES[self._run.game].num_actions)
        if self._run.has_episodes:
            return spec
        return TransitionSpec(spec.observation, rl_unplugged.STACK, spec.action)

    def source_units(self) -> Sequence[SourceUnit]:
        """A unit for each shard; a missing shard is a file that cannot be read."""
        return [self._unit(index, shard) for index, shard in enumerate(self._shards)]

    def _unit(self, index: int, shard: rl_unplugged_shards.Shard) -> SourceUnit:
        read: Callable[..., Iterator[Any]]
        if self._run.has_episodes:
            name = split = f"checkpoint_{index:02d}"
            read = functools.partial(rl_unplugged.read_episodes_and_faults, checkpoint=index)
        else:
            name, split = f"shard_{index:02d}", "train"
            read = rl_unplugged.read_transitions_and_faults
        return SourceUnit(
            name=name,
            split=split,
            num_episodes=None,
            num_transitions=None,
            files=(shard if isinstance(shard, buckets.Object) else str(shard),),
            read=read if isinstance(shard, buckets.Object) else functools.partial(read, shard),
        )

    def lineage(self) -> Mapping[str, Any]:
        run = self._run
        told = {
            "source": f"RL Unplugged, gs://rl_unplugged/{run.family}",
            "game": run.game,
            "run": run.run,
            "shards": len(self._shards),
            "agent": "dqn",
            "rom_set": "atari-py 0.2.5",
            "sticky_probability": 0.25,
            "rewards": "clipped to [-1, 1] when they were logged",
        }
        if not run.has_episodes:
            return {
                **told,
                "repaired": [],
                "known_defects": [
                    "in episodes of the same data every reward is stored one row before the action "
                    "that earned it, and no file of transitions could be examined: whether "
                    "`reward` is what `action` earned or what `next_action` earned is not known",
                ],
            }
        return {
            **told,
            "rewards": "clipped to [-1, 1]; each with the action that earned it; the first "
            "action's is stored nowhere, and is 0, because no first action of these games can earn "
            "anything; `stored_reward` is what the file has in the row of a step",
            "final_observation": "never stored: a frame of zeros after a terminal transition, the "
            "last row's own observation after a truncated one",
            "repaired": [
                "a file stores a reward one row before the action that earned it: rewards stand "
                "one step later here, and the one in the last row, which no action earned, is left "
                "out",
                "the last row of an episode that is truncated, as `counted` counts them, gives its "
                "observation alone; its action and reward are left out",
            ],
            "known_defects": [
                "where rewards stand was examined in one file, two whole episodes of Asterix, run "
                "1: a file that has them otherwise would be repaired wrongly, which replaying its "
                "episodes tells",
            ],
        }

    @functools.cached_property
    def _shards(self) -> list[rl_unplugged_shards.Shard]:
        if self.source is None:
            raise DatasetError(
                f"rl_unplugged_atari/{self.builder_config.name} needs a source: name "
                f"{rl_unplugged_shards.BUCKET}, or a folder of its shards"
            )
        return rl_unplugged.find_shards(self.source, *self._run)

    @property
    def _run(self) -> Run:
        named = _CONFIG.fullmatch(self.builder_config.name)
        if named is None or named["game"] not in rl_unplugged.GAMES:
            raise DatasetError(
                f"rl_unplugged_atari/{self.builder_config.name} is not a run of RL Unplugged's 46 "
                "games: name one, such as rl_unplugged_atari/Pong_run_1"
            )
        family, _ = FAMILIES[named["family"] or ""]
        return Run(named["game"], int(named["run"]), family)
