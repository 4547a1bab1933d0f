"""IQL's deterministic policy, against the same regression written plainly."""

import jax
import jax.numpy as jnp
import numpy as np

from learners import iql
from learners.types import Spec
from tests.learners import plain

SPEC = Spec(5, 2, np.array([-1.0, -2.0]), np.array([1.0, 4.0]))
CENTRE, MAGNITUDE = np.array([0.0, 1.0], np.float32), np.array([1.0, 3.0], np.float32)


def test_a_deterministic_policy_regresses_on_weighted_squares():
    batches = plain.random_batches(1, 16, 5, 2)
    batches = batches._replace(action=CENTRE + MAGNITUDE * batches.action)
    config = iql.Config(hidden_sizes=(16, 16), deterministic=True)
    learner = iql.make(config, SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    state, metrics = learner.update(learner.init(jax.random.PRNGKey(0)), batches)

    batch = plain.at(batches, 0)
    q = [
        plain.forward(plain.at(start.params.critics, k), batch.observation, batch.action)[:, 0]
        for k in (0, 1)
    ]
    v = plain.forward(state.params.value, batch.observation)[:, 0]  # after its step
    weight = np.minimum(np.exp(3.0 * (np.minimum(*q) - v)), 100.0)
    target = (batch.action - CENTRE) / MAGNITUDE

    def loss(params):
        mean = jnp.tanh(plain.forward(params, batch.observation))
        return jnp.mean(weight * jnp.sum((mean - target) ** 2, axis=-1))

    value, gradient = jax.value_and_grad(loss)(start.params.policy.mean)
    np.testing.assert_allclose(metrics["policy_loss"], value, rtol=1e-5)
    expected = plain.Adam(start.params.policy.mean, 3e-4, 1e-8)
    plain.assert_close(state.params.policy.mean, expected.step(start.params.policy.mean, gradient))
    np.testing.assert_array_equal(state.params.policy.log_std, [0.0, 0.0])
    assert plain.moved(state.params.policy.mean, start.params.policy.mean) > 2e-4


def test_only_a_policy_with_deviations_can_be_sampled():
    assert iql.make(iql.Config(deterministic=True), SPEC).sample is None
    assert iql.make(iql.Config(), SPEC).sample is not None
