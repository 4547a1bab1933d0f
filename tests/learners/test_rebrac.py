"""ReBRAC: its losses by hand, and its updates against the same algorithm written plainly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import rebrac
from learners.registry import LEARNERS
from learners.types import Spec
from tests.learners import plain

SPEC = Spec(5, 2, np.array([-1.0, -2.0]), np.array([1.0, 4.0]))
CENTRE, MAGNITUDE = np.array([0.0, 1.0], np.float32), np.array([1.0, 3.0], np.float32)
BATCHES = plain.random_batches(4, 16, 5, 2)
BATCHES = BATCHES._replace(
    action=CENTRE + MAGNITUDE * BATCHES.action,
    extras={"next_action": CENTRE + MAGNITUDE * BATCHES.extras["next_action"]},
)


def test_critic_target():
    # 1 + 0.5 (2 - 0.1 (1^2 + 2^2)) = 1.75, and the reward alone where the episode ended.
    target = rebrac.critic_target(
        r_t=jnp.array([1.0, 5.0]),
        discount_t=jnp.array([0.5, 0.0]),
        q_t=jnp.array([[2.0, 9.0], [3.0, 9.0]]),
        pi_t=jnp.array([[1.0, 2.0], [1.0, 1.0]]),
        a_t=jnp.array([[0.0, 0.0], [0.0, 0.0]]),
        penalty=0.1,
    )
    np.testing.assert_allclose(target, [1.75, 5.0])


def test_policy_loss():
    # 0.1 (1^2 + 2^2) - 0.5 * 4 = -1.5, a loss a sample.
    loss = rebrac.policy_loss(
        q_tm1=jnp.array([4.0, 0.0]),
        pi_tm1=jnp.array([[1.0, 2.0], [0.0, 0.0]]),
        a_tm1=jnp.zeros((2, 2)),
        q_weight=0.5,
        penalty=0.1,
    )
    np.testing.assert_allclose(loss, [-1.5, 0.0])


def forward(params, *inputs):
    """A network of two hidden layers, each normalised after its ReLU where it has the params."""
    x = jnp.concatenate(inputs, axis=-1)
    for i in range(2):
        x = jnp.maximum(x @ params[f"hidden_{i}"]["w"] + params[f"hidden_{i}"]["b"], 0)
        if f"norm_{i}" in params:
            norm = params[f"norm_{i}"]
            deviation = x - jnp.mean(x, axis=-1, keepdims=True)
            variance = jnp.mean(deviation**2, axis=-1, keepdims=True)
            x = deviation / jnp.sqrt(variance + 1e-6) * norm["scale"] + norm["offset"]
    return x @ params["head"]["w"].T + params["head"]["b"]


def act(params, observation):
    return CENTRE + MAGNITUDE * jnp.tanh(forward(params, observation))


def q(params, observation, action):
    return forward(params, observation, action)[:, 0]


def critic_loss(params, batch, target):
    return jnp.mean(jnp.square(q(params, batch.observation, batch.action) - target))


@pytest.mark.parametrize("normalize_q", [True, False])
def test_update(normalize_q):
    config = rebrac.Config(
        hidden_sizes=(16, 16),
        policy_learning_rate=3e-4,
        critic_learning_rate=1e-3,
        target_rate=0.1,
        policy_penalty=0.3,
        critic_penalty=0.7,
        normalize_q=normalize_q,
    )
    learner = rebrac.make(config, SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    policy, critics = start.params.policy, [plain.at(start.params.critics, k) for k in (0, 1)]
    assert {"norm_0", "norm_1"} <= set(critics[0]) - set(policy)
    target_policy, target_critics = policy, list(critics)
    policy_adam = plain.Adam(policy, 3e-4, 1e-8)
    critic_adams = [plain.Adam(critic, 1e-3, 1e-8) for critic in critics]

    def policy_loss(params, batch):
        action = act(params, batch.observation)
        value = jnp.minimum(*(q(critic, batch.observation, action) for critic in critics))
        scale = jax.lax.stop_gradient(jnp.mean(jnp.abs(value))) if normalize_q else 1.0
        distance = jnp.sum(jnp.square(action - batch.action), axis=-1)
        return jnp.mean(0.3 * distance - value / scale)

    for k in range(4):
        batch = plain.at(BATCHES, k)
        epsilon = jax.random.normal(jax.random.fold_in(start.key, k), (16, 2))
        epsilon = MAGNITUDE * np.clip(0.2 * epsilon, -0.5, 0.5)
        next_action = act(target_policy, batch.next_observation) + epsilon
        next_action = np.clip(next_action, CENTRE - MAGNITUDE, CENTRE + MAGNITUDE)
        next_q = [q(critic, batch.next_observation, next_action) for critic in target_critics]
        distance = np.sum((next_action - batch.extras["next_action"]) ** 2, axis=-1)
        value = np.minimum(*next_q) - 0.7 * distance
        target = batch.reward + 0.99 * batch.discount * value
        for i in (0, 1):
            gradients = jax.grad(critic_loss)(critics[i], batch, target)
            critics[i] = critic_adams[i].step(critics[i], gradients)
        if k % 2 == 1:
            policy = policy_adam.step(policy, jax.grad(policy_loss)(policy, batch))
            target_policy = plain.polyak(policy, target_policy, 0.1)
            target_critics = [plain.polyak(critics[i], target_critics[i], 0.1) for i in (0, 1)]

    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert plain.moved(state.params.critics, start.params.critics) > 1e-3
    assert plain.moved(state.params.policy, start.params.policy) > 3e-4
    plain.assert_close(state.params.policy, policy)
    plain.assert_close(state.target_params.policy, target_policy)
    for i in (0, 1):
        plain.assert_close(plain.at(state.params.critics, i), critics[i], rtol=1e-3)
        plain.assert_close(plain.at(state.target_params.critics, i), target_critics[i], rtol=1e-3)


def test_batches_without_next_actions_are_refused():
    learner = rebrac.make(rebrac.Config(hidden_sizes=(8, 8)), SPEC)
    assert LEARNERS["rebrac"].extras(rebrac.Config()) == ("next_action",)
    with pytest.raises(ValueError, match=r"ReBRAC needs extras\['next_action'\]"):
        learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES._replace(extras={}))
