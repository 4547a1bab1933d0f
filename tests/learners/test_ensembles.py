"""Ensemble-DQN, Averaged Ensemble-DQN and REM: by hand, and an update in NumPy from the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import ensemble_dqn, networks, rem
from learners.types import DiscreteSpec
from tests.learners import plain

SPEC = DiscreteSpec(3, (2, 2, 2))
HEADS = 4
Q_TM1 = jnp.array([[0.0, 0.0], [1.0, 3.0]])  # [A, K]
Q_T = jnp.array([[4.0, 0.0], [1.0, 2.0]])


def test_ensemble_loss_by_hand():
    # Heads: 1 + 0.5 * 4 - 1 = 2, and 1 + 0.5 * 2 - 3 = -1. Huber: 1.5 and 0.5.
    assert ensemble_dqn.ensemble_loss(Q_TM1, 1, 1.0, 0.5, Q_T) == 1.0


def test_rem_loss_by_hand():
    # Mixed: q_tm1[1] = 0.25 + 2.25 = 2.5; q_t = (1, 1.75). 1 + 0.5 * 1.75 - 2.5 = -0.625.
    loss = rem.rem_loss(jnp.array([0.25, 0.75]), Q_TM1, 1, 1.0, 0.5, Q_T)
    assert loss == 0.625**2 / 2


def test_a_mixture_is_of_uniform_numbers_over_their_sum():
    keys = jax.random.split(jax.random.PRNGKey(0), 2000)
    alpha = np.asarray(jax.vmap(lambda key: rem.mixture(key, 2))(keys))
    np.testing.assert_allclose(alpha.sum(axis=1), 1, rtol=1e-6)
    # u / (u + v) < 1/4 where v > 3 u: a triangle of 1/6 of the unit square. Weights uniform on the
    # simplex, as a Dirichlet distribution has them, would be there a quarter of the time.
    assert np.mean(alpha[:, 0] < 0.25) == pytest.approx(1 / 6, abs=0.025)


def linear(num_outputs, initializers=networks.keras_initializers):
    """A network without hidden layers, of flattened frames."""
    network = networks.mlp([num_outputs], initializers)

    def flat(frames):
        return frames.reshape(len(frames), -1).astype(jnp.float32) / 255.0

    return networks.Network(
        lambda key, frames: network.init(key, flat(frames)),
        lambda params, frames: network.apply(params, flat(frames)),
    )


def errors_in_numpy(algorithm, is_averaged, alpha, q_tm1, q_t, batch):
    """Of REM's paper: the loss, and its gradient in the values of both, one sample at a time."""
    loss, gradient = 0.0, np.zeros_like(q_tm1)
    for i, action in enumerate(batch.action):
        discount = 0.99 * batch.discount[i]
        if algorithm is rem:
            mixed = sum(alpha[k] * q_t[i, :, k] for k in range(HEADS))
            wanted = batch.reward[i] + discount * mixed.max()
            errors = [(alpha, wanted - sum(alpha * q_tm1[i, action]), 1.0)]
        else:
            best = [
                (q_t[i].mean(axis=1) if is_averaged else q_t[i, :, k]).max() for k in range(HEADS)
            ]
            errors = [
                (
                    np.eye(HEADS)[k],
                    batch.reward[i] + discount * best[k] - q_tm1[i, action, k],
                    1 / HEADS,
                )
                for k in range(HEADS)
            ]
        for direction, error, share in errors:
            small = abs(error) < 1
            loss += share * (0.5 * error**2 if small else abs(error) - 0.5) / len(batch.action)
            slope = -np.clip(error, -1, 1) * share / len(batch.action)
            gradient[i, action] += slope * direction
    return loss, gradient


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (ensemble_dqn, {}),
        (ensemble_dqn, {"is_averaged": True}),
        (ensemble_dqn, {"are_networks": True}),
        (rem, {}),
        (rem, {"are_networks": True}),
    ],
)
def test_updates_are_the_papers(algorithm, options, monkeypatch):
    """Three: the second has the targets of the start, and the third those of the second."""
    monkeypatch.setattr(ensemble_dqn, "nature_dqn", linear)
    config = algorithm.Config(num_heads=HEADS, target_period=2, learning_rate=0.05, **options)
    learner = algorithm.make(config, SPEC)
    rng = np.random.default_rng(0)
    shape = (3, 6)
    frames = rng.integers(0, 256, (2, *shape, *SPEC.observation_shape), dtype=np.uint8)
    batches = plain.Batch(
        observation=frames[0],
        action=rng.integers(0, 3, shape),
        reward=rng.integers(-2, 3, shape).astype(np.float32),
        discount=(rng.random(shape) > 0.25).astype(np.float32),
        next_observation=frames[1],
    )
    state = learner.init(jax.random.PRNGKey(5))
    key = state.key

    def as_one(params):  # weights [A, K, 8] and biases [A, K]
        if config.are_networks:
            layers = [p["head"] for p in params]
            return {kind: np.stack([x[kind] for x in layers], 1) for kind in ("w", "b")}
        head = params["head"]
        return {"w": head["w"].reshape(3, HEADS, 8), "b": head["b"].reshape(3, HEADS)}

    theirs = jax.tree.map(lambda x: np.asarray(x, np.float64), as_one(state.params))
    target, adam = theirs, plain.Adam(theirs, 0.05, 0.01 / 32)
    expected = []
    for step in range(3):
        batch = plain.at(batches, step)
        x, x_t = (f.reshape(6, 8) / 255 for f in (batch.observation, batch.next_observation))
        q_tm1, q_t = (
            np.einsum("akf,bf->bak", p["w"], y) + p["b"] for p, y in ((theirs, x), (target, x_t))
        )
        u = np.asarray(jax.random.uniform(jax.random.fold_in(key, step), (HEADS,)), np.float64)
        loss, slope = errors_in_numpy(
            algorithm, options.get("is_averaged"), u / u.sum(), q_tm1, q_t, batch
        )
        expected.append(loss)
        gradients = {"w": np.einsum("bak,bf->akf", slope, x), "b": slope.sum(axis=0)}
        theirs = adam.step(theirs, gradients)
        target = theirs if step == 1 else target
    state, metrics = learner.update(state, batches)
    assert metrics["loss"] == pytest.approx(np.mean(expected), rel=1e-5)
    plain.assert_close(as_one(state.params), theirs, rtol=1e-4, atol=1e-5)
    plain.assert_close(as_one(state.target_params), target, rtol=1e-4, atol=1e-5)
    # The policy is greedy in the mean head.
    q = np.einsum("akf,bf->bak", theirs["w"], x) + theirs["b"]
    np.testing.assert_array_equal(
        learner.act(state, batch.observation), q.mean(axis=2).argmax(axis=1)
    )


def test_heads_are_networks_of_their_own_where_they_are_to_be():
    frames = np.zeros((1, 12, 12, 2), np.uint8)
    apart = ensemble_dqn.heads(3, 2, are_networks=True)
    params = apart.init(jax.random.PRNGKey(0), frames)
    assert len(params) == 2
    assert np.any(params[0]["conv2_d"]["w"] != params[1]["conv2_d"]["w"])
    assert apart.apply(params, frames).shape == (1, 3, 2)
    together = ensemble_dqn.heads(3, 2, are_networks=False)
    params = together.init(jax.random.PRNGKey(0), frames)
    assert params["head"]["w"].shape == (6, 512)
    # Dopamine's initialisers.
    assert np.max(np.abs(params["head"]["w"])) == pytest.approx((3**0.5 / 512) ** 0.5, rel=0.01)
