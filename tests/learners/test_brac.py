"""BRAC's learners: losses by hand, and updates against the same algorithm written plainly."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import bear, brac, brac_bc, brac_dual, brac_primal, candidates
from learners.networks import TanhGaussian
from learners.registry import LEARNERS
from learners.types import Spec
from tests.learners import plain

SPEC = Spec(5, 2, np.array([-1.0, -2.0]), np.array([1.0, 4.0]))
CENTRE, MAGNITUDE = np.array([0.0, 1.0], np.float32), np.array([1.0, 3.0], np.float32)
BATCHES = plain.random_batches(2, 16, 5, 2)
BATCHES = BATCHES._replace(action=CENTRE + MAGNITUDE * BATCHES.action)
SIZES = {"policy_sizes": (16, 16), "critic_sizes": (16, 16)}


@pytest.mark.parametrize(
    ("x", "cotangent", "value", "gradient"),
    [
        (2.0, 3.0, 2.0, 3.0),
        (-1.0, 3.0, 0.0, 0.0),  # descent would push x further below the bounds
        (-1.0, -3.0, 0.0, -3.0),  # descent brings x back
        (6.0, -3.0, 5.0, 0.0),  # descent would push x further above
        (6.0, 3.0, 5.0, 3.0),
        (0.0, 3.0, 0.0, 0.0),
        (5.0, -3.0, 5.0, 0.0),
    ],
)
def test_one_sided_clip(x, cotangent, value, gradient):
    y, vjp = jax.vjp(lambda x: brac.one_sided_clip(x, 0.0, 5.0), jnp.float32(x))
    assert y == value
    assert vjp(jnp.float32(cotangent))[0] == gradient


def test_critic_target():
    # 1 + 0.5 (4 - 0.1 * -2 - 3 * 0.5) = 1 + 0.5 * 2.7, and the reward alone at the end.
    target = brac.critic_target(
        r_t=jnp.array([1.0, 4.0]),
        discount_t=jnp.array([0.5, 0.0]),
        q_t=jnp.array([4.0, 9.0]),
        log_pi_t=jnp.array([-2.0, 9.0]),
        divergence_t=jnp.array([0.5, 9.0]),
        alpha=3.0,
        entropy_alpha=0.1,
    )
    np.testing.assert_allclose(target, [2.35, 4.0], rtol=1e-6)


def test_policy_loss():
    # 0.1 * -2 + 3 * 0.5 - 4
    loss = brac.policy_loss(jnp.array([4.0]), jnp.array([-2.0]), jnp.array([0.5]), 3.0, 0.1)
    np.testing.assert_allclose(loss, [-2.7], rtol=1e-6)


def test_alpha_loss():
    # -2 (0.75 - 0.25).
    assert brac.alpha_loss(2.0, 0.75, 0.25) == -1.0


def test_kl_divergence():
    # Mean of 1 - 0.5 and -2 - 1, and of 0 - 4 and 0 - 2.
    log_pi = jnp.array([[1.0, 0.0], [-2.0, 0.0]])
    log_behavior = jnp.array([[0.5, 4.0], [1.0, 2.0]])
    np.testing.assert_allclose(brac_primal.kl_divergence(log_pi, log_behavior), [-1.25, -3.0])


def test_squared_mmd():
    # With a width of 2: k(x, x') = e^-1 for |x - x'|_1 = 1 + 1. So mean k(x, x) = (1 + e^-1) / 2.
    # Both y are (0, 2), so mean k(y, y) = 1. k(x_0, y) = e^-1 for |(0, 0) - (0, 2)|_1 = 2, and
    # k(x_1, y) = e^-1 for |(1, 1) - (0, 2)|_1 = 2. Together (1 + e^-1) / 2 + 1 - 2 e^-1.
    x = jnp.array([[[0.0, 0.0]], [[1.0, 1.0]]])  # [N, B, A]
    y = jnp.array([[[0.0, 2.0]], [[0.0, 2.0]]])
    expected = 1.5 - 1.5 * np.exp(-1)
    np.testing.assert_allclose(brac_primal.squared_mmd(x, y, 2.0), [expected], rtol=1e-6)
    np.testing.assert_allclose(brac_primal.squared_mmd(x, x, 2.0), [0.0], atol=1e-7)
    # Three samples against two, each pair by itself.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 4, 2)), rng.normal(size=(2, 4, 2))
    for b in range(4):
        k = {
            name: np.mean([np.exp(-np.abs(p - q).sum() / 2.0) for p in s[:, b] for q in t[:, b]])
            for name, s, t in (("xx", x, x), ("yy", y, y), ("xy", x, y))
        }
        actual = brac_primal.squared_mmd(jnp.asarray(x), jnp.asarray(y), 2.0)[b]
        np.testing.assert_allclose(actual, k["xx"] + k["yy"] - 2 * k["xy"], rtol=1e-5)


@functools.cache  # so that tests share what is compiled
def learner_of(algorithm, config):
    return algorithm.make(config, SPEC)


def primal(config):
    """A learner, a state with a behaviour policy, and a copy of that."""
    learner = learner_of(brac_primal, config)
    behavior = learner.init(jax.random.PRNGKey(1)).params.policy
    state = brac_primal.with_behavior(learner.init(jax.random.PRNGKey(0)), behavior)
    return learner, state, plain.copy(state)


def pi(params, observation):
    return TanhGaussian.from_head(plain.forward(params, observation), SPEC)


PRIMAL = {
    "kl value penalty": {},
    "mmd adapted": {
        "divergence": "mmd",
        "alpha": 1.0,
        "train_alpha": True,
        "target_divergence": 0.05,
        "value_penalty": False,
        "ensemble_weight": 0.75,
    },
    "kl policy regularisation, both alphas adapted": {
        "value_penalty": False,
        "train_alpha": True,
        "entropy_alpha": 0.2,
        "train_entropy_alpha": True,
        "ensemble_weight": 0.75,
    },
}


@pytest.mark.parametrize("name", PRIMAL)
def test_primal_update(name):
    config = brac_primal.Config(**SIZES, **PRIMAL[name], target_rate=0.1, warm_start=0)
    learner, state, start = primal(config)
    plain.assert_equal(start.target_params, start.params.critics)
    params = start.params
    policy, alpha, entropy_alpha = params.policy, params.alpha, params.entropy_alpha
    critics = [plain.at(params.critics, k) for k in (0, 1)]
    targets = list(critics)
    critic_adams = [plain.Adam(critic, 1e-3, 1e-7) for critic in critics]
    policy_adam = plain.Adam(policy, 3e-4, 1e-7)
    alpha_adam = plain.Adam(alpha, 1e-3, 1e-7)
    entropy_adam = plain.Adam(entropy_alpha, 1e-3, 1e-7)
    weight = config.ensemble_weight

    def draws(key):
        """Of the one sample, of the policy's and of the behaviour's four."""
        sample_key, divergence_key = jax.random.split(key)
        policy_key, behavior_key = jax.random.split(divergence_key)
        return (
            jax.random.normal(sample_key, (16, 2)),
            jax.random.normal(policy_key, (4, 16, 2)),
            jax.random.normal(behavior_key, (4, 16, 2)),
        )

    def divergence(policy, observation, policy_noise, behavior_noise):
        total = 0.0
        p, b = pi(policy, observation), pi(start.params.divergence, observation)
        if config.divergence == "kl":
            for epsilon in policy_noise:
                action, log_pi = p.sample(epsilon)
                inside = jnp.clip(action, CENTRE - MAGNITUDE + 1e-3, CENTRE + MAGNITUDE - 1e-3)
                total += (log_pi - b.log_prob(inside)) / 4
            return total
        x = [p.sample(epsilon)[0] for epsilon in policy_noise]
        y = [b.sample(epsilon)[0] for epsilon in behavior_noise]
        for sign, left, right in ((1, x, x), (1, y, y), (-2, x, y)):
            for i in left:
                for j in right:
                    total += sign * jnp.exp(-jnp.sum(jnp.abs(i - j), -1) / 20.0) / 16
        return total

    def mixed(q0, q1):
        return weight * jnp.minimum(q0, q1) + (1 - weight) * jnp.maximum(q0, q1)

    def value(networks, observation, action):
        return mixed(*(plain.forward(n, observation, action)[:, 0] for n in networks))

    def critic_loss(params, batch, target):
        q = plain.forward(params, batch.observation, batch.action)[:, 0]
        return jnp.mean(jnp.square(q - target))

    def policy_loss(params, batch, critics, alpha, entropy_alpha, k, noise):
        action, log_pi = pi(params, batch.observation).sample(noise[0])
        d = divergence(params, batch.observation, *noise[1:])
        q = value(critics, batch.observation, action) if k > 0 else 0.0
        return jnp.mean(entropy_alpha * log_pi + alpha * d - q), (log_pi, d)

    for k in range(2):
        batch = plain.at(BATCHES, k)
        key_tm1, key_t = jax.random.split(jax.random.fold_in(start.key, k))
        targets = [plain.polyak(critics[i], targets[i], 0.1) for i in (0, 1)]
        noise = draws(key_t)
        next_action, log_pi = pi(policy, batch.next_observation).sample(noise[0])
        v = value(targets, batch.next_observation, next_action) - entropy_alpha * log_pi
        if config.value_penalty:
            v -= alpha * divergence(policy, batch.next_observation, *noise[1:])
        target = batch.reward + 0.99 * batch.discount * v
        for i in (0, 1):
            critics[i] = critic_adams[i].step(
                critics[i], jax.grad(critic_loss)(critics[i], batch, target)
            )
        gradients, (log_pi, d) = jax.grad(policy_loss, has_aux=True)(
            policy, batch, critics, alpha, entropy_alpha, k, draws(key_tm1)
        )
        policy = policy_adam.step(policy, gradients)
        if config.train_alpha:
            alpha = alpha_adam.step(alpha, -np.mean(d - config.target_divergence))
        if config.train_entropy_alpha:
            entropy_alpha = entropy_adam.step(entropy_alpha, np.mean(-log_pi + 2.0))

    state, _ = learner.update(state, BATCHES)
    assert plain.moved(state.params.policy, start.params.policy) > 1e-4
    plain.assert_close(state.params.policy, policy)
    plain.assert_close(state.params.alpha, alpha)
    plain.assert_close(state.params.entropy_alpha, entropy_alpha)
    assert config.train_alpha == (state.params.alpha != start.params.alpha)
    assert config.train_entropy_alpha == (state.params.entropy_alpha != start.params.entropy_alpha)
    plain.assert_equal(state.params.divergence, start.params.divergence)
    for i in (0, 1):
        plain.assert_close(plain.at(state.params.critics, i), critics[i])
        plain.assert_close(plain.at(state.target_params, i), targets[i])
    assert state.steps == 2


KL = brac_primal.Config(**SIZES, target_rate=0.1, warm_start=0)


def test_policy_does_not_follow_q_before_the_warm_start_is_over():
    learner, _, start = primal(KL)

    def moved_by_reward(steps):
        runs = []
        for scale in (1.0, 100.0):
            state = jax.tree.map(jnp.asarray, start)._replace(steps=jnp.int32(steps))
            batches = BATCHES._replace(reward=scale * BATCHES.reward)
            state, _ = learner.update(state, plain.at(batches, slice(1)))
            runs.append(state.params.policy)
        return plain.moved(runs[0], plain.copy(runs[1]))

    # The policy follows Q once more than `warm_start` steps were taken: not in the first with 0.
    assert moved_by_reward(0) == 0
    assert moved_by_reward(1) > 0


def test_max_q_is_the_sample_that_the_first_critic_values_most():
    learner, state, start = primal(KL)
    observation = BATCHES.observation[0]
    actions, values = [], []
    for noise in candidates.noise(state.key, observation, 10, 2):
        actions.append(pi(start.params.policy, observation).sample(noise)[0])
        first_critic = plain.at(start.params.critics, 0)
        values.append(plain.forward(first_critic, observation, actions[-1])[:, 0])
    best = np.argmax(values, axis=0)
    assert len(set(best.tolist())) > 3
    expected = np.asarray(actions)[best, np.arange(16)]
    plain.assert_close(learner.policies["max_q"](state, observation), expected, atol=1e-5)


def test_update_needs_a_behaviour_policy_of_the_same_shape():
    learner = learner_of(brac_primal, KL)
    state = learner.init(jax.random.PRNGKey(0))
    with pytest.raises(ValueError, match="has no behaviour policy: hand one over"):
        learner.update(state, BATCHES)
    cloning = brac_bc.make(brac_bc.Config(hidden_sizes=(8, 8)), SPEC)
    with pytest.raises(ValueError, match=r"params of shapes .*16.* got .*8"):
        brac_primal.with_behavior(state, cloning.init(jax.random.PRNGKey(0)).params.policy)


def test_cloned_policy_is_handed_over_as_a_copy():
    cloning = brac_bc.make(brac_bc.Config(hidden_sizes=(16, 16)), SPEC)
    cloned = cloning.init(jax.random.PRNGKey(2)).params.policy
    learner = learner_of(brac_primal, KL)
    state = brac_primal.with_behavior(learner.init(jax.random.PRNGKey(0)), cloned)
    state, _ = learner.update(state, BATCHES)
    plain.assert_equal(state.params.divergence, cloned)  # which the update's donation left alone


def test_unknown_divergence_is_refused():
    with pytest.raises(ValueError, match="kl or mmd, got 'w'"):
        brac_primal.Config(divergence="w")


def test_dual_divergences():
    # log softplus(0) - softplus(0) + 1 = log log 2 - log 2 + 1; and c(a~) - c(a) = 3 - 1.
    expected = np.log(np.log(2)) - np.log(2) + 1
    np.testing.assert_allclose(brac_dual.kl_divergence(0.0, 0.0), expected, rtol=1e-5)
    # At c = log(e - 1), softplus is 1: 0 - 1 + 1.
    one = np.float32(np.log(np.e - 1))
    np.testing.assert_allclose(brac_dual.kl_divergence(one, one), 0.0, atol=1e-6)
    assert brac_dual.wasserstein_distance(3.0, 1.0) == 2.0
    # Far below zero, 1e-8 is all that is left within the logarithm.
    far = brac_dual.kl_divergence(jnp.float32(-100.0), jnp.float32(-100.0))
    np.testing.assert_allclose(far, np.log(1e-8) + 1, rtol=1e-5)


def test_discriminator_loss():
    # -0.5 + 5 (5 - 1)^2 for a gradient of (3, 4), and -0.5 alone below a slope of 1.
    gradient = jnp.array([[3.0, 4.0], [0.6, 0.0]])
    loss = brac_dual.discriminator_loss(jnp.array([0.5, 0.5]), gradient, 5.0)
    np.testing.assert_allclose(loss, [79.5, -0.5], rtol=1e-6)


DUAL = {
    "kl policy regularisation": {"alpha": 0.3},
    "w value penalty, adapted": {
        "divergence": "w",
        "value_penalty": True,
        "train_alpha": True,
        "target_divergence": 0.1,
        "ensemble_weight": 0.75,
    },
}


@pytest.mark.parametrize("name", DUAL)
def test_dual_update(name):
    config = brac_dual.Config(
        **SIZES,
        **DUAL[name],
        discriminator_sizes=(16, 16),
        discriminator_steps=2,
        policy_learning_rate=3e-4,
        target_rate=0.1,
        warm_start=0,
    )
    learner = brac_dual.make(config, SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    policy, alpha, c = start.params.policy, start.params.alpha, start.params.divergence
    critics = [plain.at(start.params.critics, k) for k in (0, 1)]
    targets = list(critics)
    critic_adams = [plain.Adam(critic, 1e-3, 1e-7) for critic in critics]
    policy_adam, c_adam = plain.Adam(policy, 3e-4, 1e-7), plain.Adam(c, 1e-3, 1e-7)
    alpha_adam = plain.Adam(alpha, 1e-3, 1e-7)
    weight = config.ensemble_weight

    def divergence(c, observation, action, data_action):
        c_policy = plain.forward(c, observation, action)[:, 0]
        c_data = plain.forward(c, observation, data_action)[:, 0]
        if config.divergence == "w":
            return c_policy - c_data
        return jnp.log(jnp.log1p(jnp.exp(c_policy)) + 1e-8) - jnp.log1p(jnp.exp(c_data)) + 1

    def value(networks, observation, action):
        q0, q1 = (plain.forward(n, observation, action)[:, 0] for n in networks)
        return weight * jnp.minimum(q0, q1) + (1 - weight) * jnp.maximum(q0, q1)

    def critic_loss(params, batch, target):
        q = plain.forward(params, batch.observation, batch.action)[:, 0]
        return jnp.mean(jnp.square(q - target))

    def policy_loss(params, batch, critics, alpha, follows_q, epsilon):
        action, _ = pi(params, batch.observation).sample(epsilon)
        d = divergence(c, batch.observation, action, batch.action)
        q = value(critics, batch.observation, action)
        return jnp.mean(alpha * d - follows_q * q), d

    def discriminator_loss(c, batch, action, between):
        def one(observation, action):
            return plain.forward(c, observation, action)[0]

        gradients = jax.vmap(jax.grad(one, argnums=1))(batch.observation, between)
        slope = jnp.sqrt(jnp.sum(gradients**2, axis=-1) + 1e-8)
        penalty = jnp.mean(jnp.maximum(slope - 1, 0) ** 2)
        d = divergence(c, batch.observation, action, batch.action)
        return 5 * penalty - jnp.mean(d)

    for k in range(2):
        batch = plain.at(BATCHES, k)
        first, second = plain.at(batch, slice(8)), plain.at(batch, slice(8, 16))
        core_key, *c_keys = jax.random.split(jax.random.fold_in(start.key, k), 3)
        key_tm1, key_t = jax.random.split(core_key)
        noise_tm1, noise_t = (
            jax.random.normal(jax.random.split(key)[0], (8, 2)) for key in (key_tm1, key_t)
        )
        targets = [plain.polyak(critics[i], targets[i], 0.1) for i in (0, 1)]
        next_action, _ = pi(policy, first.next_observation).sample(noise_t)
        v = value(targets, first.next_observation, next_action)
        if config.value_penalty:
            data_action = first.extras["next_action"]
            v -= alpha * divergence(c, first.next_observation, next_action, data_action)
        target = first.reward + 0.99 * first.discount * v
        for i in (0, 1):
            critics[i] = critic_adams[i].step(
                critics[i], jax.grad(critic_loss)(critics[i], first, target)
            )
        gradients, d = jax.grad(policy_loss, has_aux=True)(
            policy, first, critics, alpha, float(k > 0), noise_tm1
        )
        policy = policy_adam.step(policy, gradients)
        if config.train_alpha:
            alpha = alpha_adam.step(alpha, -np.mean(d - 0.1))
        for key, minibatch in zip(c_keys, (first, second), strict=True):
            sample_key, between_key = jax.random.split(key)
            epsilon = jax.random.normal(sample_key, (8, 2))
            action, _ = pi(policy, minibatch.observation).sample(epsilon)
            fraction = jax.random.uniform(between_key, (8, 1))
            between = (1 - fraction) * action + fraction * minibatch.action
            c = c_adam.step(c, jax.grad(discriminator_loss)(c, minibatch, action, between))

    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    for name in ("policy", "divergence"):
        assert plain.moved(getattr(state.params, name), getattr(start.params, name)) > 1e-4
    plain.assert_close(state.params.policy, policy)
    plain.assert_close(state.params.alpha, alpha)
    plain.assert_close(state.params.divergence, c)
    for i in (0, 1):
        plain.assert_close(plain.at(state.params.critics, i), critics[i])
        plain.assert_close(plain.at(state.target_params, i), targets[i])
    assert state.steps == 2


def test_dual_says_what_a_batch_lacks():
    learner = brac_dual.make(brac_dual.Config(**SIZES, discriminator_steps=3), SPEC)
    assert LEARNERS["brac_dual"].extras(brac_dual.Config()) == ()
    with pytest.raises(ValueError, match="discriminator_steps=3 minibatches, got 16 transitions"):
        learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    config = brac_dual.Config(**SIZES, discriminator_steps=2, value_penalty=True)
    learner = brac_dual.make(config, SPEC)
    assert LEARNERS["brac_dual"].extras(config) == ("next_action",)
    with pytest.raises(ValueError, match="give batches with the extra next_action"):
        learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES._replace(extras={}))
    with pytest.raises(ValueError, match="kl or w, got 'mmd'"):
        brac_dual.Config(divergence="mmd")


def test_bear_is_brac_with_its_choices():
    chosen = brac_primal.Config(
        divergence="mmd",
        value_penalty=False,
        alpha=1.0,
        train_alpha=True,
        target_divergence=0.05,
        ensemble_weight=0.75,
    )
    assert dataclasses.asdict(bear.Config()) == dataclasses.asdict(chosen)


def test_bear_drives_the_divergence_to_its_target():
    """The policy begins too far from the behaviour: alpha grows until it is near enough."""
    config = bear.Config(
        **SIZES,
        kernel_width=1.0,
        policy_learning_rate=3e-3,
        alpha_learning_rate=1e-2,
        target_divergence=0.3,
        warm_start=0,
    )
    learner = bear.make(config, SPEC)
    behavior = learner.init(jax.random.PRNGKey(1)).params.policy
    behavior = jax.tree.map(lambda p: 3 * p, behavior)
    state = bear.with_behavior(learner.init(jax.random.PRNGKey(0)), behavior)
    # Reward leads away from the behaviour.
    batches = plain.random_batches(400, 32, 5, 2)
    away = -np.asarray(pi(behavior, batches.observation).mode() - CENTRE) / MAGNITUDE
    reward = 5 * np.sum(away * (batches.action - CENTRE) / MAGNITUDE, axis=-1)
    batches = batches._replace(reward=reward, discount=np.zeros_like(reward))
    divergences, alphas = [], []
    for _ in range(6):
        state, metrics = learner.update(state, batches)
        divergences.append(float(metrics["divergence"]))
        alphas.append(float(metrics["alpha"]))
    assert divergences[0] > 1.0
    assert alphas[-1] > 3 * alphas[0]
    assert divergences[-1] == pytest.approx(0.3, abs=0.1)
