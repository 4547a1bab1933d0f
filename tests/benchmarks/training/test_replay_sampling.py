"""Draws from a circular buffer of frames, against Dopamine's rules written out row by row."""

import numpy as np
import pytest

from benchmarks.training.online.replay_sampling import IMPORTANCE, Prioritized, Uniform
from rl_datasets.collection.replay_log import ReplayBuffer
from rl_datasets.serving.priorities import RowPriorities
from tests.optional import optional

priorities = optional("rl_datasets.serving.reverb.priorities")
BY_REVERB = pytest.param(priorities.ReverbPriorities, marks=pytest.mark.reverb)

GAMMA = 0.9
LENGTHS = [9, 1, 2, 12, 5, 11]


def filled(capacity, lengths=LENGTHS):
    """A buffer whose frames, actions and rewards all are the number of the step, from 1."""
    buffer = ReplayBuffer(capacity, frame_shape=(2, 2))
    step = 0
    for length in lengths:
        for index in range(length):
            step += 1
            buffer.add(np.full((2, 2), step, np.uint8), step, step, index == length - 1)
    return buffer


def last_steps():
    return np.cumsum(LENGTHS).tolist()


@pytest.mark.parametrize("n_step", [1, 3, 5])
@pytest.mark.parametrize("capacity", [64, 37])  # not yet full, and full
def test_rewards_of_several_steps_end_with_the_episode(capacity, n_step):
    batch = Uniform(filled(capacity), n_step, GAMMA).sample(np.random.default_rng(0), 2000)
    for b in range(2000):
        step = int(batch.action[0, b])
        last = next(end for end in last_steps() if end >= step)
        taken = range(step, min(step + n_step - 1, last) + 1)
        total = sum(GAMMA**k * reward for k, reward in enumerate(taken))
        assert batch.reward[0, b] == pytest.approx(total, rel=1e-6)
        is_over = last in taken
        assert batch.discount[0, b] == pytest.approx(0 if is_over else GAMMA ** (n_step - 1))
        if not is_over:
            assert batch.next_observation[0, b, 0, 0, -1] == step + n_step


def test_only_rows_whose_rewards_are_all_there_are_drawn():
    buffer = filled(64)
    batch = Uniform(buffer, 3, GAMMA).sample(np.random.default_rng(0), 3000)
    assert set(batch.action[0].tolist()) == set(range(1, 38))  # of 40 steps


def test_new_rows_are_drawn_alike_and_by_their_priorities_afterwards():
    buffer, rng = filled(64), np.random.default_rng(0)
    sampler = Prioritized(buffer, RowPriorities(64), 1, GAMMA)
    batch = sampler.sample(rng, 4000)
    np.testing.assert_array_equal(batch.extras[IMPORTANCE], np.ones((1, 4000), np.float32))
    counts = np.bincount(batch.action[0], minlength=41)
    np.testing.assert_allclose(counts[1:40] / 4000, 1 / 39, atol=0.01)

    sampler.update(np.where(batch.action[0] <= 9, 3.0, 0.5))  # the first episode
    batch = sampler.sample(rng, 8000)
    counts = np.bincount(batch.action[0], minlength=41)
    total = 9 * 3 + 30 * 0.5
    np.testing.assert_allclose(counts[1:10] / 8000, 3 / total, atol=0.01)
    np.testing.assert_allclose(counts[10:40] / 8000, 0.5 / total, atol=0.01)
    # 1 / sqrt(p), and the highest of the batch is 1.
    importance = batch.extras[IMPORTANCE][0]
    np.testing.assert_allclose(importance[batch.action[0] > 9], 1)
    np.testing.assert_allclose(importance[batch.action[0] <= 9], np.sqrt(0.5 / 3), rtol=1e-6)

    buffer.add(np.full((2, 2), 41, np.uint8), 41, 41, False)
    for step in (42, 43):
        buffer.add(np.full((2, 2), step, np.uint8), step, step, False)
    drawn = sampler.sample(rng, 8000).action[0]
    assert np.mean(drawn == 41) == pytest.approx(np.mean(drawn == 5), abs=0.01)  # both highest


def test_a_place_whose_row_was_overwritten_has_the_priority_of_a_new_row():
    buffer, rng = filled(37, [20]), np.random.default_rng(0)
    sampler = Prioritized(buffer, RowPriorities(37))
    batch = sampler.sample(rng, 500)
    sampler.update(np.full(500, 1e-6))
    for step in range(21, 60):
        buffer.add(np.full((2, 2), step, np.uint8), step, step, False)
    drawn = set(sampler.sample(rng, 4000).action[0].tolist())
    assert drawn == set(range(27, 59))  # rows 32 to 63 of 65
    assert min(drawn) > batch.action.max()


@pytest.mark.parametrize("kind", [RowPriorities, BY_REVERB])
def test_arrays_and_reverb_draw_with_the_same_distribution(kind):
    buffer, rng = filled(64), np.random.default_rng(0)
    sampler = Prioritized(buffer, kind(64), 1, GAMMA)
    seen = set()
    while len(seen) < 39:  # so that each row gets a priority of its own
        batch = sampler.sample(rng, 64)
        seen |= set(batch.action[0].tolist())
        sampler.update(batch.action[0] / 40.0)
    batch = sampler.sample(rng, 20_000)
    expected = np.arange(1, 40) / np.arange(1, 40).sum()
    shares = np.bincount(batch.action[0], minlength=40)[1:] / 20_000
    np.testing.assert_allclose(shares, expected, atol=0.006)
    importance = batch.extras[IMPORTANCE][0]
    lowest = batch.action[0].min()
    np.testing.assert_allclose(importance, np.sqrt(lowest / batch.action[0]), rtol=1e-5)


def test_draws_continue_bit_for_bit_from_what_was_kept():
    buffer, rng = filled(64), np.random.default_rng(0)
    sampler = Prioritized(buffer, RowPriorities(64), 3, GAMMA)
    for _ in range(5):
        sampler.update(sampler.sample(rng, 8).action[0] / 7.0)
    again = Prioritized(buffer, RowPriorities(64), 3, GAMMA)
    again.restore(sampler.kept())
    for seed in range(5):
        batches = [each.sample(np.random.default_rng(seed), 8) for each in (sampler, again)]
        np.testing.assert_array_equal(batches[0].action, batches[1].action)
        np.testing.assert_array_equal(batches[0].extras[IMPORTANCE], batches[1].extras[IMPORTANCE])
