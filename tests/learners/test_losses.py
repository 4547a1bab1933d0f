"""Losses on numbers that can be worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import brac, iql, losses, sac, td3_bc
from learners.types import Spec


def test_cloning_loss():
    # alpha log pi(a~) - log pi(a) = 2 * -1 - 0.5
    assert losses.cloning_loss(2.0, -1.0, 0.5) == -2.5


def test_entropy_loss():
    # alpha (-log pi - target) = 2 * (-1 + 3), and 2 * (1 + 3).
    assert losses.entropy_loss(2.0, 1.0, -3.0) == 4.0
    assert losses.entropy_loss(2.0, -1.0, -3.0) == 8.0


def test_the_target_of_the_entropy_is_of_the_actions_size_where_none_is_given():
    assert losses.target_entropy(None, Spec(3, 6)) == -6.0
    assert losses.target_entropy(0.0, Spec(3, 6)) == 0.0


def test_the_first_critic_is_the_first_of_those_stacked():
    stacked = {"w": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "b": jnp.array([[5.0], [6.0]])}
    first = losses.first_critic(stacked)
    np.testing.assert_array_equal(first["w"], [1.0, 2.0])
    np.testing.assert_array_equal(first["b"], [5.0])


@pytest.mark.parametrize(
    ("x", "cotangent", "value", "gradient"),
    [
        (0.5, 2.0, 0.5, 2.0),
        (0.5, -2.0, 0.5, -2.0),
        (-0.5, 2.0, 0.0, 0.0),  # descent would push x further below zero
        (-0.5, -2.0, 0.0, -2.0),  # descent brings x back
        (0.0, 2.0, 0.0, 0.0),
    ],
)
def test_one_sided_relu(x, cotangent, value, gradient):
    y, vjp = jax.vjp(brac.one_sided_relu, jnp.float32(x))
    assert y == value
    assert vjp(jnp.float32(cotangent))[0] == gradient


def test_sac_critic_target():
    # r + discount (min q - alpha log pi): 1 + 0.5 (2 - 1 * -1) = 2.5, and 4 + 0 = 4 at the end.
    target = sac.critic_target(
        r_t=jnp.array([1.0, 4.0]),
        discount_t=jnp.array([0.5, 0.0]),
        q_t=jnp.array([[3.0, 9.0], [2.0, 9.0]]),
        log_pi_t=jnp.array([-1.0, 9.0]),
        log_alpha=0.0,
    )
    np.testing.assert_allclose(target, [2.5, 4.0])


def test_critic_loss():
    # (1 - 2)^2 + (4 - 2)^2 = 5 and (3 - 3)^2 + (0 - 3)^2 = 9, a loss a sample.
    q_tm1, target = jnp.array([[1.0, 3.0], [4.0, 0.0]]), jnp.array([2.0, 3.0])
    np.testing.assert_allclose(losses.critic_loss(q_tm1, target), [5.0, 9.0])
    # No gradient goes through the target.
    gradient = jax.grad(lambda t: jnp.sum(losses.critic_loss(q_tm1, t)))(target)
    np.testing.assert_array_equal(gradient, [0.0, 0.0])


@pytest.mark.parametrize(
    ("error", "kappa", "value", "slope"),
    [
        (0.5, 1.0, 0.125, 0.5),
        (-0.5, 1.0, 0.125, -0.5),
        (3.0, 1.0, 2.5, 1.0),  # 1 (3 - 1 / 2)
        (-3.0, 1.0, 2.5, -1.0),
        (3.0, 2.0, 4.0, 2.0),  # 2 (3 - 2 / 2)
        (1.5, 2.0, 1.125, 1.5),
        (0.0, 1.0, 0.0, 0.0),
    ],
)
def test_huber_by_hand(error, kappa, value, slope):
    assert losses.huber(jnp.float32(error), kappa) == value
    assert jax.grad(losses.huber)(jnp.float32(error), kappa) == slope


def test_sac_policy_loss():
    # alpha log pi - min q = 2 * -1 - 2
    loss = sac.policy_loss(jnp.array([[3.0], [2.0]]), jnp.array([-1.0]), jnp.log(2.0))
    np.testing.assert_allclose(loss, [-4.0], rtol=1e-6)


def test_sac_policy_and_alpha_loss():
    # The mean of 1 and 2, and alpha (-log pi - target) = 2 * (1 + 3) and 2 * (-1 + 3), mean 6.
    log_pi, q_tm1 = jnp.array([-1.0, 1.0]), jnp.array([[3.0, 5.0], [1.0, 3.0]])
    arguments = jnp.array([1.0, 2.0]), q_tm1, log_pi, jnp.log(2.0), -3.0
    loss, metrics = sac.policy_and_alpha_loss(*arguments)
    assert loss == pytest.approx(7.5)
    told = {"policy_loss": 1.5, "alpha_loss": 6.0, "alpha": 2.0, "entropy": 0.0, "q": 3.0}
    assert metrics == pytest.approx(told)
    # The slope of alpha's loss in its log is the loss; the policy takes no gradient from it.
    slopes = jax.grad(lambda *x: sac.policy_and_alpha_loss(*x)[0], argnums=(2, 3))(*arguments)
    np.testing.assert_array_equal(slopes[0], [0.0, 0.0])
    assert slopes[1] == pytest.approx(6.0)


def test_td3_critic_target():
    # 1 + 0.9 * min(2, 3) = 2.8, and the reward alone where the episode ended.
    target = td3_bc.critic_target(
        jnp.array([1.0, 5.0]), jnp.array([0.9, 0.0]), jnp.array([[2.0, 8.0], [3.0, 7.0]])
    )
    np.testing.assert_allclose(target, [2.8, 5.0], rtol=1e-6)


def test_td3_bc_policy_loss():
    # -0.5 * 4 + (0.5^2 + 1^2) / 2 = -2 + 0.625, a loss a sample.
    loss = td3_bc.policy_loss(
        q_tm1=jnp.array([4.0, 0.0]),
        pi_tm1=jnp.array([[0.5, 0.0], [0.0, 0.0]]),
        a_tm1=jnp.array([[0.0, 1.0], [0.0, 0.0]]),
        weight=0.5,
    )
    np.testing.assert_allclose(loss, [-1.375, 0.0])


def test_td3_bc_weight_of_q():
    # 2.5 / mean(|1|, |-3|) = 1.25, and it is a constant of the loss.
    q_tm1 = jnp.array([1.0, -3.0])
    assert td3_bc.q_weight(q_tm1, 2.5) == 1.25
    np.testing.assert_array_equal(jax.grad(lambda q: td3_bc.q_weight(q, 2.5))(q_tm1), [0.0, 0.0])


def test_squared_error():
    # (0.5^2 + 1^2) / 2, a loss a sample.
    pi_tm1, a_tm1 = jnp.array([[0.5, 0.0], [1.0, 1.0]]), jnp.array([[0.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(losses.squared_error(pi_tm1, a_tm1), [0.625, 0.0])


def test_iql_value_loss():
    # u = 2 and -3: 0.75 * 4 = 3 and 0.25 * 9 = 2.25, a loss a sample.
    q_tm1, v_tm1 = jnp.array([3.0, 1.0]), jnp.array([1.0, 4.0])
    np.testing.assert_allclose(iql.value_loss(q_tm1, v_tm1, 0.75), [3.0, 2.25])
    # Its minimum over v is the expectile: of 0 and 4 at 0.75 that is 3, 0.75 * 1 = 0.25 * 3.
    slope = jax.grad(lambda v: jnp.sum(iql.value_loss(jnp.array([0.0, 4.0]), jnp.full(2, v), 0.75)))
    assert slope(3.0) == 0.0
    # No gradient goes through Q.
    gradient = jax.grad(lambda q: jnp.sum(iql.value_loss(q, v_tm1, 0.75)))(q_tm1)
    np.testing.assert_array_equal(gradient, [0.0, 0.0])


def test_iql_critic_target():
    # 1 + 0.9 * 2 = 2.8, and the reward alone where the episode ended.
    target = iql.critic_target(jnp.array([1.0, 5.0]), jnp.array([0.9, 0.0]), jnp.array([2.0, 8.0]))
    np.testing.assert_allclose(target, [2.8, 5.0], rtol=1e-6)


def test_iql_policy_weight():
    # exp(0.5 * 2) = 2.7182818, exp(0.5 * -2) = 0.3678794, and exp(500) is cut at 100.
    q_tm1, v_tm1 = jnp.array([3.0, 1.0, 1000.0]), jnp.array([1.0, 3.0, 0.0])
    weight = iql.policy_weight(q_tm1, v_tm1, 0.5, 100.0)
    np.testing.assert_allclose(weight, [2.7182818, 0.3678794, 100.0], rtol=1e-6)


def test_iql_policy_loss():
    # -2 * -1.5, and the weight is a constant of it.
    loss = iql.policy_loss(jnp.array([-1.5]), jnp.array([2.0]))
    np.testing.assert_array_equal(loss, [3.0])
    gradient = jax.grad(lambda w: jnp.sum(iql.policy_loss(jnp.array([-1.5]), w)))(jnp.array([2.0]))
    np.testing.assert_array_equal(gradient, [0.0])
