"""Learners on normalised observations, against data that were normalised by hand."""

import dataclasses

import jax
import numpy as np

from benchmarks.recipes import tianshou
from learners import iql, td3_bc, training
from learners.types import Spec
from tests.learners import plain

MEAN, STD = np.array([1.0, -2.0, 0.5], np.float32), np.array([0.999, 3.999, 0.0], np.float32)
SPEC = Spec(3, 2, observation_mean=MEAN, observation_std=STD)
DIVISOR = np.array([1.0, 4.0, 1e-3], np.float32)  # the deviation and 1e-3
KEY = jax.random.PRNGKey(0)
BATCHES = plain.random_batches(4, 16, 3, 2)
BY_HAND = BATCHES._replace(
    observation=(BATCHES.observation - MEAN) / DIVISOR,
    next_observation=(BATCHES.next_observation - MEAN) / DIVISOR,
)


def test_a_learner_learns_and_acts_as_on_observations_normalised_by_hand():
    learner = iql.make(iql.Config(hidden_sizes=(16, 16)), SPEC)
    expected, expected_metrics = learner.update(learner.init(KEY), BY_HAND)
    normalized = training.on_normalized_observations(learner, SPEC)
    state, metrics = normalized.update(normalized.init(KEY), BATCHES)
    plain.assert_close(state.params, expected.params, rtol=1e-4)
    plain.assert_close(metrics, expected_metrics, rtol=1e-4)
    raw, by_hand = BATCHES.observation[0], BY_HAND.observation[0]
    plain.assert_close(normalized.act(state, raw), learner.act(expected, by_hand), rtol=1e-3)
    plain.assert_close(
        normalized.sample(state, KEY, raw), learner.sample(expected, KEY, by_hand), rtol=1e-3
    )
    assert plain.moved(normalized.act(state, raw), learner.act(state, raw)) > 0.01


def test_it_is_what_td3_bc_does_by_itself():
    config = td3_bc.Config(hidden_sizes=(16, 16))
    plainly = td3_bc.make(dataclasses.replace(config, normalize_observations=False), SPEC)
    normalized = training.on_normalized_observations(plainly, SPEC)
    state, _ = normalized.update(normalized.init(KEY), BATCHES)
    learner = td3_bc.make(config, SPEC)
    expected, _ = learner.update(learner.init(KEY), BATCHES)
    plain.assert_close(state.params, expected.params, rtol=1e-4)
    assert normalized.sample is None
    assert normalized.policies.keys() == {"act"}


def test_a_bound_of_tianshous_clips_what_td3_bc_acts_on_and_not_what_it_learns_from():
    free = td3_bc.make(td3_bc.Config(hidden_sizes=(16, 16)), SPEC)
    bounded = td3_bc.make(tianshou.TD3BC(hidden_sizes=(16, 16), act_observation_bound=10.0), SPEC)
    state, _ = bounded.update(bounded.init(KEY), BATCHES)
    expected, _ = free.update(free.init(KEY), BATCHES)
    plain.assert_close(state.params, expected.params)
    beyond, at_bound = (
        (MEAN + DIVISOR * np.float32(far))[None] for far in ([3, -99, 30], [3, -10, 10])
    )
    plain.assert_close(bounded.act(state, beyond), free.act(state, at_bound), rtol=1e-3)
    assert plain.moved(free.act(state, beyond), free.act(state, at_bound)) > 1e-3
