"""Updates and networks of Dopamine's JAX agents, on the same weights; see `tests/parity`."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import c51, dqn, image_networks, networks, qr_dqn
from learners.types import DiscreteSpec
from tests.learners import plain

SPEC = DiscreteSpec(3, (3, 3, 2))
ADAM = {"learning_rate": 1e-3, "epsilon": 0.01 / 32}
CASES = {
    "dqn_huber": (dqn, dqn.Config(optimizer="adam", **ADAM)),
    "dqn_squared": (dqn, dqn.Config(optimizer="adam", is_squared=True, **ADAM)),
    "c51": (c51, c51.Config(num_atoms=7, vmax=2.0, **ADAM)),
    "qr_dqn": (qr_dqn, qr_dqn.Config(num_quantiles=7, **ADAM)),
}


@pytest.fixture(scope="module")
def values():
    path = pathlib.Path(__file__).parents[1] / "parity" / "values" / "dopamine.npz"
    with np.load(path) as file:
        return dict(file)


def small_network(num_outputs, initializers=networks.keras_initializers):
    network = networks.mlp([8, num_outputs], initializers)

    def flat(frames):
        return frames.reshape(len(frames), -1).astype(jnp.float32) / 255.0

    return networks.Network(
        lambda key, frames: network.init(key, flat(frames)),
        lambda params, frames: network.apply(params, flat(frames)),
    )


def params(values, prefix):
    """Flax's two layers as ours."""
    hidden, head = (
        [jnp.asarray(values[f"{prefix}/Dense_{i}/{kind}"]) for kind in ("kernel", "bias")]
        for i in range(2)
    )
    return {
        "hidden_0": {"w": hidden[0], "b": hidden[1]},
        "head": {"w": head[0].T, "b": head[1]},
    }


@pytest.mark.parametrize("name", CASES)
def test_an_update(name, values, monkeypatch):
    module, config = CASES[name]
    if module is c51:
        monkeypatch.setattr(module, "nature_dqn", small_network)
    else:
        monkeypatch.setattr(module, "styled", lambda style, outputs: small_network(outputs))
    learner = module.make(config, SPEC)
    state = learner.init(jax.random.PRNGKey(0))
    start, target = params(values, f"{name}/start"), params(values, f"{name}/target")
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(jnp.shape, state.params)
    batch = plain.Batch(**{f: values[f"batch/{f}"][None] for f in plain.Batch._fields[:-1]})
    state = state._replace(params=start, target_params=target)
    state, metrics = learner.update(state, batch)
    np.testing.assert_allclose(metrics["loss"], values[f"{name}/loss"], rtol=1e-5)
    gradient = jax.tree.map(lambda m: m / 0.1, state.optimizer_state[0].mu)
    plain.assert_close(gradient, params(values, f"{name}/gradient"), rtol=1e-4, atol=1e-6)
    plain.assert_close(state.params, params(values, f"{name}/after"), rtol=1e-4, atol=1e-6)
    assert plain.moved(state.params, params(values, f"{name}/start")) > 5e-4


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("nature", image_networks.nature_dqn(6)),
        ("impala", image_networks.with_head(image_networks.impala(), (512, 6))),
    ],
)
def test_a_network(name, network, values):
    """With weights drawn as the script draws them."""
    rng = np.random.default_rng(0)
    frames = np.random.default_rng(2).integers(0, 256, (3, 84, 84, 4), dtype=np.uint8)
    drawn = {}
    for layer, arrays in network.init(jax.random.PRNGKey(0), frames).items():
        is_head = layer == "head"
        shape = arrays["w"].shape[::-1] if is_head else arrays["w"].shape
        w = np.prod(shape[:-1]) ** -0.5 * rng.normal(size=shape)
        b = 0.1 * rng.normal(size=shape[-1])
        drawn[layer] = {"w": jnp.float32(w.T if is_head else w), "b": jnp.float32(b)}
    outputs = network.apply(drawn, frames)
    np.testing.assert_allclose(outputs, values[f"networks/{name}"], rtol=1e-4, atol=1e-5)
    assert np.std(outputs, axis=0).min() > 1e-3
