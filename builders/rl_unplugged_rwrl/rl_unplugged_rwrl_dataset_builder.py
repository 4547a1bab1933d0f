"""`rl_unplugged_rwrl`: four tasks of the real-world RL suite, from RL Unplugged.

A configuration is a task with or without challenges, and a size, by TFDS's name in `rlu_rwrl`:

    rl_unplugged_rwrl/cartpole_swingup_combined_challenge_none_1_percent
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from builders.rl_unplugged_suites import SuiteBuilder
from rl_datasets.sources import rl_unplugged_rwrl
from rl_datasets.sources.rl_unplugged_shards import Dataset

_EASY = (
    "rewards lag ten steps, and observations and actions three: rows are what the agent saw, and "
    "the first three observations and ten rewards of an episode may be those of the one before, "
    "because the suite never clears its buffers"
)


class Builder(SuiteBuilder):
    """Publishes the episodes of a dataset; the source is as for every suite."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(
            name=name,
            description=f"{choice.size.replace('_percent', ' %')} of the episodes of "
            f"{choice.domain}; challenges: {choice.challenge}.",
        )
        for name, choice in rl_unplugged_rwrl.CHOICES.items()
    ]

    def dataset(self, config: str) -> Dataset:
        return rl_unplugged_rwrl.dataset(config)

    def facts(self, config: str) -> Mapping[str, Any]:
        choice = rl_unplugged_rwrl.CHOICES[config]
        return {
            "domain": choice.domain,
            "task": rl_unplugged_rwrl.DOMAINS[choice.domain].task,
            "combined_challenge": choice.challenge,
            "size": choice.size,
            "repaired": [rl_unplugged_rwrl.REPAIRED],
            "known_defects": [
                "one episode alone could be examined, of cartpole without challenges: the layout "
                "of the others is that of readers which are public",
                *([_EASY] if choice.challenge == "easy" else []),
            ],
        }
