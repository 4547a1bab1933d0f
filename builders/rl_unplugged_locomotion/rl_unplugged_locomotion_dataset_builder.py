"""`rl_unplugged_locomotion`: seven tasks of dm_control's locomotion, from RL Unplugged.

A configuration is a task, by the name that TFDS's `rlu_locomotion` gives it:

    rl_unplugged_locomotion/humanoid_corridor
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from builders.rl_unplugged_suites import SuiteBuilder
from rl_datasets.sources import rl_unplugged_control
from rl_datasets.sources.rl_unplugged_control import IS_FAILURE_INFERRED, LOCOMOTION, EarlyEnd
from rl_datasets.sources.rl_unplugged_shards import Dataset


class Builder(SuiteBuilder):
    """Publishes the episodes of a task; the source is as for every suite."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=task, description=f"Episodes of {task}.")
        for task in LOCOMOTION
    ]

    def dataset(self, config: str) -> Dataset:
        return rl_unplugged_control.locomotion(config)

    def facts(self, config: str) -> Mapping[str, Any]:
        task = LOCOMOTION[config]
        failures = (
            f"an episode of fewer than {task.full_length} transitions is terminal, because a "
            "failure alone ends this task so early, also if the file has lost the discount of 0: "
            f"`flags` counts such episodes by `{IS_FAILURE_INFERRED}`, and `stored_discount` is "
            "what the file says"
        )
        fails = task.early_end is EarlyEnd.FAILURE
        return {
            "task": config,
            "physics": "dm_control of 2020 on MuJoCo 2.0",
            "time_limit": task.full_length,
            "repaired": [rl_unplugged_control.REPAIRED, *([failures] if fails else [])],
            "known_defects": [
                "two episodes of humanoid_corridor alone could be examined, and both had lost the "
                "discount of a fall: the layout of the other tasks is that of readers which are "
                "public, and whether their files lose discounts is not known",
                *([] if fails else ["where an episode ended is as the file says"]),
            ],
        }
