"""One update of Tianshou's CQL, for `tests/learners/test_parity.py`.

Networks and options are as in the example, `examples/offline/d4rl_cql.py`, but plain CQL as it was
when the README's scores were measured, not the calibrated one. The rates are 0: Tianshou moves the
policy before the critics and the learner after them, and so the gradients of both can be compared.
"""

import torch
from peer import (
    ACTION_SIZE,
    HIDDEN_SIZES,
    OBSERVATION_SIZE,
    gradients,
    move,
    record_draws,
    start,
    write,
)
from tianshou.algorithm import CQL
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic
from tianshou_peer import ACTIONS, actor_and_critics, critic, random_buffer, update

torch.manual_seed(0)
actor = ContinuousActorProbabilistic(
    preprocess_net=Net(
        state_shape=OBSERVATION_SIZE, action_shape=ACTION_SIZE, hidden_sizes=HIDDEN_SIZES
    ),
    action_shape=ACTION_SIZE,
    unbounded=True,
    conditioned_sigma=True,
)
move(actor)
adam = AdamOptimizerFactory(lr=0.0)
algorithm = CQL(
    policy=SACPolicy(actor=actor, action_space=ACTIONS),
    policy_optim=adam,
    critic=critic(),
    critic2=critic(),
    critic_optim=adam,
    cql_alpha_lr=0.0,
    alpha=1.0,
    lagrange_threshold=10.0,
    num_repeat_actions=4,
    calibrated=False,
)
buffer, arrays = random_buffer()
networks, targets = actor_and_critics(actor, algorithm)
move(*targets.values())
arrays |= start(networks, targets)

drawn = record_draws()
losses = update(algorithm, buffer)
names = ("actor", "target", "uniform", "policy", "next_policy")
for name, noise in zip(names, drawn, strict=True):
    arrays[f"noise/{name}"] = noise.numpy()
arrays["loss/critic"] = losses.critic1_loss + losses.critic2_loss
arrays["loss/policy"] = losses.actor_loss
for name, (module, optimizer) in networks.items():
    arrays |= gradients(f"gradient/{name}", module, optimizer)
multiplier = algorithm.cql_alpha_optim
arrays["gradient/log_multiplier"] = multiplier.state[algorithm.cql_log_alpha]["exp_avg"] / 0.1
write(arrays)
