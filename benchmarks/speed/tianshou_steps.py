"""Tianshou's update steps a second, in Tianshou's own environment: imports nothing of this project.

Run with the number of threads; `rates` says what it is asked, and answers. A batch made
beforehand is a buffer that is taken whole.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from gymnasium.spaces import Box
from rates import BATCH_SIZE, answer, update_work
from tianshou.algorithm import BCQ, CQL, SAC, TD3BC
from tianshou.algorithm.imitation.bcq import BCQPolicy
from tianshou.algorithm.imitation.imitation_base import (
    ImitationPolicy,
    OfflineImitationLearning,
)
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import ReplayBuffer
from tianshou.utils.net.common import MLP, Net
from tianshou.utils.net.continuous import (
    VAE,
    ContinuousActorDeterministic,
    ContinuousActorProbabilistic,
    ContinuousCritic,
    Perturbation,
)

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

OBSERVATION_SIZE, ACTION_SIZE = 17, 6
HIDDEN_SIZES = (256, 256)
LATENT_SIZE = 2 * ACTION_SIZE
WHOLE = 0  # the sample size that stands for a buffer's transitions in their order


def transitions() -> tuple[ReplayBuffer, list[ReplayBuffer]]:
    """A buffer of all transitions, and buffers of one batch each."""
    rng = np.random.default_rng(0)
    size = 100_000
    observation, next_observation = rng.normal(size=(2, size, OBSERVATION_SIZE))
    timeouts = np.arange(size) % 1000 == 999
    data = {
        "obs": observation.astype(np.float32),
        "act": np.tanh(rng.normal(size=(size, ACTION_SIZE))).astype(np.float32),
        "rew": rng.normal(size=size).astype(np.float32),
        "terminated": np.zeros(size, bool),
        "truncated": timeouts,
        "done": timeouts,
        "obs_next": next_observation.astype(np.float32),
    }
    buffer = ReplayBuffer.from_data(**data)
    batches = []
    for _ in range(50):
        rows = rng.integers(size, size=BATCH_SIZE)
        batches.append(ReplayBuffer.from_data(**{key: array[rows] for key, array in data.items()}))
    return buffer, batches


def make_algorithms() -> dict[str, Algorithm]:
    actions = Box(-1.0, 1.0, (ACTION_SIZE,))
    adam = AdamOptimizerFactory(lr=3e-4)

    def hidden(**inputs: int | bool) -> Net:
        return Net(state_shape=OBSERVATION_SIZE, hidden_sizes=HIDDEN_SIZES, **inputs)

    def critic() -> ContinuousCritic:
        return ContinuousCritic(preprocess_net=hidden(action_shape=ACTION_SIZE, concat=True))

    def deterministic() -> ContinuousActorDeterministic:
        return ContinuousActorDeterministic(preprocess_net=hidden(), action_shape=ACTION_SIZE)

    def gaussian_policy() -> SACPolicy:
        actor = ContinuousActorProbabilistic(
            preprocess_net=hidden(),
            action_shape=ACTION_SIZE,
            unbounded=True,
            conditioned_sigma=True,
        )
        return SACPolicy(actor=actor, action_space=actions)

    def of_actor_and_critics() -> dict[str, ContinuousCritic | AdamOptimizerFactory]:
        return {
            "policy_optim": adam,
            "critic": critic(),
            "critic2": critic(),
            "critic_optim": adam,
        }

    def temperature() -> AutoAlpha:
        return AutoAlpha(target_entropy=-ACTION_SIZE, log_alpha=0.0, optim=adam)

    autoencoder = VAE(
        encoder=MLP(input_dim=OBSERVATION_SIZE + ACTION_SIZE, hidden_sizes=HIDDEN_SIZES),
        decoder=MLP(
            input_dim=OBSERVATION_SIZE + LATENT_SIZE,
            output_dim=ACTION_SIZE,
            hidden_sizes=HIDDEN_SIZES,
        ),
        hidden_dim=HIDDEN_SIZES[-1],
        latent_dim=LATENT_SIZE,
        max_action=1.0,
    )
    # Of an MLP's output, which Tianshou's own example gives it, `Perturbation` takes the first row.
    perturbation = Net(
        state_shape=OBSERVATION_SIZE + ACTION_SIZE,
        action_shape=ACTION_SIZE,
        hidden_sizes=HIDDEN_SIZES,
    )
    return {
        "bc": OfflineImitationLearning(
            policy=ImitationPolicy(actor=deterministic(), action_space=actions), optim=adam
        ),
        "td3_bc": TD3BC(
            policy=ContinuousDeterministicPolicy(actor=deterministic(), action_space=actions),
            **of_actor_and_critics(),
        ),
        "cql": CQL(
            policy=gaussian_policy(),
            alpha=temperature(),
            calibrated=False,
            **of_actor_and_critics(),
        ),
        "bcq_unperturbed": BCQ(
            policy=BCQPolicy(
                actor_perturbation=Perturbation(preprocess_net=perturbation, max_action=1.0),
                action_space=actions,
                critic=critic(),
                vae=autoencoder,
            ),
            actor_perturbation_optim=adam,
            critic_optim=adam,
            critic2=critic(),
            vae_optim=adam,
            num_sampled_action=100,
        ),
        "sac": SAC(policy=gaussian_policy(), alpha=temperature(), **of_actor_and_critics()),
    }


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(0)
    buffer, batches = transitions()
    algorithms = make_algorithms()
    for algorithm in algorithms.values():
        algorithm.policy.is_within_training_step = True
        for batch in batches[:10]:
            algorithm.update(batch, WHOLE)
    beforehand = [(batch, WHOLE) for batch in batches]
    answer(lambda name: update_work(name, algorithms, beforehand, lambda: (buffer, BATCH_SIZE)))


if __name__ == "__main__":
    main()
