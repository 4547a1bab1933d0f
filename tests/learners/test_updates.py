"""Updates against the same algorithms written plainly: one batch, network and loss at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.recipes import tianshou
from learners import bc, brac_bc, iql, sac, td3_bc
from learners.networks import TanhGaussian
from learners.types import Spec
from tests.learners import plain

SPEC = Spec(5, 2, np.array([-1.0, -2.0]), np.array([1.0, 4.0]), 0.25, np.full(5, 1.5))
CENTRE, MAGNITUDE = np.array([0.0, 1.0], np.float32), np.array([1.0, 3.0], np.float32)
BATCHES = plain.random_batches(4, 16, 5, 2)._replace(
    action=CENTRE + MAGNITUDE * plain.random_batches(4, 16, 5, 2).action
)
BATCHES.action[:, 0], BATCHES.action[:, 1] = CENTRE - MAGNITUDE, CENTRE + MAGNITUDE  # the bounds


def noise(state, step, *shape):
    return jax.random.normal(jax.random.fold_in(state.key, step), shape)


def test_brac_bc():
    config = brac_bc.Config(hidden_sizes=(16, 16), alpha=0.5)
    learner = brac_bc.make(config, SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    params, adam = start.params, plain.Adam(start.params, 5e-4, 1e-7)

    def loss(params, batch, epsilon):
        head = plain.forward(params.policy, batch.observation)
        pi = TanhGaussian.from_head(head, SPEC)
        _, log_pi = pi.sample(epsilon)
        data = jnp.clip(batch.action, CENTRE - MAGNITUDE + 1e-3, CENTRE + MAGNITUDE - 1e-3)
        alpha, fixed = params.alpha, jax.lax.stop_gradient(params.alpha)
        policy_loss = jnp.mean(fixed * log_pi - pi.log_prob(data))
        return policy_loss + jnp.mean(alpha * (-jax.lax.stop_gradient(log_pi) + 2.0))

    for k in range(4):
        gradients = jax.grad(loss)(params, plain.at(BATCHES, k), noise(start, k, 16, 2))
        params = adam.step(params, gradients)
    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert plain.moved(state.params, start.params) > 1e-3
    plain.assert_close(state.params, params)
    assert state.steps == 4


def test_brac_bc_without_training_alpha_keeps_it():
    learner = brac_bc.make(brac_bc.Config(hidden_sizes=(8, 8), train_alpha=False), SPEC)
    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert state.params.alpha == 1.0


@pytest.mark.parametrize("bottleneck", [False, True])
def test_bc(bottleneck):
    learner = bc.make(tianshou.BC(hidden_sizes=(16, 16), bottleneck=bottleneck), SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    assert ("bottleneck" in start.params) == bottleneck
    params, adam = start.params, plain.Adam(start.params, 3e-4, 1e-8)

    def loss(params, batch):
        action = CENTRE + MAGNITUDE * jnp.tanh(plain.forward(params, batch.observation))
        return jnp.mean(jnp.square(action - batch.action))

    losses = []
    for k in range(4):
        value, gradients = jax.value_and_grad(loss)(params, plain.at(BATCHES, k))
        params = adam.step(params, gradients)
        losses.append(value)
    state, metrics = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert plain.moved(state.params, start.params) > 1e-3
    plain.assert_close(state.params, params)
    assert metrics["policy_loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_td3_bc():
    learner = td3_bc.make(td3_bc.Config(hidden_sizes=(16, 16), target_rate=0.1), SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    policy, critics = start.params.policy, [plain.at(start.params.critics, k) for k in (0, 1)]
    target_policy, target_critics = policy, list(critics)
    policy_adam = plain.Adam(policy, 3e-4, 1e-8)
    critic_adams = [plain.Adam(critic, 3e-4, 1e-8) for critic in critics]

    def act(params, observation):
        normalized = (observation - 0.25) / (1.5 + 1e-3)
        return CENTRE + MAGNITUDE * jnp.tanh(plain.forward(params, normalized))

    def q(params, observation, action):
        return plain.forward(params, (observation - 0.25) / (1.5 + 1e-3), action)[:, 0]

    def critic_loss(params, batch, target):
        return jnp.mean(jnp.square(q(params, batch.observation, batch.action) - target))

    def policy_loss(params, critic, batch):
        action = act(params, batch.observation)
        value = q(critic, batch.observation, action)
        weight = 2.5 / jax.lax.stop_gradient(jnp.mean(jnp.abs(value)))
        return -weight * jnp.mean(value) + jnp.mean(jnp.square(action - batch.action))

    for k in range(4):
        batch = plain.at(BATCHES, k)
        epsilon = MAGNITUDE * np.clip(0.2 * noise(start, k, 16, 2), -0.5, 0.5)
        next_action = act(target_policy, batch.next_observation) + epsilon
        next_action = np.clip(next_action, CENTRE - MAGNITUDE, CENTRE + MAGNITUDE)
        next_q = [q(critic, batch.next_observation, next_action) for critic in target_critics]
        target = batch.reward + 0.99 * batch.discount * np.minimum(*next_q)
        for i in (0, 1):
            gradients = jax.grad(critic_loss)(critics[i], batch, target)
            critics[i] = critic_adams[i].step(critics[i], gradients)
        if k % 2 == 1:  # every second step, with the critics just updated
            policy = policy_adam.step(policy, jax.grad(policy_loss)(policy, critics[0], batch))
            target_policy = plain.polyak(policy, target_policy, 0.1)
            target_critics = [plain.polyak(critics[i], target_critics[i], 0.1) for i in (0, 1)]

    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert plain.moved(state.params, start.params) > 1e-3
    assert plain.moved(state.target_params, start.params) > 1e-4
    plain.assert_close(state.params.policy, policy)
    plain.assert_close(state.target_params.policy, target_policy)
    for i in (0, 1):
        plain.assert_close(plain.at(state.params.critics, i), critics[i])
        plain.assert_close(plain.at(state.target_params.critics, i), target_critics[i])
    assert state.steps == 4


def test_td3_bc_policy_and_targets_move_every_policy_delay_steps():
    learner = td3_bc.make(td3_bc.Config(hidden_sizes=(8, 8), policy_delay=4), SPEC)
    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert state.optimizer_state.critics[0].count == 4
    assert state.optimizer_state.policy[0].count == 1


def test_td3_bc_refuses_part_of_a_round():
    learner = td3_bc.make(td3_bc.Config(hidden_sizes=(8, 8)), SPEC)
    with pytest.raises(ValueError, match="multiple of policy_delay=2 batches, got 3"):
        learner.update(learner.init(jax.random.PRNGKey(0)), plain.at(BATCHES, slice(3)))


def test_td3_bc_acts_on_normalized_observations():
    learner = td3_bc.make(td3_bc.Config(hidden_sizes=(8, 8)), SPEC)
    state = learner.init(jax.random.PRNGKey(0))
    observation = BATCHES.observation[0]
    head = plain.forward(state.params.policy, (observation - 0.25) / 1.501)
    expected = CENTRE + MAGNITUDE * np.tanh(head)
    np.testing.assert_allclose(learner.act(state, observation), expected, rtol=1e-5, atol=1e-6)


def test_sac():
    config = sac.Config(policy_sizes=(16, 16), critic_sizes=(16, 16), target_rate=0.1)
    learner = sac.make(config, SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    plain.assert_equal(start.target_params, start.params.critics)
    policy, log_alpha = start.params.policy, start.params.log_alpha
    critics = [plain.at(start.params.critics, k) for k in (0, 1)]
    targets = list(critics)
    adams = [plain.Adam(p, 5e-4, 1e-7) for p in (*critics, policy, log_alpha)]

    def sample(params, observation, epsilon):
        return TanhGaussian.from_head(plain.forward(params, observation), SPEC).sample(epsilon)

    def critic_loss(params, batch, target):
        q = plain.forward(params, batch.observation, batch.action)[:, 0]
        return jnp.mean(jnp.square(q - target))

    def policy_loss(params, critics, alpha, batch, epsilon):
        action, log_pi = sample(params, batch.observation, epsilon)
        q = [plain.forward(critic, batch.observation, action)[:, 0] for critic in critics]
        return jnp.mean(alpha * log_pi - jnp.minimum(*q)), log_pi

    def alpha_loss(log_alpha, log_pi):
        return jnp.mean(jnp.exp(log_alpha) * (-log_pi + 2.0))

    for k in range(4):
        batch = plain.at(BATCHES, k)
        epsilon_tm1, epsilon_t = noise(start, k, 2, 16, 2)
        targets = [plain.polyak(critics[i], targets[i], 0.1) for i in (0, 1)]
        next_action, next_log_pi = sample(policy, batch.next_observation, epsilon_t)
        next_q = [plain.forward(t, batch.next_observation, next_action)[:, 0] for t in targets]
        value = np.minimum(*next_q) - np.exp(log_alpha) * next_log_pi
        target = batch.reward + 0.99 * batch.discount * value
        for i in (0, 1):
            gradients = jax.grad(critic_loss)(critics[i], batch, target)
            critics[i] = adams[i].step(critics[i], gradients)
        gradients, log_pi = jax.grad(policy_loss, has_aux=True)(
            policy, critics, np.exp(log_alpha), batch, epsilon_tm1
        )
        policy = adams[2].step(policy, gradients)
        log_alpha = adams[3].step(log_alpha, jax.grad(alpha_loss)(log_alpha, log_pi))

    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert plain.moved(state.params, start.params) > 1e-3
    plain.assert_close(state.params.policy, policy)
    plain.assert_close(state.params.log_alpha, log_alpha)
    for i in (0, 1):
        plain.assert_close(plain.at(state.params.critics, i), critics[i])
        plain.assert_close(plain.at(state.target_params, i), targets[i])


def test_iql():
    config = iql.Config(hidden_sizes=(16, 16), policy_decay_steps=8, target_rate=0.1)
    learner = iql.make(config, SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    plain.assert_equal(start.target_params, start.params.critics)
    policy, value = start.params.policy, start.params.value
    critics = [plain.at(start.params.critics, k) for k in (0, 1)]
    targets = list(critics)
    adams = [plain.Adam(p, 3e-4, 1e-8) for p in (*critics, policy, value)]

    def v(params, observation):
        return plain.forward(params, observation)[:, 0]

    def q(params, batch):
        return plain.forward(params, batch.observation, batch.action)[:, 0]

    def value_loss(params, batch, q_value):
        error = q_value - v(params, batch.observation)
        return jnp.mean(jnp.abs(0.7 - (error < 0)) * error**2)

    def critic_loss(params, batch, target):
        return jnp.mean(jnp.square(q(params, batch) - target))

    def policy_loss(params, batch, weight):
        mean = CENTRE + MAGNITUDE * jnp.tanh(plain.forward(params.mean, batch.observation))
        std = MAGNITUDE * jnp.exp(params.log_std)
        log_pi = jax.scipy.stats.norm.logpdf(batch.action, mean, std)
        return -jnp.mean(weight * jnp.sum(log_pi, axis=-1))

    for k in range(4):
        batch = plain.at(BATCHES, k)
        q_value = np.minimum(*(q(target, batch) for target in targets))
        value = adams[3].step(value, jax.grad(value_loss)(value, batch, q_value))
        advantage = q_value - v(value, batch.observation)
        weight = np.minimum(np.exp(3.0 * advantage), 100.0)
        adams[2].learning_rate = 3e-4 * 0.5 * (1 + np.cos(np.pi * k / 8))
        policy = adams[2].step(policy, jax.grad(policy_loss)(policy, batch, weight))
        target = batch.reward + 0.99 * batch.discount * v(value, batch.next_observation)
        for i in (0, 1):
            critics[i] = adams[i].step(critics[i], jax.grad(critic_loss)(critics[i], batch, target))
            targets[i] = plain.polyak(critics[i], targets[i], 0.1)

    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert plain.moved(state.params, start.params) > 1e-3
    plain.assert_close(state.params.policy, policy)
    plain.assert_close(state.params.value, value)
    for i in (0, 1):
        plain.assert_close(plain.at(state.params.critics, i), critics[i])
        plain.assert_close(plain.at(state.target_params, i), targets[i])
    assert state.steps == 4


def test_iql_without_decay_keeps_the_rate_of_the_policy():
    config = iql.Config(hidden_sizes=(8, 8), policy_decay_steps=None)
    kept, _ = iql.make(config, SPEC).update(
        iql.make(config, SPEC).init(jax.random.PRNGKey(0)), BATCHES
    )
    decayed = iql.make(iql.Config(hidden_sizes=(8, 8), policy_decay_steps=1), SPEC)
    start = plain.copy(decayed.init(jax.random.PRNGKey(0)))
    stopped, _ = decayed.update(decayed.init(jax.random.PRNGKey(0)), BATCHES)
    # After its only step the rate is 0: Adam's first step moves every weight by the rate at most.
    assert plain.moved(stopped.params.policy, start.params.policy) == pytest.approx(3e-4, rel=1e-2)
    assert plain.moved(kept.params.policy, start.params.policy) > 6e-4
