"""Offline learners for games: losses by hand, and what sets their variants apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.recipes import tianshou
from learners import action_values, crr, discrete_bc, discrete_bcq, discrete_cql, dqn, registry
from learners.losses import log_likelihood
from learners.types import DiscreteSpec
from tests.learners import plain
from tests.learners.test_dqn import random_batches

SPEC = DiscreteSpec(3, (12, 12, 2))
THIRDS = jnp.log(jnp.array([0.5, 0.25, 0.25])) + 3.0  # logits; softmax takes the 3 away


def test_the_likelihood_of_an_action_by_hand():
    assert log_likelihood(THIRDS, 1) == pytest.approx(np.log(0.25), abs=1e-6)


def test_the_imitation_loss_by_hand():
    # -log(1/4), and a tenth of the mean of 4, 1 and 1.
    logits = jnp.array([2.0, 1.0, 1.0])
    likelihood = 1 / (np.e + 2)
    expected = -np.log(likelihood) + 0.1 * 2
    assert discrete_bc.imitation_loss(logits, 1, 0.1) == pytest.approx(expected, rel=1e-6)
    # Of log probabilities: log 0.5 once and log 0.25 twice.
    squares = (np.log(0.5) ** 2 + 2 * np.log(0.25) ** 2) / 3
    found = discrete_bc.imitation_loss(THIRDS, 0, 0.1, penalizes_log_probs=True)
    assert found == pytest.approx(-np.log(0.5) + 0.1 * squares, rel=1e-6)


def test_actions_are_allowed_by_their_share_of_the_likeliest():
    logits = jnp.log(jnp.array([[0.5, 0.2, 0.3], [0.8, 0.1, 0.1]]))
    assert discrete_bcq.allowed(logits, 0.5).tolist() == [[True, False, True], [True, False, False]]
    assert discrete_bcq.allowed(logits, 0.1).all()


def test_bcq_takes_the_best_allowed_action():
    q, is_allowed = jnp.array([1.0, 5.0, 3.0]), jnp.array([True, False, True])
    assert discrete_bcq.Config().choose(q, is_allowed) == 2
    assert tianshou.DiscreteBCQ().choose(q, is_allowed) == 2
    assert tianshou.DiscreteBCQ(masks_by_nan=True).choose(q, is_allowed) == 0


def test_the_nan_of_tianshous_mask_does_choose_the_first_allowed_action():
    """As NumPy computes `q - inf * mask`, and as its argmax and PyTorch's take NaN for the most."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        q, is_allowed = rng.normal(size=4), rng.random(4) < 0.5
        is_allowed[rng.integers(4)] = True
        with np.errstate(invalid="ignore"):
            played = np.argmax(q - np.inf * ~is_allowed)
        chosen = tianshou.DiscreteBCQ(masks_by_nan=True).choose(jnp.array(q), is_allowed)
        assert chosen == played


def test_the_gap_by_hand():
    q = jnp.log(jnp.array([1.0, 2.0, 5.0]))
    assert discrete_cql.value_gap(q, 1) == pytest.approx(np.log(8 / 2), rel=1e-6)


def test_pretraining_makes_a_network_from_which_dqn_goes_on():
    pretrained, played = (
        jax.eval_shape(module.make(config, SPEC).init, jax.random.PRNGKey(0)).params
        for module, config in ((discrete_cql, discrete_cql.PRETRAINING), (dqn, dqn.ADAM))
    )
    assert jax.tree.map(jnp.shape, pretrained) == jax.tree.map(jnp.shape, played)


def test_a_target_is_of_the_action_given():
    theta = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    assert action_values.target(1.0, 0.5, theta, 1).tolist() == [2.5, 3.0]
    gradient = jax.grad(lambda of: action_values.target(1.0, 0.5, of, 1).sum())(theta)
    assert not np.any(gradient)


def test_the_loss_of_a_value_or_of_its_quantiles():
    value = jnp.array([1.0])
    assert action_values.ActionValues().loss(value, jnp.array([4.0])) == 2.5  # Huber's, of 3
    assert action_values.ActionValues(squared=True).loss(value, jnp.array([4.0])) == 9.0
    # Two quantiles, see `test_quantile_huber_loss_by_hand`.
    theta, targets = jnp.array([0.0, 1.0]), jnp.array([2.0, -0.5])
    assert action_values.ActionValues(2).loss(theta, targets) == pytest.approx(0.546875)
    with pytest.raises(ValueError, match="quantiles have no squared loss"):
        action_values.ActionValues(2, squared=True)


def test_an_advantage_is_against_what_the_policy_expects():
    assert crr.expected_value(jnp.array([4.0, 0.0, 8.0]), THIRDS) == pytest.approx(4.0)


def test_crr_weights_actions_by_their_advantage():
    advantage = jnp.array([-1.0, 0.0, 2.0, 9.0])
    weight = crr.Config(beta=2.0).weight(advantage)
    np.testing.assert_allclose(weight, [np.exp(-0.5), 1, np.e, 20], rtol=1e-6)
    assert crr.Config(is_binary=True).weight(advantage).tolist() == [0, 0, 1, 1]
    assert jax.grad(crr.Config().weight)(1.0) == 0
    assert jax.grad(tianshou.CRR().weight)(1.0) == 0
    moved = tianshou.CRR(weight_has_gradient=True)
    assert jax.grad(moved.weight)(1.0) == pytest.approx(np.e)
    assert jax.grad(moved.weight)(9.0) == 0  # at the most that a weight can be
    averaged = jax.vmap(tianshou.CRR(averages_weights=True).weight, axis_name="batch")(advantage)
    np.testing.assert_allclose(averaged, np.mean([np.exp(-1), 1, np.e**2, 20]), rtol=1e-6)


LEARNERS = {
    "discrete_bc": discrete_bc.Config(),
    "discrete_bcq": discrete_bcq.Config(target_period=3),
    "discrete_cql": discrete_cql.Config(num_quantiles=5, target_period=3),
    "squared_cql": discrete_cql.Config(num_quantiles=None, is_squared=True, target_period=3),
    "crr": crr.Config(target_period=3),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_restored_run_goes_on_bit_for_bit(name):
    entry = registry.LEARNERS.get(name, registry.LEARNERS["discrete_cql"])
    learner = entry.make(LEARNERS[name], DiscreteSpec(3, (44, 44, 2)))
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 5, 4, 44, 44, 2), dtype=np.uint8)
    plainly = random_batches(5)
    batches = plainly._replace(observation=frames[0], next_observation=frames[1])
    at_once, metrics = learner.update(learner.init(jax.random.PRNGKey(3)), batches)
    state, _ = learner.update(learner.init(jax.random.PRNGKey(3)), plain.at(batches, slice(2)))
    restored = jax.tree.map(jnp.asarray, plain.copy(state))
    again, _ = learner.update(restored, plain.at(batches, slice(2, 5)))
    plain.assert_equal(again, at_once)
    assert np.isfinite(metrics["loss"])
    for policy in entry.policies:
        actions = learner.policies[policy](at_once, frames[0, 0])
        assert actions.shape == (4,)
        assert np.all((actions >= 0) & (actions < 3))


def test_crr_draws_actions_by_their_probability():
    learner = crr.make(crr.Config(), DiscreteSpec(3, (44, 44, 2)))
    state = learner.init(jax.random.PRNGKey(0))
    frames = np.random.default_rng(0).integers(0, 256, (1, 44, 44, 2), dtype=np.uint8)
    many = np.repeat(frames, 64, axis=0)
    keys = jax.random.split(jax.random.PRNGKey(1), 2)
    drawn = [learner.policies["sample"](state._replace(key=key), many) for key in keys]
    assert len(set(drawn[0].tolist())) > 1
    assert np.any(drawn[0] != drawn[1])
    assert len(set(learner.act(state, many).tolist())) == 1


@pytest.mark.parametrize("config", [discrete_bc, discrete_bcq, discrete_cql, crr, dqn])
def test_an_unknown_network_is_refused(config):
    with pytest.raises(ValueError, match=r"network must be one of dopamine, .*, got 'resnet'"):
        config.Config(network="resnet")
