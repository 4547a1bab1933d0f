"""What the scripts for Tianshou share: small networks, and a batch as a buffer."""

import numpy as np
from gymnasium.spaces import Box
from peer import ACTION_SIZE, HIDDEN_SIZES, OBSERVATION_SIZE, random_arrays
from tianshou.data import ReplayBuffer
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousCritic

ACTIONS = Box(-1.0, 1.0, (ACTION_SIZE,))


def critic():
    inputs = {"state_shape": OBSERVATION_SIZE, "action_shape": ACTION_SIZE, "concat": True}
    return ContinuousCritic(preprocess_net=Net(hidden_sizes=HIDDEN_SIZES, **inputs))


def buffer_of(arrays):
    """A batch's transitions, for Tianshou."""
    terminal = arrays["discount"] == 0
    return ReplayBuffer.from_data(
        obs=arrays["observation"],
        act=arrays["action"],
        rew=arrays["reward"],
        terminated=terminal,
        truncated=np.zeros(len(terminal), bool),
        done=terminal,
        obs_next=arrays["next_observation"],
    )


def random_buffer():
    """The batch of noise, for Tianshou and as arrays."""
    arrays = random_arrays()
    return buffer_of(arrays), {f"batch/{name}": array for name, array in arrays.items()}


def actor_and_critics(actor, algorithm):
    """An algorithm's networks with their optimizers, and its critics' targets, by name."""
    networks = {
        "policy": (actor, algorithm.policy_optim._optim),
        "critics/0": (algorithm.critic, algorithm.critic_optim._optim),
        "critics/1": (algorithm.critic2, algorithm.critic2_optim._optim),
    }
    targets = {
        "critics/0": algorithm.critic_old.module,
        "critics/1": algorithm.critic2_old.module,
    }
    return networks, targets


def update(algorithm, buffer):
    """One update on the buffer's transitions in their order."""
    algorithm.policy.is_within_training_step = True
    return algorithm.update(buffer, 0)
