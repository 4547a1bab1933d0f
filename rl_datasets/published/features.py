"""TFDS features of an episode's spec, with RLDS's names (Ramos et al. 2021, arXiv 2111.02767)."""

from __future__ import annotations

from typing import Any

import dm_env.specs
import numpy as np
import tensorflow_datasets as tfds

from rl_datasets import episode
from rl_datasets.episode import EpisodeSpec
from rl_datasets.published import encoding
from rl_datasets.transition import TransitionSpec

_DOCUMENTATION = {
    episode.OBSERVATION: "What the policy saw.",
    episode.ACTION: "Taken in `observation`; zero at the last step.",
    episode.REWARD: "Earned by `action`; zero at the last step.",
    episode.DISCOUNT: "Earned by `action`: 0 where it ended the episode, 1 where the episode went "
    "on or was cut; zero at the last step.",
    episode.IS_FIRST: "The first step of the episode.",
    episode.IS_LAST: "The last step: it holds the final observation and nothing else.",
    episode.IS_TERMINAL: "The environment ended here; False at a time limit or any other cut.",
}


def features_dict(spec: EpisodeSpec | TransitionSpec) -> tfds.features.FeaturesDict:
    """The features of a dataset whose records have this spec.

    Episodes have `steps`, a nested dataset, and their metadata.

    Raises:
      DatasetError: a dataset cannot hold a field's dtype.
    """
    if isinstance(spec, TransitionSpec):
        return _features_of_transitions(spec)
    steps: dict[str, Any] = {}
    for name, array in spec.step_specs().items():
        if name.startswith(episode.OBSERVED):
            observed = steps.setdefault(episode.OBSERVATION, {})
            observed[name.removeprefix(episode.OBSERVED)] = _feature(name, array)
        else:
            steps[name] = _feature(name, array)
    metadata = {name: _feature(name, array) for name, array in spec.metadata.items()}
    return tfds.features.FeaturesDict({episode.STEPS: tfds.features.Dataset(steps), **metadata})


def _features_of_transitions(spec: TransitionSpec) -> tfds.features.FeaturesDict:
    def frames(doc: str) -> tfds.features.Sequence:
        frame = tfds.features.Image(shape=spec.frame.shape, dtype=np.uint8, encoding_format="png")
        return tfds.features.Sequence(frame, length=spec.stack, doc=doc)

    def scalar(dtype: type, doc: str) -> tfds.features.Scalar:
        return tfds.features.Scalar(dtype, doc=doc)

    return tfds.features.FeaturesDict(
        {
            "observation": frames("Stacked frames, the oldest first."),
            "action": scalar(np.int64, "Taken in `observation`."),
            "reward": scalar(np.float32, "Earned by `action`."),
            "discount": scalar(np.float32, "Earned by `action`: 0 where it ended the episode."),
            "next_observation": frames("Stacked frames, the oldest first."),
            "next_action": scalar(np.int64, "Taken in `next_observation`."),
            "episode_id": scalar(np.int64, "The source's."),
            "episode_return": scalar(np.float32, "The source's."),
        }
    )


def _feature(name: str, spec: dm_env.specs.Array) -> tfds.features.FeatureConnector:
    doc = _DOCUMENTATION.get(name)
    if isinstance(spec, dm_env.specs.StringArray):
        return tfds.features.Text(doc=doc)
    storage, dtype = encoding.storage(spec.replace(name=name)), np.dtype(spec.dtype)
    if storage == encoding.PNG:
        return tfds.features.Image(shape=spec.shape, dtype=dtype, encoding_format="png", doc=doc)
    return tfds.features.Tensor(shape=spec.shape, dtype=dtype, encoding=storage, doc=doc)
