"""`rl_unplugged_dmlab`: five tasks of DeepMind Lab, from RL Unplugged.

A configuration is a run of a task; TFDS has a builder `rlu_dmlab_*` for each task:

    rl_unplugged_dmlab/rooms_watermaze_training_0              frames in red, green, blue
    rl_unplugged_dmlab/rooms_watermaze_training_0_as_stored    frames as released: blue, green, red
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from builders.rl_unplugged_suites import SuiteBuilder
from rl_datasets.sources import rl_unplugged_dmlab
from rl_datasets.sources.rl_unplugged_shards import Dataset

_ORDERS = {False: "red, green, blue", True: "blue, green, red, as released"}
_PLACEHOLDERS = (
    "the last row of a file gives its observation alone: its action, reward and discount are "
    "placeholders of 0"
)
_TURNED = "frames are blue, green, red in a file: the channels of each were reversed"


class Builder(SuiteBuilder):
    """Publishes the episodes of a run; the source is as for every suite."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(
            name=name,
            description=f"Episodes of {choice.task}, run {choice.run}; channels of frames: "
            f"{_ORDERS[choice.is_as_stored]}.",
        )
        for name, choice in rl_unplugged_dmlab.CHOICES.items()
    ]

    def dataset(self, config: str) -> Dataset:
        return rl_unplugged_dmlab.dataset(config)

    def facts(self, config: str) -> Mapping[str, Any]:
        choice = rl_unplugged_dmlab.CHOICES[config]
        return {
            "task": choice.task,
            "run": choice.run,
            "channels": _ORDERS[choice.is_as_stored],
            "repaired": [_PLACEHOLDERS, *([] if choice.is_as_stored else [_TURNED])],
            "known_defects": [
                "one record alone could be examined, of rooms_select_nonmatching_object: the "
                "layout of the other tasks is that of readers which are public",
                *(["frames are blue, green, red"] if choice.is_as_stored else []),
            ],
        }
