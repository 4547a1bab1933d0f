"""Episodes of a collection that was made by hand."""

import numpy as np

from rl_datasets import episode


def make_episode(length, number=0, seed=0, is_terminal=False):
    rng = np.random.default_rng(seed)
    return episode.Episode.from_transitions(
        rng.standard_normal((length + 1, 3)).astype(np.float32),
        rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        rng.standard_normal(length),
        is_terminal=is_terminal,
        extras={"policy_id": np.full(length, 1, np.int32)},
        metadata={
            "episode_id": np.int64(number),
            "environment_seed": np.int64(seed),
            "is_cut": np.bool_(False),
        },
    )
