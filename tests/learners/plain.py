"""What the learners are tested against: the same mathematics, plainly, with nothing fused."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Batch(NamedTuple):
    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    extras: Any = ()


def random_batches(steps, batch_size, observation_size, action_size, seed=0):
    """Batches [K, B, ...] of noise, a tenth of them terminal."""
    rng = np.random.default_rng(seed)
    shape = (steps, batch_size)

    def normal(*size):
        return rng.normal(size=(*shape, *size)).astype(np.float32)

    return Batch(
        observation=normal(observation_size),
        action=np.tanh(normal(action_size)),
        reward=normal(),
        discount=(rng.random(shape) > 0.1).astype(np.float32),
        next_observation=normal(observation_size),
        extras={"next_action": np.tanh(normal(action_size))},
    )


def at(batches, *index):
    return jax.tree.map(lambda x: x[index], batches)


def copy(state):
    """The state as NumPy arrays, as a checkpoint would hold it."""
    return jax.tree.map(lambda x: np.array(x), state)


def forward(params, *inputs):
    """A ReLU network of two hidden layers, layer by layer; a bottleneck is not followed by one."""
    x = jnp.concatenate(inputs, axis=-1)
    for name in ("hidden_0", "hidden_1"):
        x = jnp.maximum(x @ params[name]["w"] + params[name]["b"], 0)
    if "bottleneck" in params:
        x = x @ params["bottleneck"]["w"].T + params["bottleneck"]["b"]
    return x @ params["head"]["w"].T + params["head"]["b"]


class Adam:
    """Kingma & Ba 2015, algorithm 1, line by line and in float64, over a pytree."""

    def __init__(self, params, learning_rate, epsilon):
        self.learning_rate, self.epsilon, self.steps = learning_rate, epsilon, 0
        self.m = jax.tree.map(lambda p: np.zeros(np.shape(p)), params)
        self.v = jax.tree.map(lambda p: np.zeros(np.shape(p)), params)

    def step(self, params, gradients):
        self.steps += 1
        gradients = jax.tree.map(lambda g: np.asarray(g, np.float64), gradients)
        self.m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, self.m, gradients)
        self.v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, self.v, gradients)

        def move(p, m, v):
            m_hat, v_hat = m / (1 - 0.9**self.steps), v / (1 - 0.999**self.steps)
            moved = p - self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon)
            return np.asarray(moved, np.float32)

        return jax.tree.map(move, params, self.m, self.v)


def polyak(params, target_params, rate):
    return jax.tree.map(lambda p, t: (1 - rate) * t + rate * p, params, target_params)


def assert_close(actual, expected, rtol=2e-4, atol=2e-6):
    actual_leaves, expected_leaves = jax.tree.leaves(actual), jax.tree.leaves(expected)
    assert len(actual_leaves) == len(expected_leaves)
    for a, e in zip(actual_leaves, expected_leaves, strict=True):
        np.testing.assert_allclose(a, e, rtol=rtol, atol=atol)


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def moved(actual, start):
    """The largest change of any parameter: that a comparison of updates is not of nothing."""
    changes = jax.tree.map(lambda a, s: float(np.max(np.abs(np.asarray(a) - s))), actual, start)
    return max(jax.tree.leaves(changes))
