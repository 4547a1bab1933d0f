"""QDagger on DrQ: how frames are augmented, and the dueling heads, by hand."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import qdagger_drq
from tests.learners import plain
from tests.learners.test_distillation import SPEC, batches_of

KEY = jax.random.PRNGKey(0)


def test_frames_are_shifted_as_one_and_their_edges_repeated():
    frames = np.random.default_rng(0).integers(0, 256, (900, 5, 6, 2), dtype=np.uint8)
    found = np.asarray(qdagger_drq.augmented(KEY, frames, 1, 0.0))
    assert found.dtype == np.float32
    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    shifts = collections.Counter()
    for x, wide in zip(found, padded, strict=True):
        crops = {(i, j): wide[i : i + 5, j : j + 6] for i in range(3) for j in range(3)}
        [shift] = [shift for shift, crop in crops.items() if np.array_equal(x, crop)]
        shifts[shift] += 1
    # 100 of each are expected, with a standard deviation of 9.4.
    assert len(shifts) == 9
    assert 60 < min(shifts.values()) <= max(shifts.values()) < 140


def test_a_stack_is_made_brighter_or_darker_as_one():
    frames = np.random.default_rng(0).integers(1, 256, (5000, 2, 2, 3), dtype=np.uint8)
    factors = np.asarray(qdagger_drq.augmented(KEY, frames, 0, 0.05)) / frames
    factor = factors[:, 0, 0, 0]
    np.testing.assert_allclose(factors / factor[:, None, None, None], 1, rtol=1e-5)
    assert 0.9 - 1e-6 <= factor.min() < 0.901
    assert 1.099 < factor.max() <= 1.1 + 1e-6
    # The variance of a normal number that is clipped to two standard deviations is 0.9205.
    assert np.std(factor) == pytest.approx(0.05 * 0.9205**0.5, rel=0.03)
    assert np.mean(factor) == pytest.approx(1, abs=0.003)


def test_dueling_heads_by_hand():
    # The mean of the advantages is 2: 5 - 1, 5 + 0 and 5 + 1.
    outputs = jnp.array([[5.0, 1.0, 2.0, 3.0], [0.0, 7.0, 7.0, 7.0]])
    np.testing.assert_array_equal(qdagger_drq.dueling(outputs), [[4, 5, 6], [0, 0, 0]])


def test_an_update_learns_from_both_states_augmented_each_on_its_own():
    config = qdagger_drq.Config(max_shift=2, intensity=0.0)
    still = qdagger_drq.make(qdagger_drq.Config(max_shift=0, intensity=0.0), SPEC)
    batches = batches_of(1, config)
    learner = qdagger_drq.make(config, SPEC)
    state, metrics = learner.update(learner.init(KEY), batches)

    start = still.init(KEY)
    keys = jax.random.split(jax.random.fold_in(start.key, 0))
    shifted = [
        np.asarray(qdagger_drq.augmented(key, frames[0], 2, 0.0)).astype(np.uint8)[None]
        for key, frames in zip(keys, (batches.observation, batches.next_observation), strict=True)
    ]
    by_hand = batches._replace(observation=shifted[0], next_observation=shifted[1])
    expected, expected_metrics = still.update(start, by_hand)
    assert metrics["loss"] == pytest.approx(float(expected_metrics["loss"]), rel=1e-5)
    plain.assert_close(state.params, expected.params, rtol=1e-4, atol=1e-6)
    unshifted = still.update(still.init(KEY), batches)[1]
    assert abs(unshifted["loss"] - expected_metrics["loss"]) > 1e-3
    # Who acts sees the frames as they are.
    seen = batches.observation[0]
    np.testing.assert_array_equal(learner.act(state, seen), still.act(state, seen))
