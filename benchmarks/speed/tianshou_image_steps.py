"""Tianshou's update steps a second with games, in Tianshou's own environment.

As `tianshou_steps`; networks are as in its `examples/offline/atari_*.py`, and its replay buffer
holds single frames and stacks four of them when a batch is drawn.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from gymnasium.spaces import Discrete
from rates import IMAGE_BATCH_SIZE, Work, answer, update_work
from tianshou.algorithm import DiscreteBCQ, DiscreteCQL, DiscreteCRR
from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQPolicy
from tianshou.algorithm.imitation.imitation_base import ImitationPolicy, OfflineImitationLearning
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from tianshou.env.atari.atari_network import DQNet, QRDQNet
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

if TYPE_CHECKING:
    from tianshou.algorithm import Algorithm

NUM_ACTIONS = 6
SIZES = {"c": 4, "h": 84, "w": 84, "action_shape": NUM_ACTIONS}
TRANSITIONS, EPISODE_LENGTH = 10_000, 1_000
WHOLE = 0  # the sample size that stands for a buffer's transitions in their order


def transitions() -> tuple[ReplayBuffer, list[ReplayBuffer]]:
    """A buffer of all transitions, and buffers of one batch each, which hold stacks."""
    rng = np.random.default_rng(0)
    buffer = ReplayBuffer(TRANSITIONS, stack_num=4, ignore_obs_next=True)
    for number in range(TRANSITIONS):
        is_last = number % EPISODE_LENGTH == EPISODE_LENGTH - 1
        step = {
            "obs": rng.integers(0, 256, (84, 84), np.uint8),
            "act": rng.integers(NUM_ACTIONS),
            "rew": float(rng.integers(-1, 2)),
            "terminated": is_last,
            "truncated": False,
        }
        buffer.add(Batch(**step, info={}))
    batches = []
    for _ in range(10):
        drawn, _ = buffer.sample(IMAGE_BATCH_SIZE)
        fields = ("obs", "act", "rew", "terminated", "truncated", "done", "obs_next")
        batches.append(ReplayBuffer.from_data(**{field: drawn[field] for field in fields}))
    return buffer, batches


def make_algorithms() -> dict[str, Algorithm]:
    actions = Discrete(NUM_ACTIONS)
    adam = AdamOptimizerFactory(lr=1e-4)

    def actor(torso: DQNet) -> DiscreteActor:
        return DiscreteActor(
            preprocess_net=torso, action_shape=NUM_ACTIONS, hidden_sizes=[512], softmax_output=False
        )

    of_bcq, of_crr = (DQNet(**SIZES, features_only=True) for _ in range(2))
    return {
        "discrete_bc": OfflineImitationLearning(
            policy=ImitationPolicy(actor=DQNet(**SIZES), action_space=actions), optim=adam
        ),
        "discrete_bcq": DiscreteBCQ(
            policy=DiscreteBCQPolicy(
                model=actor(of_bcq), imitator=actor(of_bcq), action_space=actions
            ),
            optim=adam,
            target_update_freq=8_000,
        ),
        "discrete_cql": DiscreteCQL(
            policy=QRDQNPolicy(model=QRDQNet(**SIZES, num_quantiles=200), action_space=actions),
            optim=adam,
            num_quantiles=200,
            min_q_weight=10.0,
            target_update_freq=500,
        ),
        "crr": DiscreteCRR(
            policy=DiscreteActorPolicy(actor=actor(of_crr), action_space=actions),
            critic=DiscreteCritic(preprocess_net=of_crr, hidden_sizes=[512], last_size=NUM_ACTIONS),
            optim=adam,
            target_update_freq=500,
        ),
    }


def convolutions(frames: np.ndarray) -> Work:
    """The convolutions of the network and their gradients, without the gradient of the frames."""
    torso = DQNet(**SIZES, features_only=True).net
    images = torch.from_numpy(frames).float()

    def run(_: int) -> None:
        torso.zero_grad()
        (torso(images) ** 2).sum().backward()

    return run, 1


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(0)
    buffer, batches = transitions()
    algorithms = make_algorithms()
    for algorithm in algorithms.values():
        algorithm.policy.is_within_training_step = True
        for batch in batches[:3]:
            algorithm.update(batch, WHOLE)
    of_convolutions = convolutions(batches[0].obs)
    beforehand = [(batch, WHOLE) for batch in batches]

    def work_of(name: str) -> Work:
        if name == "convolutions":
            return of_convolutions
        return update_work(name, algorithms, beforehand, lambda: (buffer, IMAGE_BATCH_SIZE))

    answer(work_of)


if __name__ == "__main__":
    main()
