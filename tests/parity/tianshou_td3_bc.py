"""One update of Tianshou's TD3+BC, for `tests/learners/test_parity.py`; run by `-m tests.parity`.

One difference from the authors, which our learner has an option for: the target policy's smoothed
actions are not clipped to their bounds, and some here leave them.
"""

import torch
from peer import ACTION_SIZE, HIDDEN_SIZES, OBSERVATION_SIZE, after, move, start, write
from tianshou.algorithm import TD3BC
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorDeterministic
from tianshou_peer import ACTIONS, actor_and_critics, critic, random_buffer, update

torch.manual_seed(0)
actor = ContinuousActorDeterministic(
    preprocess_net=Net(state_shape=OBSERVATION_SIZE, hidden_sizes=HIDDEN_SIZES),
    action_shape=ACTION_SIZE,
)
adam = AdamOptimizerFactory(lr=3e-4)
algorithm = TD3BC(
    policy=ContinuousDeterministicPolicy(actor=actor, action_space=ACTIONS),
    policy_optim=adam,
    critic=critic(),
    critic2=critic(),
    critic_optim=adam,
    update_actor_freq=1,
    policy_noise=1.0,  # so that some of it meets its bounds, and some actions theirs
    noise_clip=1.5,
)
buffer, arrays = random_buffer()
networks, targets = actor_and_critics(actor, algorithm)
targets = {"policy": algorithm.actor_old.module, **targets}
move(*targets.values())
arrays |= start(networks, targets)

draw, smooth = torch.randn, algorithm._target_q_compute_action


def recorded(*arguments, **keywords):
    noise = draw(*arguments, **keywords)
    arrays["noise"] = noise.numpy().copy()
    return noise


def smoothed(observations):
    actions = smooth(observations)
    assert actions.act.abs().max() > 1.0
    return actions


torch.randn, algorithm._target_q_compute_action = recorded, smoothed
losses = update(algorithm, buffer)
arrays["loss/critic"] = losses.critic1_loss + losses.critic2_loss
arrays["loss/policy"] = losses.actor_loss
arrays |= after(networks, targets)
write(arrays)
