"""Folders that pass for published versions as far as the runner looks at them before it loads."""

import pathlib
from collections.abc import Iterable

import numpy as np
from dm_env import specs

from rl_datasets.episode import EpisodeSpec
from rl_datasets.published import manifest

SPEC = EpisodeSpec(specs.Array((3,), np.float32), specs.BoundedArray((1,), np.float32, -2.0, 2.0))

EMPTY = {
    "episodes": 0,
    "transitions": 0,
    "episode_length": {"min": 0, "max": 0},
    "episode_return": {
        **{"mean": 0.0, "standard_deviation": 0.0, "min": 0.0, "max": 0.0},
        "histogram": {"counts": [], "edges": []},
    },
}


def write(
    version_dir: pathlib.Path,
    environment: str | None = "Pendulum-v1",
    spec: EpisodeSpec = SPEC,
    splits: Iterable[str] = (),
    **lineage,
) -> None:
    """A manifest alone, of a dataset that was collected in `environment`, with empty splits."""
    config, version = version_dir.parts[-2:]
    plan = {
        "dataset": version_dir.parts[-3],
        "config": config,
        "version": version,
        "spec": manifest.spec_to_json(spec),
        "sources": {},
        "lineage": {"environment": environment, **lineage},
    }
    version_dir.mkdir(parents=True, exist_ok=True)
    empty = dict.fromkeys(splits, EMPTY)
    manifest.write(version_dir, manifest.make(plan, empty, {}, counted={}, skipped={}))
