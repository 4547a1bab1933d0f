"""BCQ: losses worked by hand, and updates against the same algorithm written plainly."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.recipes import tianshou
from learners import bcq, candidates
from learners.types import Spec
from tests.learners import plain

SPEC = Spec(5, 2, np.array([-1.0, -2.0]), np.array([1.0, 4.0]))
CENTRE, MAGNITUDE = np.array([0.0, 1.0], np.float32), np.array([1.0, 3.0], np.float32)
BATCHES = plain.random_batches(2, 16, 5, 2)
BATCHES = BATCHES._replace(action=CENTRE + MAGNITUDE * BATCHES.action)
SIZES = {f"{name}_sizes": (16, 16) for name in ("critic", "perturbation", "autoencoder")}


def test_autoencoder_loss():
    # Error (1^2 + 2^2) / 2 = 2.5; KL of N(1, 1) is 1/2 and of N(0, e^2) is (e^2 - 1) / 2 - 1.
    loss = bcq.autoencoder_loss(
        reconstruction=jnp.array([[1.0, 2.0], [0.5, 0.5]]),
        a_tm1=jnp.array([[0.0, 0.0], [0.5, 0.5]]),
        mean=jnp.array([[1.0, 1.0], [0.0, 0.0]]),
        log_std=jnp.array([[0.0, 0.0], [1.0, 0.0]]),
        kl_weight=0.5,
    )
    np.testing.assert_allclose(loss, [2.75, 0.25 * ((np.e**2 - 1) / 2 - 1)], rtol=1e-6)


def test_critic_target():
    # Of two proposals, 0.75 * 1 + 0.25 * 3 = 1.5 and 0.75 * 0 + 0.25 * 8 = 2: 1 + 0.5 * 2.
    q_t = jnp.array([[[1.0, 7.0], [8.0, 7.0]], [[3.0, 7.0], [0.0, 7.0]]])  # [2, N, B]
    target = bcq.critic_target(jnp.array([1.0, 4.0]), jnp.array([0.5, 0.0]), q_t, 0.75)
    np.testing.assert_allclose(target, [2.0, 4.0])


def decode(params, observation, latent):
    return CENTRE + MAGNITUDE * jnp.tanh(plain.forward(params, observation, latent))


def perturbed(params, observation, action, phi=0.5):
    change = phi * MAGNITUDE * jnp.tanh(plain.forward(params, observation, action))
    return jnp.minimum(jnp.maximum(action + change, CENTRE - MAGNITUDE), CENTRE + MAGNITUDE)


@pytest.mark.parametrize("perturb_target", [True, False])
def test_update(perturb_target):
    config = tianshou.BCQ(
        **SIZES,
        latent_size=3,
        target_samples=4,
        max_perturbation=0.5,
        target_rate=0.1,
        perturbation_learning_rate=1e-4,
        perturb_target=perturb_target,
    )
    learner = bcq.make(config, SPEC)
    start = plain.copy(learner.init(jax.random.PRNGKey(0)))
    plain.assert_equal(start.target_params.critics, start.params.critics)
    plain.assert_equal(start.target_params.perturbation, start.params.perturbation)
    autoencoder, perturbation = start.params[:2], start.params.perturbation
    critics = [plain.at(start.params.critics, k) for k in (0, 1)]
    targets, target_perturbation = list(critics), perturbation
    autoencoder_adam = plain.Adam(autoencoder, 1e-3, 1e-8)
    critic_adams = [plain.Adam(critic, 1e-3, 1e-8) for critic in critics]
    perturbation_adam = plain.Adam(perturbation, 1e-4, 1e-8)

    def autoencoder_loss(params, batch, epsilon):
        head = plain.forward(params[0], batch.observation, batch.action)
        mean, std = head[:, :3], jnp.exp(jnp.maximum(head[:, 3:], -4.0))
        action = decode(params[1], batch.observation, mean + std * epsilon)
        kl = -0.5 * jnp.mean(1 + jnp.log(std**2) - mean**2 - std**2)
        return jnp.mean((action - batch.action) ** 2) + 0.5 * kl

    def critic_loss(params, batch, target):
        q = plain.forward(params, batch.observation, batch.action)[:, 0]
        return jnp.mean((q - target) ** 2)

    def perturbation_loss(params, critic, decoder, batch, latent):
        action = perturbed(params, batch.observation, decode(decoder, batch.observation, latent))
        return -jnp.mean(plain.forward(critic, batch.observation, action))

    for k in range(2):
        batch = plain.at(BATCHES, k)
        noise = jax.random.normal(jax.random.fold_in(start.key, k), (6, 16, 3))
        latents = np.clip(noise[1:], -0.5, 0.5)
        autoencoder = autoencoder_adam.step(
            autoencoder, jax.grad(autoencoder_loss)(autoencoder, batch, noise[0])
        )
        values = []
        for latent in latents[1:]:
            action = decode(autoencoder[1], batch.next_observation, latent)
            if perturb_target:
                action = perturbed(target_perturbation, batch.next_observation, action)
            q = [plain.forward(t, batch.next_observation, action)[:, 0] for t in targets]
            values.append(0.75 * np.minimum(*q) + 0.25 * np.maximum(*q))
        target = batch.reward + 0.99 * batch.discount * np.max(values, axis=0)
        for i in (0, 1):
            critics[i] = critic_adams[i].step(
                critics[i], jax.grad(critic_loss)(critics[i], batch, target)
            )
        perturbation = perturbation_adam.step(
            perturbation,
            jax.grad(perturbation_loss)(
                perturbation, critics[0], autoencoder[1], batch, latents[0]
            ),
        )
        targets = [plain.polyak(critics[i], targets[i], 0.1) for i in (0, 1)]
        target_perturbation = plain.polyak(perturbation, target_perturbation, 0.1)

    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), BATCHES)
    assert plain.moved(state.params.perturbation, start.params.perturbation) > 1e-4
    plain.assert_close(state.params[:2], autoencoder)
    plain.assert_close(state.params.perturbation, perturbation)
    plain.assert_close(state.target_params.perturbation, target_perturbation)
    for i in (0, 1):
        plain.assert_close(plain.at(state.params.critics, i), critics[i])
        plain.assert_close(plain.at(state.target_params.critics, i), targets[i])
    assert state.steps == 2


@functools.cache  # so that tests share what is compiled
def fast_learner():
    return bcq.make(bcq.Config(**SIZES, autoencoder_learning_rate=1e-2, act_samples=9), SPEC)


def test_policy_takes_the_proposal_that_the_first_critic_values_most():
    state = fast_learner().init(jax.random.PRNGKey(0))
    observation, params = BATCHES.observation[0], state.params
    actions, values = [], []
    for noise in candidates.noise(state.key, observation, 9, 4):
        action = decode(params.decoder, observation, np.clip(noise, -0.5, 0.5))
        actions.append(perturbed(params.perturbation, observation, action, 0.05))
        first_critic = plain.at(params.critics, 0)
        values.append(plain.forward(first_critic, observation, actions[-1])[:, 0])
    best = np.argmax(values, axis=0)
    assert len(set(best.tolist())) > 3
    expected = np.asarray(actions)[best, np.arange(16)]
    plain.assert_close(fast_learner().act(state, observation), expected, atol=1e-5)


def test_noise_of_candidates_is_normal_and_of_each_observation_alone():
    key = jax.random.PRNGKey(0)
    observation = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    observation[1] = observation[0, ::-1]  # the same numbers in another order
    observation[2] = np.nextafter(observation[0], np.inf)
    noise = np.asarray(candidates.noise(key, observation, 10, 2))
    assert noise.shape == (10, 500, 2)
    assert np.mean(noise) == pytest.approx(0, abs=0.05)
    assert np.std(noise) == pytest.approx(1, abs=0.05)
    assert len(np.unique(np.swapaxes(noise, 0, 1).reshape(500, -1), axis=0)) == 500
    alone = candidates.noise(key, observation[7:8], 10, 2)
    np.testing.assert_array_equal(noise[:, 7:8], alone)


def test_only_actions_like_the_data_are_proposed():
    """All of the data's actions are one: so is every action taken, whatever the reward says."""
    state = fast_learner().init(jax.random.PRNGKey(0))
    batches = plain.random_batches(300, 32, 5, 2)
    corner = CENTRE + MAGNITUDE * np.array([0.8, -0.8], np.float32)
    batches = batches._replace(action=np.broadcast_to(corner, batches.action.shape))
    observation = batches.observation[0]

    def distance(state):
        return np.max(np.abs(fast_learner().act(state, observation) - corner) / MAGNITUDE)

    before = distance(state)
    state, _ = fast_learner().update(state, batches)
    assert before > 0.5
    assert distance(state) < 0.2


def test_proposals_may_be_taken_at_once_or_one_after_another(monkeypatch):
    x = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        np.testing.assert_array_equal(bcq.each(lambda row: row @ row)(x), [1.0, 13.0, 41.0])
