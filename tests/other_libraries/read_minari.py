"""Reads every episode of a dataset with Minari.

python read_minari.py OUT DATASETS_PATH ID
"""

import os
import sys

import numpy as np

out, os.environ["MINARI_DATASETS_PATH"], name = sys.argv[1:]
import minari  # noqa: E402  # It reads the path when it is imported.


def flat(value, place):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{place}/{key}")
    elif value is not None:
        yield place, np.asarray(value)


dataset = minari.load_dataset(name)
arrays = {
    "total_episodes": dataset.total_episodes,
    "total_steps": dataset.total_steps,
    "observation_space": str(dataset.observation_space),
    "action_space": str(dataset.action_space),
    "environment": str(dataset.env_spec and dataset.env_spec.id),
}
if dataset.env_spec:
    made = dataset.recover_environment()
    arrays["recovered"] = str(made.action_space)
for metadata, episode in zip(
    dataset.storage.get_episode_metadata(range(len(dataset))),
    dataset.iterate_episodes(),
    strict=True,
):
    observations = episode.observations
    if not isinstance(observations, dict):
        assert dataset.observation_space.contains(observations[0])
    assert dataset.action_space.contains(
        episode.actions[0] if dataset.action_space.shape else int(episode.actions[0])
    )
    assert "episode" in repr(episode).lower()
    for field in ("observations", "actions", "rewards", "terminations", "truncations", "infos"):
        arrays |= dict(flat(getattr(episode, field), f"{episode.id}/{field}"))
    arrays |= dict(flat(metadata, f"{episode.id}/attributes"))
np.savez(out, **arrays)
