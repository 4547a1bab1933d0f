"""`rl_unplugged_control_suite`: nine tasks of dm_control's control suite, from RL Unplugged.

A configuration is a task, by the name that TFDS's `rlu_control_suite` gives it:

    rl_unplugged_control_suite/cartpole_swingup
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from builders.rl_unplugged_suites import SuiteBuilder
from rl_datasets.sources import rl_unplugged_control
from rl_datasets.sources.rl_unplugged_shards import Dataset


class Builder(SuiteBuilder):
    """Publishes the episodes of a task; the source is as for every suite."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=task, description=f"Episodes of {task}.")
        for task in rl_unplugged_control.CONTROL_SUITE
    ]

    def dataset(self, config: str) -> Dataset:
        return rl_unplugged_control.control_suite(config)

    def facts(self, config: str) -> Mapping[str, Any]:
        return {
            "task": config,
            "physics": "dm_control of 2020 on MuJoCo 2.0",
            "repaired": [rl_unplugged_control.REPAIRED],
            "known_defects": [
                "records of cartpole_swingup alone could be examined: the layout of the other "
                "tasks is that of readers which are public"
            ],
        }
