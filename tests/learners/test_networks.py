import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import networks
from learners.networks import TanhGaussian
from learners.types import Spec
from tests.learners import plain


def distribution(mean, log_std, centre=0.0, magnitude=1.0):
    arrays = (mean, log_std, centre, magnitude)
    return TanhGaussian(*(jnp.atleast_1d(jnp.asarray(x, jnp.float32)) for x in arrays))


def exact_log_prob(action, mean, log_std, centre, magnitude):
    """In float64, by the change of variables on tanh's inverse and its derivative."""
    y = (np.asarray(action, np.float64) - centre) / magnitude
    z = (np.arctanh(y) - mean) / np.exp(log_std)
    log_normal = -0.5 * z**2 - log_std - 0.5 * np.log(2 * np.pi)
    return np.sum(log_normal - np.log(magnitude * (1 - y**2)), axis=-1)


def test_log_prob_by_hand():
    # arctanh(0) = 0: log N(0; 0, 1) = -0.9189385, and tanh's slope there is 1.
    assert distribution(0.0, 0.0).log_prob(jnp.zeros(1)) == pytest.approx(-0.9189385, abs=1e-6)
    # Twice the range halves the density: less log 2 = 0.6931472.
    doubled = distribution(0.0, 0.0, magnitude=2.0)
    assert doubled.log_prob(jnp.zeros(1)) == pytest.approx(-1.6120857, abs=1e-6)
    # arctanh(0.5) = 0.5493061: -0.9189385 - 0.5493061^2 / 2 - log(1 - 0.25)
    #                         = -0.9189385 - 0.1508686 + 0.2876821 = -0.7821250.
    half = distribution(0.0, 0.0).log_prob(jnp.full(1, 0.5))
    assert half == pytest.approx(-0.7821250, abs=1e-6)


def test_mode_and_sample_by_hand():
    # Bounds -1 and 5: centre 2, magnitude 3; tanh(0.5493061) = 0.5.
    pi = distribution(0.5493061, math.log(0.1), centre=2.0, magnitude=3.0)
    assert float(pi.mode()[0]) == pytest.approx(3.5, abs=1e-5)
    # One standard deviation up: tanh(0.6493061) = 0.5712027.
    action, _ = pi.sample(jnp.ones(1))
    assert float(action[0]) == pytest.approx(2 + 3 * 0.5712027, abs=1e-5)


@pytest.mark.parametrize("edge", [0.0, 0.9, 0.999, -0.999])
def test_log_prob_agrees_with_float64_up_to_the_clipping_margin(edge):
    rng = np.random.default_rng(0)
    mean, log_std = rng.normal(size=(64, 3)), rng.uniform(-5, 0, size=(64, 3))
    centre, magnitude = np.array([0.0, 1.0, -2.0]), np.array([1.0, 0.5, 3.0])
    squashed = np.clip(edge + 0.05 * rng.normal(size=(64, 3)), -0.999, 0.999)
    action = (centre + magnitude * squashed).astype(np.float32)
    actual = distribution(mean, log_std, centre, magnitude).log_prob(action)
    # At a margin of 1e-3, one rounding of the action moves arctanh by 6e-5 of a unit, which is
    # 1e-2 standard deviations at the smallest; z^2 / 2 then moves by a part in z / 1e-2.
    np.testing.assert_allclose(
        actual, exact_log_prob(action, mean, log_std, centre, magnitude), rtol=5e-3, atol=5e-3
    )


@pytest.mark.parametrize("mean", [0.0, 3.0, -9.0, 30.0])
def test_density_of_a_sample_agrees_with_float64_even_where_tanh_is_saturated(mean):
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(64, 2)).astype(np.float32)
    log_std = np.float32(-1.5)
    _, log_density = distribution(mean, log_std).sample(noise)
    u = mean + np.exp(np.float64(log_std)) * noise.astype(np.float64)
    log_normal = -0.5 * noise.astype(np.float64) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    log_slope = -2 * np.logaddexp(u, -u) + 2 * np.log(2)  # of sech(u)^2
    expected = np.sum(log_normal - log_slope, axis=-1)
    np.testing.assert_allclose(log_density, expected, rtol=1e-5, atol=1e-4)


def test_sample_and_log_prob_agree():
    rng = np.random.default_rng(2)
    mean, log_std = rng.normal(size=(2, 32, 4))
    pi = distribution(mean, np.minimum(log_std, 0))
    action, log_density = pi.sample(rng.normal(size=(32, 4)).astype(np.float32))
    inside = np.all(np.abs(action) < 0.99, axis=-1)
    assert inside.sum() > 10
    np.testing.assert_allclose(
        log_density[inside], pi.log_prob(action)[inside], rtol=1e-3, atol=1e-3
    )


def test_density_integrates_to_one():
    pi = distribution(0.4, -0.7, centre=1.0, magnitude=2.0)
    grid = np.linspace(-1 + 1e-4, 3 - 1e-4, 20001, dtype=np.float32)[:, None]
    assert np.mean(np.exp(pi.log_prob(grid))) * 4 == pytest.approx(1.0, abs=1e-3)


def test_gradient_of_a_saturated_sample_is_finite_and_right():
    def log_density(mean):
        return distribution(mean, -1.0).sample(jnp.zeros(1))[1]

    # d/du of -2 (log 2 - u - log(1 + e^-2u)) = 2 tanh(u), also at zero and far out.
    for mean in (0.0, 0.5, -0.5, 20.0, -50.0):
        assert float(jax.grad(log_density)(mean)) == pytest.approx(2 * np.tanh(mean), abs=1e-5)


def test_log_std_is_squashed_into_its_range():
    head = jnp.array([[0.0, 0.0, 0.0, -100.0], [0.0, 0.0, 100.0, 0.0]])
    pi = TanhGaussian.from_head(head, Spec(1, 2))
    np.testing.assert_allclose(pi.log_std, [[-2.5, -5.0], [0.0, -2.5]], atol=1e-6)


def test_mlp_is_the_network_it_says():
    network = networks.mlp([8, 8, 3])
    params = network.init(jax.random.PRNGKey(0), jnp.zeros((1, 2)), jnp.zeros((1, 4)))
    x, y = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    expected = plain.forward(params, x[:, :2], y)
    np.testing.assert_allclose(network.apply(params, x[:, :2], y), expected, rtol=1e-5, atol=1e-6)


def test_a_bottleneck_is_a_linear_layer_before_the_last_without_an_activation():
    network = networks.mlp([2, 2], bottleneck=1)
    params = network.init(jax.random.PRNGKey(0), jnp.zeros((1, 1)))
    params["hidden_0"] = {"w": jnp.array([[1.0, -1.0]]), "b": jnp.array([0.0, 1.0])}
    params["bottleneck"] = {"w": jnp.array([[-2.0, 1.0]]), "b": jnp.array([0.5])}
    params["head"] = {"w": jnp.array([[1.0], [3.0]]), "b": jnp.array([0.0, 1.0])}
    # 2 -> relu (2, -1) = (2, 0) -> -4 + 0.5 = -3.5 -> (-3.5, -9.5)
    np.testing.assert_allclose(network.apply(params, jnp.array([[2.0]])), [[-3.5, -9.5]])


def test_initial_weights():
    glorot = networks.mlp([300, 200, 4]).init(jax.random.PRNGKey(0), jnp.zeros((1, 100)))
    # Glorot's bound is sqrt(6 / (inputs + outputs)); the largest of many draws comes near it.
    for name, bound in {"hidden_0": 0.122474, "hidden_1": 0.109545, "head": 0.171499}.items():
        assert np.max(np.abs(glorot[name]["w"])) == pytest.approx(bound, rel=0.02)
        assert not np.any(glorot[name]["b"])
    torch = networks.mlp([400, 4], networks.torch_initializers)
    params = torch.init(jax.random.PRNGKey(0), jnp.zeros((1, 100)))
    # PyTorch's is inputs^-1/2 for weights and biases.
    for name, bound in {"hidden_0": 0.1, "head": 0.05}.items():
        assert np.max(np.abs(params[name]["w"])) == pytest.approx(bound, rel=0.02)
    assert np.max(np.abs(params["hidden_0"]["b"])) == pytest.approx(0.1, rel=0.02)


def test_orthogonal_initial_weights():
    params = networks.mlp([64, 64, 4], networks.orthogonal_initializers).init(
        jax.random.PRNGKey(0), jnp.zeros((1, 8))
    )
    for name, size in {"hidden_0": 8, "hidden_1": 64, "head": 4}.items():
        w = params[name]["w"]
        np.testing.assert_allclose(w @ w.T, 2 * np.eye(size), atol=1e-5)
        assert not np.any(params[name]["b"])


def test_initial_weights_of_rlkit():
    params = networks.mlp(
        [400, 4], networks.biased_initializers, networks.small_initializers(1e-3)
    ).init(jax.random.PRNGKey(0), jnp.zeros((1, 100)))
    # Within inputs^-1/2 and biases of 0.1; the last layer within the bound it was given.
    assert np.max(np.abs(params["hidden_0"]["w"])) == pytest.approx(0.1, rel=0.02)
    assert np.all(params["hidden_0"]["b"] == np.float32(0.1))
    assert np.max(np.abs(params["head"]["w"])) == pytest.approx(1e-3, rel=0.02)
    assert 0 < np.max(np.abs(params["head"]["b"])) <= 1e-3


def test_twins_are_two_different_networks():
    critic = networks.mlp([8, 8, 1])
    critics = networks.twin(critic)
    inputs = jnp.ones((1, 2)), jnp.ones((1, 3))
    params = critics.init(jax.random.PRNGKey(0), *inputs)
    outputs = critics.apply(params, *inputs)
    assert outputs.shape == (2, 1)
    assert outputs[0] != outputs[1]
    for k in range(2):
        expected = plain.forward(plain.at(params, k), *inputs)[:, 0]
        np.testing.assert_allclose(outputs[k], expected, rtol=1e-5)


def test_ensemble():
    # 0.75 * 1 + 0.25 * 5, and 0.75 * 2 + 0.25 * 2.
    q = jnp.array([[1.0, 2.0], [5.0, 2.0]])
    np.testing.assert_allclose(networks.ensemble(q, 0.75), [2.0, 2.0])
    np.testing.assert_allclose(networks.ensemble(q, 1.0), [1.0, 2.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observation_size": 0}, "must be positive"),
        ({"action_minimum": np.zeros(3)}, "action_minimum must be one number or 2"),
        ({"observation_mean": np.zeros(3)}, "observation_mean must be one number or 4"),
        ({"action_minimum": 1.0}, "minimum below maximum"),
        ({"action_maximum": np.inf}, "must be finite"),
    ],
)
def test_spec_refuses_what_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        Spec(**{"observation_size": 4, "action_size": 2, **arguments})
