"""`brac`: datasets of "Behavior Regularized Offline Reinforcement Learning", and similar ones.

A configuration is named <environment>-<mixture>, as in the paper's tables:

    brac/halfcheetah-eps1                    the paper's own data, from a file that BRAC saved
    brac/halfcheetah-eps1-recollected        collected again, with this project's policies
    brac/halfcheetah-eps1-recollected-brac   collected again, with BRAC's own policies
    brac/halfcheetah-v4-eps1-recollected-n20000-seed1   in another body than the paper's, with
                                                        20,000 transitions and the seed 1

`rl_datasets.collection.naming` has the rule. Any other name is a user's own collection.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from rl_datasets import files
from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.collected_folder import CollectedFolder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import brac, collected, tf_checkpoint

ENVIRONMENTS = {
    "halfcheetah": "HalfCheetah-v2",
    "hopper": "Hopper-v2",
    "walker2d": "Walker2d-v2",
    "ant": "Ant-v2",
}
MIXTURES = ("pure", "eps1", "eps3", "gaussian1", "gaussian3")
ORIGINS = {
    "": "as BRAC's authors collected and saved it",
    "-recollected": "collected again with this project's partially trained policies",
    "-recollected-brac": "collected again with BRAC's partially trained policies",
}


class Builder(PublishedDatasetBuilder):
    """Publishes a collected folder, or a data file that BRAC saved.

    The `source` is the folder that `rl-datasets collect` wrote, or the prefix of BRAC's file, which
    is its path without `.index`.
    """

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar = {
        "2.0.0": "Collected in the v2 bodies, those of the paper, or in what the name says; the "
        "manifest names the environment.",
        "1.0.0": "First release. What was collected again is of gymnasium's v4 bodies, whose "
        "masses and contacts are not the paper's.",
    }
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(
            name=f"{environment}-{mixture}{origin}",
            description=f"Mixture {mixture} in {environment}, {description}.",
        )
        for (origin, description), environment, mixture in itertools.product(
            ORIGINS.items(), ENVIRONMENTS, MIXTURES
        )
    ]

    @classmethod
    def config_of(cls, source: str) -> str:
        """The configuration that a collected folder says it is."""
        if files.local_path(f"{source}.index").is_file():
            raise DatasetError(
                f"{source} is not a collected folder, so it does not say which configuration it "
                "is: name the one that it holds, such as brac/halfcheetah-eps3"
            )
        return collected.read_collection(source).dataset

    def episode_spec(self) -> EpisodeSpec:
        return self._source.episode_spec()

    def source_units(self) -> Sequence[SourceUnit]:
        return self._source.units()

    def lineage(self) -> Mapping[str, Any]:
        return self._source.lineage()

    @functools.cached_property
    def _source(self) -> CollectedFolder | _SavedData:
        config = self.builder_config.name
        if self.source is None:
            raise DatasetError(f"brac/{config} needs a source to be published: name the source")
        if not files.local_path(self.source).is_dir():
            return _SavedData(self.source, config)
        return CollectedFolder.open(self.source, self.name, config, self.builder_configs)


@dataclasses.dataclass(frozen=True)
class _SavedData:
    """A data file that BRAC saved, as one unit, because it does not say what its parts are."""

    prefix: str
    config: str

    def episode_spec(self) -> EpisodeSpec:
        episode = next(brac.read_episodes(self.prefix))
        return brac.episode_spec(episode.one_observation.shape[1], episode.action.shape[1])

    def units(self) -> list[SourceUnit]:
        if self.config.endswith(tuple(filter(None, ORIGINS))):
            raise DatasetError(
                f"brac/{self.config} is a collection, and {self.prefix} is not the folder of one; "
                f"publish BRAC's saved data as brac/{self.config.split('-recollected')[0]}"
            )
        lengths = [episode.num_transitions for episode in brac.read_episodes(self.prefix)]
        return [
            SourceUnit(
                name=pathlib.Path(self.prefix).name,
                split="train",
                num_episodes=len(lengths),
                num_transitions=sum(lengths),
                files=tuple(
                    str(file.absolute()) for file in tf_checkpoint.checkpoint_files(self.prefix)
                ),
                read=functools.partial(
                    brac.read_episodes, str(pathlib.Path(self.prefix).absolute())
                ),
            )
        ]

    def lineage(self) -> dict[str, Any]:
        return {
            "source": "a data file saved by google-research's behavior_regularized_offline_rl",
            "environment": ENVIRONMENTS.get(self.config.partition("-")[0]),
            "repaired": [
                "the file does not say where episodes end: they end where s2 of a row is not s1 of "
                "the next, or the discount is 0",
                "the file does not say which policy acted: policy_id is -1",
            ],
        }
