"""CQL: its losses by hand, and its updates against the same algorithm written plainly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.recipes import tianshou
from learners import cql, training
from learners.networks import TanhGaussian
from learners.types import Spec
from tests.learners import plain

SPEC = Spec(5, 2, np.array([-1.0, -2.0]), np.array([1.0, 4.0]))
CENTRE, MAGNITUDE = np.array([0.0, 1.0], np.float32), np.array([1.0, 3.0], np.float32)
BATCHES = plain.random_batches(4, 32, 5, 2)._replace(
    action=CENTRE + MAGNITUDE * plain.random_batches(4, 32, 5, 2).action
)
BATCHES.action[:, 0], BATCHES.action[:, 1] = CENTRE - MAGNITUDE, CENTRE + MAGNITUDE  # the bounds
NUMBER = 3


def test_gap():
    # log(e^2 / e^1 + e^0 / e^-1) - 1 = log(2 e) - 1 = log 2, and log(e^3 / e^1 + 0) - 4 = -2.
    gap = cql.gap(
        q_tm1=jnp.array([[1.0], [4.0]]),
        q_samples=jnp.array([[[2.0, 0.0]], [[3.0, -1000.0]]]),
        log_density=jnp.array([[1.0, -1.0]]),
    )
    np.testing.assert_allclose(gap, [[0.6931472], [-2.0]], rtol=1e-6)


def test_penalty():
    # 0.5 (3 * 1 - 2) + 0.5 (3 * 2 - 2) = 0.5 + 2, a sum over the critics.
    gap_tm1 = jnp.array([[1.0], [2.0]])
    np.testing.assert_allclose(cql.penalty(gap_tm1, 0.5, 3.0, 2.0), [2.5])


def test_multiplier_loss():
    # -1/2 (4 (3 * 1 - 2) + 4 (3 * 2 - 2)) = -10, whose slope in the log is itself.
    gap_tm1, log_multiplier = jnp.array([1.0, 2.0]), jnp.log(4.0)
    loss, slope = jax.value_and_grad(cql.multiplier_loss)(log_multiplier, gap_tm1, 3.0, 2.0)
    assert loss == pytest.approx(-10.0)
    assert slope == pytest.approx(-10.0)  # above the threshold descent raises the multiplier
    # The multiplier stays within its bounds, and the gaps take no gradient.
    assert cql.penalty_multiplier(jnp.float32(99.0)) == 1e6
    gradient = jax.grad(cql.multiplier_loss, argnums=1)(log_multiplier, gap_tm1, 3.0, 2.0)
    np.testing.assert_array_equal(gradient, [0.0, 0.0])


def test_the_norm_of_each_critics_gradient_is_bounded_apart():
    # Norms over both layers: (3^2 + 4^2 + 12^2)^1/2 = 13, above the bound, and 0.5, below it.
    gradients = {"w": jnp.array([[3.0, 4.0], [0.3, 0.4]]), "b": jnp.array([[12.0], [0.0]])}
    bounded = tianshou.bounded(gradients, 1.0)
    np.testing.assert_allclose(bounded["w"], [[3 / 13, 4 / 13], [0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(bounded["b"], [[12 / 13], [0.0]], rtol=1e-6)


def test_sum_in_pieces_is_the_sum():
    x = jnp.arange(48.0).reshape(24, 2)
    for size in (1, 7, 16, 24, 100):  # of which 7 shares no factor with 24
        total = training.sum_in_pieces(lambda p: {"sum": jnp.sum(p, axis=0)}, size, x)
        np.testing.assert_array_equal(total["sum"], [552, 576])


def policy(params, observation, log_std_minimum=-5.0):
    mean, log_std = jnp.split(plain.forward(params, observation), 2, axis=-1)
    log_std = jnp.clip(log_std, log_std_minimum, 2.0)
    return TanhGaussian(mean, log_std, CENTRE, MAGNITUDE)


def q(params, observation, action):
    return plain.forward(params, observation, action)[:, 0]


def critic_loss(params, batch, target, estimates, multiplier, threshold):
    """One critic's, with a product of its own for each draw."""
    error = jnp.square(q(params, batch.observation, batch.action) - target)
    of_draws = [
        sum(jnp.exp(q(params, batch.observation, a) - density) for a, density in samples)
        for samples in estimates
    ]
    log_sum = sum(map(jnp.log, of_draws)) / len(of_draws)
    gap = log_sum - q(params, batch.observation, batch.action)
    return jnp.mean(error) + multiplier * (5.0 * jnp.mean(gap) - threshold), jnp.mean(gap)


def policy_loss(params, critics, alpha, batch, noise, is_cloning, least):
    pi = policy(params, batch.observation, least)
    action, log_pi = pi.sample(noise)
    value = jnp.minimum(*(q(critic, batch.observation, action) for critic in critics))
    if is_cloning:
        margin = np.float32(1 - 1e-6) * MAGNITUDE
        value = pi.log_prob(jnp.clip(batch.action, CENTRE - margin, CENTRE + margin))
    return jnp.mean(alpha * log_pi - value), log_pi


def within(gradients, bound):
    """As PyTorch's clip_grad_norm_ leaves them."""
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients)))
    return jax.tree.map(lambda g: g * min(1.0, bound / (norm + 1e-6)), gradients), norm > bound


PLAIN = {
    "num_estimates": 1,
    "gradient_bound": None,
    "torch_weights": False,
    "bottleneck": False,
}
TIANSHOU = {
    "num_actions": 2,
    "num_estimates": 2,
    "gradient_bound": 1.0,
    "log_std_minimum": -0.25,  # which some deviations here are below
    "torch_weights": True,
    "bottleneck": True,
}


@pytest.mark.parametrize(
    "options", [{}, {"lagrange_threshold": 1.0}, {"entropy_backup": True}, TIANSHOU]
)
def test_update(options):
    kind = tianshou.CQL if options is TIANSHOU else cql.Config
    config = kind(
        **{
            "hidden_sizes": (16, 16),
            "target_rate": 0.1,
            "num_actions": NUMBER,
            "cloning_steps": 2,
            "log_alpha": -1.0,
            **options,
        }
    )
    example = PLAIN | options
    threshold, bound = config.lagrange_threshold, example["gradient_bound"]
    least, each = config.log_std_minimum, config.num_actions
    total = each * example["num_estimates"]
    was_bounded = []
    learner = cql.make(config, SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    plain.assert_equal(start.target_params, start.params.critics)
    assert ("bottleneck" in start.params.policy) == example["bottleneck"]
    assert "bottleneck" not in start.params.critics
    largest = np.max(np.abs(start.params.critics["head"]["w"]))
    assert (3e-3 < largest < 16**-0.5) if example["torch_weights"] else (largest < 3e-3)
    pi, log_alpha = start.params.policy, start.params.log_alpha
    log_multiplier = start.params.log_multiplier
    critics = [plain.at(start.params.critics, k) for k in (0, 1)]
    targets = list(critics)
    critic_adams = [plain.Adam(p, 3e-4, 1e-8) for p in critics]
    policy_adam = plain.Adam((pi, log_alpha), 1e-4, 1e-8)
    multiplier_adam = plain.Adam(log_multiplier, 3e-4, 1e-8)

    for k in range(4):
        batch = plain.at(BATCHES, k)
        keys = jax.random.split(jax.random.fold_in(start.key, k))
        normal_key, uniform_key = jax.random.split(keys[0])
        noise = jax.random.normal(normal_key, (2, 32, total + 1, 2))
        uniform = jax.random.uniform(uniform_key, (32, total, 2), minval=-1, maxval=1)
        pi_tm1 = policy(pi, batch.observation, least)
        next_pi = policy(pi, batch.next_observation, least)
        estimates = [[] for _ in range(example["num_estimates"])]
        for n in range(total):
            estimates[n // each] += [
                (CENTRE + MAGNITUDE * uniform[:, n], -np.log(2.0 * 6.0)),
                pi_tm1.sample(noise[0, :, n]),
                next_pi.sample(noise[1, :, n]),
            ]

        next_action, next_log_pi = next_pi.sample(noise[1, :, total])
        value = np.minimum(*(q(t, batch.next_observation, next_action) for t in targets))
        if config.entropy_backup:
            value = value - np.exp(log_alpha) * next_log_pi
        target = batch.reward + 0.99 * batch.discount * value
        gaps = []
        for i in (0, 1):
            gradients, gap = jax.grad(critic_loss, has_aux=True)(
                critics[i], batch, target, estimates, np.exp(log_multiplier), threshold or 0.0
            )
            if bound is not None:
                gradients, did_bound = within(gradients, bound)
                was_bounded.append(did_bound)
            critics[i] = critic_adams[i].step(critics[i], gradients)
            gaps.append(gap)
        if threshold is not None:
            slope = -0.5 * np.exp(log_multiplier) * sum(5.0 * gap - threshold for gap in gaps)
            log_multiplier = multiplier_adam.step(log_multiplier, slope)

        gradients, log_pi = jax.grad(policy_loss, has_aux=True)(
            pi, critics, np.exp(log_alpha), batch, jax.random.normal(keys[1], (32, 2)), k < 2, least
        )
        slope = np.exp(log_alpha) * np.mean(-log_pi + 2.0)
        pi, log_alpha = policy_adam.step((pi, log_alpha), (gradients, slope))
        targets = [plain.polyak(critics[i], targets[i], 0.1) for i in (0, 1)]

    state, metrics = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert plain.moved(state.params, start.params) > 1e-3
    assert plain.moved(state.params.policy, start.params.policy) > 1e-4
    plain.assert_close(state.params.policy, pi)
    plain.assert_close(state.params.log_alpha, log_alpha)
    plain.assert_close(state.params.log_multiplier, log_multiplier)
    assert (log_multiplier != 0) == (threshold is not None)
    for i in (0, 1):
        plain.assert_close(plain.at(state.params.critics, i), critics[i])
        plain.assert_close(plain.at(state.target_params, i), targets[i])
        moment = plain.at(state.optimizer_state.critics[0].mu, i)
        plain.assert_close(moment, critic_adams[i].m, rtol=1e-3, atol=1e-5)
    assert len({*was_bounded}) == (0 if bound is None else 2)  # some are, and some are not
    assert np.all(np.isfinite(jax.tree.leaves(metrics)))


def test_penalty_lowers_what_is_off_the_data():
    """All data at one action; without rewards nothing but the penalty sets other actions apart."""
    batches = BATCHES._replace(
        action=np.zeros_like(BATCHES.action), reward=np.zeros_like(BATCHES.reward)
    )
    learner = cql.make(cql.Config(hidden_sizes=(16, 16), critic_learning_rate=3e-3), SPEC)
    state = learner.init(jax.random.PRNGKey(0))
    gaps = []
    for _ in range(20):
        state, metrics = learner.update(state, batches)
        gaps.append(metrics["gap"])
    assert gaps[-1] < gaps[0] - 1
