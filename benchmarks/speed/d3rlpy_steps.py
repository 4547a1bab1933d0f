"""d3rlpy's update steps a second, in d3rlpy's own environment: imports nothing of this project.

Run with the number of threads; `rates` says what it is asked, and answers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from rates import BATCH_SIZE, answer, update_work

if TYPE_CHECKING:
    from d3rlpy.algos import QLearningAlgoBase
    from d3rlpy.dataset import MDPDataset, TransitionMiniBatch

OBSERVATION_SIZE, ACTION_SIZE = 17, 6


def load(
    threads: int,
) -> tuple[dict[str, QLearningAlgoBase], list[TransitionMiniBatch], MDPDataset]:
    import d3rlpy
    import torch

    torch.set_num_threads(threads)
    d3rlpy.seed(0)
    rng = np.random.default_rng(0)
    size = 100_000
    dataset = d3rlpy.dataset.MDPDataset(
        rng.normal(size=(size, OBSERVATION_SIZE)).astype(np.float32),
        np.tanh(rng.normal(size=(size, ACTION_SIZE))).astype(np.float32),
        rng.normal(size=size).astype(np.float32),
        np.zeros(size, np.float32),
        (np.arange(size) % 1000 == 999).astype(np.float32),
    )
    batches = [dataset.sample_transition_batch(BATCH_SIZE) for _ in range(50)]
    configs = {  # two hidden layers of 256 are d3rlpy's default in all
        "bc": d3rlpy.algos.BCConfig(batch_size=BATCH_SIZE),
        "td3_bc": d3rlpy.algos.TD3PlusBCConfig(batch_size=BATCH_SIZE),
        "iql": d3rlpy.algos.IQLConfig(batch_size=BATCH_SIZE),
        "cql": d3rlpy.algos.CQLConfig(batch_size=BATCH_SIZE),
        "rebrac": d3rlpy.algos.ReBRACConfig(
            batch_size=BATCH_SIZE,
            critic_encoder_factory=d3rlpy.models.VectorEncoderFactory(use_layer_norm=True),
        ),
        "bcq": d3rlpy.algos.BCQConfig(batch_size=BATCH_SIZE),
        "sac": d3rlpy.algos.SACConfig(batch_size=BATCH_SIZE),
    }
    algorithms = {}
    for name, config in configs.items():
        algorithms[name] = config.create(device="cpu:0")
        algorithms[name].build_with_dataset(dataset)
        for batch in batches[:10]:
            algorithms[name].update(batch)
    return algorithms, batches, dataset


def main() -> None:
    algorithms, batches, dataset = load(int(sys.argv[1]))
    beforehand = [(batch,) for batch in batches]

    def sampled() -> tuple[TransitionMiniBatch]:
        return (dataset.sample_transition_batch(BATCH_SIZE),)

    answer(lambda name: update_work(name, algorithms, beforehand, sampled))


if __name__ == "__main__":
    main()
