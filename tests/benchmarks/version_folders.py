"""Folders that pass for published versions as far as the runner looks at them before it loads."""

import pathlib

import numpy as np
from dm_env import specs

from rl_datasets.episode import EpisodeSpec
from rl_datasets.published import manifest

SPEC = EpisodeSpec(specs.Array((3,), np.float32), specs.BoundedArray((1,), np.float32, -2.0, 2.0))


def write(
    version_dir: pathlib.Path,
    environment: str | None = "Pendulum-v1",
    spec: EpisodeSpec = SPEC,
    **lineage,
) -> None:
    """A manifest alone, of a dataset that was collected in `environment`."""
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
    manifest.write(version_dir, manifest.make(plan, {}, {}, counted={}, skipped={}))
