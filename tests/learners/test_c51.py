"""C51's projection and loss, by hand and against the paper's algorithm as loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import c51

SUPPORT = jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        (0.25, [0, 0, 0.75, 0.25, 0]),  # between atoms, nearer to the first
        (-1.5, [0.5, 0.5, 0, 0, 0]),
        (1.0, [0, 0, 0, 1, 0]),  # on an atom
        (2.0, [0, 0, 0, 0, 1]),  # at the ends
        (-2.0, [1, 0, 0, 0, 0]),
        (7.5, [0, 0, 0, 0, 1]),  # beyond them
        (-2.25, [1, 0, 0, 0, 0]),
    ],
)
def test_the_mass_of_an_atom_goes_to_its_neighbours(atom, expected):
    projected = c51.project(jnp.array([atom]), jnp.ones(1), SUPPORT)
    np.testing.assert_array_equal(projected, expected)


def test_projection_by_hand():
    # 0.5 to atoms 0 and 1; 0.25 at -2 from beyond; 0.25 at 1.
    projected = c51.project(jnp.array([0.5, -3.0, 1.0]), jnp.array([0.5, 0.25, 0.25]), SUPPORT)
    np.testing.assert_array_equal(projected, [0.25, 0, 0.25, 0.5, 0])


@pytest.mark.parametrize(("reward", "discount"), [(0.3, 0.99), (-1.0, 0.0), (9.0, 0.99)])
def test_projection_is_the_papers_algorithm(reward, discount):
    """Algorithm 1's loop over atoms; where one falls on an atom, l = u there loses its mass."""
    support = np.linspace(-10, 10, 51)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(51))
    expected = np.zeros(51)
    for z, p in zip(support, probabilities, strict=True):
        b = (np.clip(reward + discount * z, -10, 10) + 10) / 0.4
        low, high = int(np.floor(b + 1e-9)), int(np.ceil(b - 1e-9))
        if low == high:
            expected[low] += p
        else:
            expected[low] += p * (high - b)
            expected[high] += p * (b - low)
    z = jnp.float32(reward + discount * support)
    projected = c51.project(z, jnp.float32(probabilities), jnp.float32(support))
    np.testing.assert_allclose(projected, expected, atol=2e-6)


def test_the_target_is_of_the_action_with_the_highest_mean():
    one, half = 100.0, 0.0  # logits of a sure atom, and of two alike
    logits_t = jnp.full((2, 5), -100.0)
    logits_t = logits_t.at[0, 3].set(one)  # 1 for sure
    logits_t = logits_t.at[1, [0, 4]].set(half)  # -2 or 2: mean 0
    # 1 + 0.5 * 1 lies between 1 and 2.
    target = c51.target(1.0, 0.5, logits_t, logits_t, SUPPORT)
    np.testing.assert_allclose(target, [0, 0, 0, 0.5, 0.5], atol=1e-6)
    # At the end of an episode only the reward counts.
    target = c51.target(-1.0, 0.0, logits_t, logits_t, SUPPORT)
    np.testing.assert_allclose(target, [0, 1, 0, 0, 0], atol=1e-6)
    # Another network prefers the second action: 1 - 1 = 0, or 1 + 1 = 2.
    target = c51.target(1.0, 0.5, logits_t, logits_t[::-1], SUPPORT)
    np.testing.assert_allclose(target, [0, 0, 0.5, 0, 0.5], atol=1e-6)


def test_cross_entropy_by_hand():
    # Probabilities 1/4 and 3/4: -(0.5 log 0.25 + 0.5 log 0.75) = 0.8369882.
    logits = jnp.log(jnp.array([1.0, 3.0]))
    assert c51.cross_entropy(logits, jnp.array([0.5, 0.5])) == pytest.approx(0.8369882, abs=1e-6)
    # Its gradient is what softmax gives less the target.
    gradient = jax.grad(c51.cross_entropy)(logits, jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(gradient, [-0.25, 0.25], atol=1e-6)


def test_the_support_and_the_means_over_it():
    support = c51.Config().support()
    assert (len(support), support[0], support[25], support[-1]) == (51, -10, 0, 10)
    logits = jnp.log(jnp.array([[1.0, 1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 3.0]]))
    # (-2 - 1 + 2 * 0) / 4 and (1 + 3 * 2) / 4.
    np.testing.assert_allclose(c51.means(logits, SUPPORT), [-0.75, 1.75], atol=1e-6)
