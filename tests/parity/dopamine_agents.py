"""One update of Dopamine's JAX agents, and what its networks give, for the learners' tests.

`tests/learners/test_dopamine_parity.py` reads it; run by `-m tests.parity`. The agents' own `train`
takes a network of any kind, here a small one; the networks are Dopamine's, with weights by which
`tests/learners` can draw them again, so that only outputs are written.
"""

import pathlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax

# Dopamine imports a wrapper of environments that it neither needs here nor installs.
sys.modules["baselines"] = types.ModuleType("baselines")
sys.modules["baselines.common"] = types.ModuleType("baselines.common")
sys.modules["baselines.common"].atari_wrappers = None

# ruff: noqa: E402
from dopamine.discrete_domains.atari_lib import DQNNetworkType, RainbowNetworkType
from dopamine.jax import networks
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.jax.agents.quantile import quantile_agent
from dopamine.jax.agents.rainbow import rainbow_agent
from flax import linen as nn

BATCH_SIZE, ACTIONS, ATOMS = 16, 3, 7
SUPPORT = jnp.linspace(-2.0, 2.0, ATOMS)


class Small(nn.Module):
    """One hidden layer; the outputs are as in Dopamine's network of the same kind."""

    kind: str

    @nn.compact
    def __call__(self, x, support=None):
        x = x.astype(jnp.float32).reshape(-1) / 255.0
        x = nn.relu(nn.Dense(8)(x))
        if self.kind == "dqn":
            return DQNNetworkType(nn.Dense(ACTIONS)(x))
        logits = nn.Dense(ACTIONS * ATOMS)(x).reshape(ACTIONS, ATOMS)
        probabilities = nn.softmax(logits)
        if self.kind == "c51":
            return RainbowNetworkType(jnp.sum(support * probabilities, 1), logits, probabilities)
        return RainbowNetworkType(jnp.mean(logits, axis=1), logits, probabilities)


def random_batch():
    """A batch of noise, a quarter of it terminal; rewards reach beyond the support."""
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (2, BATCH_SIZE, 3, 3, 2), dtype=np.uint8)
    return {
        "observation": frames[0],
        "action": rng.integers(0, ACTIONS, BATCH_SIZE),
        "reward": rng.normal(size=BATCH_SIZE).astype(np.float32),
        "discount": (rng.random(BATCH_SIZE) > 0.25).astype(np.float32),
        "next_observation": frames[1],
    }


def flat(prefix, tree):
    """A tree of Flax's params, or of their gradients, as arrays."""
    return {
        f"{prefix}/{layer}/{name}": np.asarray(array)
        for layer, arrays in tree["params"].items()
        for name, array in arrays.items()
    }


def update(name, kind, train, batch):
    network = Small(kind)
    example = (batch["observation"][0], SUPPORT)
    keys = jax.random.split(jax.random.PRNGKey(0))
    online, target = (network.init(key, *example) for key in keys)
    optimizer = optax.adam(1e-3, eps=0.01 / 32)
    transitions = (
        batch["observation"],
        batch["action"],
        batch["next_observation"],
        batch["reward"],
        1 - batch["discount"],
    )
    state, params, *_, loss = train(
        network, online, target, optimizer, optimizer.init(online), *transitions
    )
    gradient = jax.tree.map(lambda m: m / 0.1, state[0].mu)
    return {
        **flat(f"{name}/start", online),
        **flat(f"{name}/target", target),
        **flat(f"{name}/gradient", gradient),
        **flat(f"{name}/after", params),
        f"{name}/loss": np.asarray(loss),
    }


def dqn(loss_type):
    return lambda *given: dqn_agent.train(*given, 0.99, loss_type)


def c51(*given):
    return rainbow_agent.train(*given, jnp.ones(BATCH_SIZE), SUPPORT, 0.99)


def qr_dqn(*given):
    return quantile_agent.train(*given, 1.0, ATOMS, 0.99)


def outputs(network, frames, *rest):
    """Of weights drawn layer by layer, kernel before bias, in the order of the layers' numbers."""
    rng = np.random.default_rng(0)

    def draw(tree):
        if "kernel" in tree:
            shape = tree["kernel"].shape
            scale = np.prod(shape[:-1]) ** -0.5
            return {
                "kernel": (scale * rng.normal(size=shape)).astype(np.float32),
                "bias": (0.1 * rng.normal(size=shape[-1])).astype(np.float32),
            }
        return {name: draw(tree[name]) for name in sorted(tree, key=place)}

    def place(name):  # what convolves comes before what does not
        kind, _, number = name.rpartition("_")
        return kind == "Dense", int(number) if number.isdigit() else 0

    shapes = jax.eval_shape(lambda: network.init(jax.random.PRNGKey(0), frames[0], *rest))
    params = {"params": draw(shapes["params"])}
    return np.stack([network.apply(params, frame, *rest)[0] for frame in frames])


def main():
    batch = random_batch()
    arrays = {f"batch/{name}": array for name, array in batch.items()}
    arrays |= update("dqn_huber", "dqn", dqn("huber"), batch)
    arrays |= update("dqn_squared", "dqn", dqn("mse"), batch)
    arrays |= update("c51", "c51", c51, batch)
    arrays |= update("qr_dqn", "qr_dqn", qr_dqn, batch)
    frames = np.random.default_rng(2).integers(0, 256, (3, 84, 84, 4), dtype=np.uint8)
    arrays["networks/nature"] = outputs(networks.NatureDQNNetwork(6), frames)
    arrays["networks/impala"] = outputs(networks.ImpalaDQNNetwork(6), frames)
    np.savez_compressed(pathlib.Path(sys.argv[1]), **arrays)


if __name__ == "__main__":
    main()
