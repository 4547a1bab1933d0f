"""One update on d3rlpy's weights and batch; `python -m tests.parity` writes what it gives."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from learners import iql
from learners.types import Spec
from tests.learners import plain

VALUES = pathlib.Path(__file__).parents[1] / "parity" / "values"
SPEC = Spec(3, 2)


def values(name):
    with np.load(VALUES / f"{name}.npz") as file:
        return dict(file)


def network(arrays, prefix):
    """PyTorch's layers below a name, in their order, as the params of our network."""
    layers = [k.removesuffix("weight") for k in arrays if k.startswith(prefix + "/_")]
    layers = [layer for layer in layers if layer.endswith(".")]
    *hidden, head = [(arrays[f"{layer}weight"], arrays[f"{layer}bias"]) for layer in layers]
    params = {f"hidden_{i}": {"w": w.T, "b": b} for i, (w, b) in enumerate(hidden)}
    return {**params, "head": {"w": head[0], "b": head[1]}}


def twin(arrays, prefix):
    numbered = [
        {k.replace(f"{prefix}/{i}.", f"{prefix}/"): v for k, v in arrays.items()} for i in (0, 1)
    ]
    both = [network(renamed, prefix) for renamed in numbered]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *both)


def batches(arrays):
    """The batch, as an update of one step takes it: [1, B, ...]."""
    fields = {name: arrays[f"batch/{name}"][None] for name in plain.Batch._fields[:-1]}
    return plain.Batch(**fields, extras={"next_action": arrays["batch/next_action"][None]})


def with_params(state, params, target_params):
    """The state of a run that begins with other weights; those that `init` drew are of no use."""
    as_jax = jax.tree.map(jnp.asarray, (params, target_params))
    assert jax.tree.map(np.shape, as_jax) == jax.tree.map(
        np.shape, (state.params, state.target_params)
    )
    return state._replace(params=as_jax[0], target_params=as_jax[1])


def gradient(optimizer_state):
    """The first gradient that Adam met, from the moment that it kept of it."""
    return jax.tree.map(lambda m: m / 0.1, optimizer_state[0].mu)


def test_iql():
    arrays = values("iql")

    def policy(stage):
        return iql.PolicyParams(
            network(arrays, f"{stage}/policy"), arrays[f"{stage}/policy/_logstd"][0]
        )

    learner = iql.make(iql.Config(hidden_sizes=(8, 8), policy_decay_steps=None), SPEC)
    start = iql.IQLParams(
        policy("start"), twin(arrays, "start/critics"), network(arrays, "start/value")
    )
    state = with_params(learner.init(jax.random.PRNGKey(0)), start, twin(arrays, "start/targets"))
    state, metrics = learner.update(state, batches(arrays))
    for name in ("value", "policy", "critic"):
        np.testing.assert_allclose(metrics[f"{name}_loss"], arrays[f"loss/{name}"], rtol=1e-5)
    plain.assert_close(gradient(state.optimizer_state.value), network(arrays, "gradient/value"))
    plain.assert_close(gradient(state.optimizer_state.policy), policy("gradient"))
    plain.assert_close(gradient(state.optimizer_state.critics), twin(arrays, "gradient/critics"))
    plain.assert_close(state.params.value, network(arrays, "after/value"))
    plain.assert_close(state.params.policy.mean, network(arrays, "after/policy"))
    plain.assert_close(state.params.critics, twin(arrays, "after/critics"))
    plain.assert_close(state.target_params, twin(arrays, "after/targets"))
