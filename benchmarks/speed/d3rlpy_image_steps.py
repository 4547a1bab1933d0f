"""d3rlpy's update steps a second with games, in d3rlpy's own environment.

As `d3rlpy_steps`; its dataset holds single frames and stacks four of them when a batch is drawn.
BCQ is as in d3rlpy-benchmarks: quantiles, and an encoder for the imitator alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from rates import IMAGE_BATCH_SIZE, answer, update_work

if TYPE_CHECKING:
    from d3rlpy.algos import QLearningAlgoBase
    from d3rlpy.dataset import MDPDataset, TransitionMiniBatch

NUM_ACTIONS = 6
TRANSITIONS, EPISODE_LENGTH = 10_000, 1_000


def load(
    threads: int,
) -> tuple[dict[str, QLearningAlgoBase], list[TransitionMiniBatch], MDPDataset]:
    import d3rlpy
    import torch

    torch.set_num_threads(threads)
    d3rlpy.seed(0)
    rng = np.random.default_rng(0)
    dataset = d3rlpy.dataset.MDPDataset(
        rng.integers(0, 256, (TRANSITIONS, 1, 84, 84), np.uint8),
        rng.integers(0, NUM_ACTIONS, (TRANSITIONS, 1)),
        rng.integers(-1, 2, (TRANSITIONS, 1)).astype(np.float32),
        (np.arange(TRANSITIONS) % EPISODE_LENGTH == EPISODE_LENGTH - 1).astype(np.float32),
        transition_picker=d3rlpy.dataset.FrameStackTransitionPicker(4),
        action_size=NUM_ACTIONS,
    )
    batches = [dataset.sample_transition_batch(IMAGE_BATCH_SIZE) for _ in range(10)]
    every = {
        "batch_size": IMAGE_BATCH_SIZE,
        "observation_scaler": d3rlpy.preprocessing.PixelObservationScaler(),
    }
    quantiles = {"q_func_factory": d3rlpy.models.QRQFunctionFactory(n_quantiles=200)}
    configs = {
        "discrete_bc": d3rlpy.algos.DiscreteBCConfig(**every),
        "discrete_bcq_quantiles": d3rlpy.algos.DiscreteBCQConfig(
            share_encoder=False, target_update_interval=2_000, **quantiles, **every
        ),
        "discrete_cql": d3rlpy.algos.DiscreteCQLConfig(
            target_update_interval=2_000, **quantiles, **every
        ),
    }
    algorithms = {}
    for name, config in configs.items():
        algorithms[name] = config.create(device="cpu:0")
        algorithms[name].create_impl((4, 84, 84), NUM_ACTIONS)
        for batch in batches[:3]:
            algorithms[name].update(batch)
    return algorithms, batches, dataset


def main() -> None:
    algorithms, batches, dataset = load(int(sys.argv[1]))
    beforehand = [(batch,) for batch in batches]

    def sampled() -> tuple[TransitionMiniBatch]:
        return (dataset.sample_transition_batch(IMAGE_BATCH_SIZE),)

    answer(lambda name: update_work(name, algorithms, beforehand, sampled))


if __name__ == "__main__":
    main()
