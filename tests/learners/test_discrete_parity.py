"""Three updates of learners for games, held to those of Tianshou 2.0.1 and d3rlpy 2.8.1.

The scripts in `tests/parity` write what the peers do with the same weights, frames and transitions:
losses, gradients, weights after a copy to the target network and after a step more, and what is
played then.
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.recipes import tianshou
from learners import crr, discrete_bc, discrete_bcq, discrete_cql
from learners.types import DiscreteSpec
from tests.learners import plain
from tests.parity import seeded

VALUES = pathlib.Path(__file__).parents[1] / "parity" / "values"

SPEC = DiscreteSpec(seeded.NUM_ACTIONS, (*seeded.FRAMES[1:], seeded.FRAMES[0]))
ADAM = {"learning_rate": 1e-3, "epsilon": 1e-4}
COPIED = {"target_period": seeded.TARGET_PERIOD}
CRR = {"max_weight": 1.2, "cql_weight": 0.5, **ADAM, **COPIED}
# Module, config, and how bright the frames are.
LEARNERS = {
    "tianshou_discrete_il": (
        discrete_bc,
        dataclasses.replace(discrete_bc.TIANSHOU, **ADAM),
        2,
    ),
    "tianshou_discrete_bcq": (
        discrete_bcq,
        dataclasses.replace(discrete_bcq.TIANSHOU, threshold=0.6, **ADAM),
        2,
    ),
    "tianshou_discrete_cql": (
        discrete_cql,
        dataclasses.replace(discrete_cql.TIANSHOU, num_quantiles=5, weight=2.0, **ADAM),
        2,
    ),
    "tianshou_discrete_crr": (
        crr,
        tianshou.CRR(averages_weights=True, weight_has_gradient=True, **CRR),
        2,
    ),
    "tianshou_discrete_crr_repaired": (crr, crr.Config(**CRR), 2),
    "d3rlpy_discrete_bc": (
        discrete_bc,
        dataclasses.replace(discrete_bc.D3RLPY, penalty=0.3, **ADAM),
        255,
    ),
    "d3rlpy_discrete_bcq": (
        discrete_bcq,
        dataclasses.replace(
            discrete_bcq.D3RLPY, num_quantiles=5, threshold=0.6, penalty=0.3, **ADAM, **COPIED
        ),
        255,
    ),
    "d3rlpy_discrete_cql": (
        discrete_cql,
        dataclasses.replace(discrete_cql.D3RLPY, num_quantiles=5, weight=2.0, **ADAM, **COPIED),
        255,
    ),
}


def peers_name(path):
    """A layer's name in the peers' scripts, and the kind of its parameter."""
    *network, layer, kind = (part.key for part in path)
    prefix = "".join(f"{name}/" for name in network)
    if layer.startswith("conv2_d"):
        number = layer.removeprefix("conv2_d").removeprefix("_") or "0"
        name = f"{prefix}conv_{number}"
    else:
        *head, part = layer.split("_")
        name = prefix + "/".join([*head, {"linear": "hidden", "head": "head"}[part]])
    return name, {"w": "weight", "b": "bias"}[kind]


def peers_layout(name, array):
    """As PyTorch lays a parameter out."""
    if array.ndim == 4:
        return np.transpose(array, (3, 2, 0, 1))
    if name.endswith("hidden") and array.ndim == 2:
        side = int((array.shape[0] / 64) ** 0.5)
        return np.transpose(array.reshape(side, side, 64, -1), (3, 2, 0, 1)).reshape(
            array.shape[1], -1
        )
    return array  # `Head` keeps [outputs, inputs] as PyTorch does


def ours(name, shape, array):
    """The inverse of `peers_layout`, to an array of this shape."""
    if len(shape) == 4:
        return np.transpose(array, (2, 3, 1, 0))
    if name.endswith("hidden") and len(shape) == 2:
        side = int((shape[0] / 64) ** 0.5)
        return np.transpose(array.reshape(shape[1], 64, side, side), (2, 3, 1, 0)).reshape(shape)
    return array


def filled(stage, params):
    """Params of the weights that the scripts give their layers."""

    def fill(path, array):
        name, kind = peers_name(path)
        shape = peers_layout(name, np.asarray(array)).shape
        return jnp.asarray(ours(name, array.shape, seeded.weights(f"{stage}/{name}/{kind}", shape)))

    return jax.tree_util.tree_map_with_path(fill, params)


def check(stage, params, values, **tolerance):
    """Holds params, or gradients, to some entries of all that the peer has."""
    names = set()
    for path, array in jax.tree_util.tree_leaves_with_path(params):
        name, kind = peers_name(path)
        if f"{stage}/{name}/{kind}" not in values:
            continue
        names.add(f"{stage}/{name}/{kind}")
        some = seeded.some(peers_layout(name, np.asarray(array)))
        np.testing.assert_allclose(
            some, values[f"{stage}/{name}/{kind}"], err_msg=f"{stage} {name} {kind}", **tolerance
        )
    assert names == {name for name in values if name.startswith(f"{stage}/")}


def batch(step, brightest):
    arrays = seeded.batch(step, brightest)
    for name in ("observation", "next_observation"):
        arrays[name] = np.transpose(arrays[name], (0, 2, 3, 1))
    arrays["action"] = arrays["action"].astype(np.int32)
    return plain.Batch(**{name: array[None] for name, array in arrays.items()})


@pytest.mark.parametrize("name", LEARNERS)
def test_three_updates_are_the_peers(name):
    module, config, brightest = LEARNERS[name]
    with np.load(VALUES / f"{name}.npz") as archive:
        values = dict(archive)
    learner = module.make(config, SPEC)
    state = learner.init(jax.random.PRNGKey(0))
    state = state._replace(
        params=filled("start", state.params), target_params=filled("target", state.target_params)
    )
    for step in range(seeded.STEPS):
        state, metrics = learner.update(state, batch(step, brightest))
        assert metrics["loss"] == pytest.approx(float(values[f"loss/{step}/loss"]), rel=2e-4)
        if step == 0:
            moments = next(s.mu for s in jax.tree.leaves(state.optimizer_state, is_leaf=_is_adam))
            gradients = jax.tree.map(lambda moment: moment / 0.1, moments)
            check("gradient", gradients, values, rtol=2e-3, atol=2e-5)
    check("after", state.params, values, rtol=1e-3, atol=1e-4)
    if state.target_params:
        check("after_target", state.target_params, values, rtol=1e-3, atol=1e-4)
    seen = batch(seeded.STEPS, brightest).observation[0]
    np.testing.assert_array_equal(learner.act(state, seen), values["played"])


def _is_adam(state):
    return hasattr(state, "mu")
