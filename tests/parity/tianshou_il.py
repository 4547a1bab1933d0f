"""One update of Tianshou's imitation learning, for `tests/learners/test_parity.py`.

The actor is as the example makes it, `examples/offline/d4rl_il.py`: its network is told the size of
actions, and so ends in a layer of that size, before the actor's own.
"""

import torch
from peer import ACTION_SIZE, HIDDEN_SIZES, OBSERVATION_SIZE, gradients, weights, write
from tianshou.algorithm.imitation.imitation_base import ImitationPolicy, OfflineImitationLearning
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorDeterministic
from tianshou_peer import ACTIONS, random_buffer, update

torch.manual_seed(0)
actor = ContinuousActorDeterministic(
    preprocess_net=Net(
        state_shape=OBSERVATION_SIZE, action_shape=ACTION_SIZE, hidden_sizes=HIDDEN_SIZES
    ),
    action_shape=ACTION_SIZE,
)
algorithm = OfflineImitationLearning(
    policy=ImitationPolicy(actor=actor, action_space=ACTIONS),
    optim=AdamOptimizerFactory(lr=1e-4),
)
buffer, arrays = random_buffer()
arrays |= weights("start/policy", actor)
arrays["loss/policy"] = update(algorithm, buffer).loss
arrays |= gradients("gradient/policy", actor, algorithm.optim._optim)
arrays |= weights("after/policy", actor)
write(arrays)
