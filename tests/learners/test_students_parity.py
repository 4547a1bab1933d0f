"""Two updates by the code of Agarwal et al. 2022, on the same weights and batches.

`tests/parity/students.py` wrote them. The weights are copied to the target network after each
update, and lambda falls between the two.
"""

import pathlib

import jax
import numpy as np
import pytest

from benchmarks.recipes import reincarnating_rl
from learners import (
    discrete_cql,
    distillation,
    dqfd,
    qdagger_dqn,
    qdagger_drq,
    qdagger_rainbow,
)
from learners.types import DiscreteSpec
from tests.learners import plain
from tests.learners.test_dopamine_parity import params, small_network

SPEC = DiscreteSpec(3, (3, 3, 2))
WEIGHTS = (0.6, 0.25)  # lambda
SHARED = {"discount": 0.97, "target_period": 1, "learning_rate": 1e-3, "epsilon": 1.5e-4}
FADING = {**SHARED, "final_learning_rate": 1e-4}
RAINBOW = {**FADING, "num_atoms": 7, "vmax": 2.0}
CASES = {  # The module in which the network is made, the learner's, and its config.
    "qdagger_dqn": (distillation, qdagger_dqn, qdagger_dqn.Config(**FADING)),
    "qdagger_dqn_clones_best": (
        distillation,
        qdagger_dqn,
        qdagger_dqn.Config(clones_best=True, **FADING),
    ),
    "qdagger_drq": (
        qdagger_drq,
        qdagger_drq,
        qdagger_drq.Config(max_shift=0, intensity=0.0, **FADING),
    ),
    "dqfd": (distillation, dqfd, dqfd.Config(**FADING)),
    "dqfd_maximum": (distillation, dqfd, dqfd.Config(is_maximum=True, **FADING)),
    "dqfd_squared": (
        distillation,
        dqfd,
        reincarnating_rl.DQfD(squares_weight=True, **FADING),
    ),
    "qdagger_rainbow": (
        qdagger_rainbow,
        qdagger_rainbow,
        qdagger_rainbow.Config(coefficient=2.0, **RAINBOW),
    ),
    "rainbow": (
        qdagger_rainbow,
        qdagger_rainbow,
        qdagger_rainbow.Config(coefficient=0.0, **RAINBOW),
    ),
    "pretraining": (
        discrete_cql,
        discrete_cql,
        discrete_cql.Config(num_quantiles=None, weight=1.0, temperature=0.1, **SHARED),
    ),
}


@pytest.fixture(scope="module")
def values():
    path = pathlib.Path(__file__).parents[1] / "parity" / "values" / "students.npz"
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("name", CASES)
def test_two_updates(name, values, monkeypatch):
    network_module, module, config = CASES[name]
    monkeypatch.setattr(network_module, "styled", lambda style, outputs: small_network(outputs))
    learner = module.make(config, SPEC)
    state = learner.init(jax.random.PRNGKey(0))
    start, target = params(values, f"{name}/start"), params(values, f"{name}/target")
    assert jax.tree.map(np.shape, start) == jax.tree.map(np.shape, state.params)
    state = state._replace(params=start, target_params=target)
    start = plain.copy(start)
    for step, weight in enumerate(WEIGHTS):
        if module is not discrete_cql:
            state = distillation.with_weight(state, weight)
        state, metrics = learner.update(state, batch(values, step, config))
        np.testing.assert_allclose(metrics["loss"], values[f"{name}/loss/{step}"], rtol=1e-5)
        if f"{name}/priority/{step}" in values:
            np.testing.assert_allclose(
                metrics["priority"], values[f"{name}/priority/{step}"], rtol=1e-5
            )
        if step == 0:
            gradient = jax.tree.map(lambda m: m / 0.1, adam(state).mu)
            plain.assert_close(gradient, params(values, f"{name}/gradient"), rtol=1e-4, atol=1e-6)
    plain.assert_close(state.params, params(values, f"{name}/after"), rtol=1e-4, atol=1e-6)
    assert plain.moved(state.params, start) > 5e-4


def batch(values, step, config):
    """With the extras that an update reads."""
    extras = () if isinstance(config, discrete_cql.Config) else config.extras()
    fields = {f: values[f"batch/{f}"][[step]] for f in plain.Batch._fields[:-1]}
    return plain.Batch(**fields, extras={name: values[f"batch/{name}"][[step]] for name in extras})


def adam(state):
    """Adam's state within the optimiser's."""

    def is_adam(part):
        return hasattr(part, "mu")

    return next(filter(is_adam, jax.tree.leaves(state.optimizer_state, is_leaf=is_adam)))
