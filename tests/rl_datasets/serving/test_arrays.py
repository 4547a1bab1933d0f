"""The array feed: repeats bit for bit, continues from any batch, and draws every transition."""

import itertools

import jax
import numpy as np
import pytest

from rl_datasets.serving.arrays import ArrayFeed
from tests.rl_datasets.serving.conftest import make_transitions

SIZE = 1000
everywhere = pytest.mark.parametrize("on_device", [False, True])


def _feed(seed=0, steps=None, on_device=False, batch_size=32, transitions=None):
    return ArrayFeed(
        make_transitions(SIZE) if transitions is None else transitions,
        batch_size,
        seed,
        steps,
        on_device,
    )


def _rewards(feed, count):
    return [np.array(batch.reward) for batch in itertools.islice(feed, count)]


def _assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@everywhere
def test_a_batch_is_rows_of_the_data(on_device):
    data = make_transitions(SIZE)
    for batch in itertools.islice(_feed(on_device=on_device), 3):
        index = np.array(batch.extras["policy_id"])
        assert index.shape == (32,)
        _assert_same(batch, jax.tree.map(lambda field, index=index: field[index], data))
        assert [field.dtype for field in jax.tree.leaves(batch)] == [
            field.dtype for field in jax.tree.leaves(data)
        ]


@everywhere
def test_the_same_seed_gives_the_same_batches_and_another_gives_others(on_device):
    first, again, other = (_rewards(_feed(seed, on_device=on_device), 20) for seed in (1, 1, 2))
    _assert_same(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_the_device_draws_what_the_host_draws():
    _assert_same(_rewards(_feed(on_device=True), 5), _rewards(_feed(on_device=False), 5))


@everywhere
@pytest.mark.parametrize("steps", [None, 3])
def test_seek_goes_on_bit_for_bit(on_device, steps):
    whole = _rewards(_feed(steps=steps, on_device=on_device), 12)
    feed = _feed(steps=steps, on_device=on_device)
    next(feed)
    feed.seek(5 * (steps or 1))
    assert feed.position == 5 * (steps or 1)
    _assert_same(_rewards(feed, 7), whole[5:])
    assert feed.position == 12 * (steps or 1)


@everywhere
def test_k_batches_at_once_are_k_single_batches(on_device):
    single = _rewards(_feed(on_device=on_device), 12)
    stacked = _rewards(_feed(steps=4, on_device=on_device), 3)
    assert stacked[0].shape == (4, 32)
    _assert_same(np.concatenate(stacked), np.stack(single))


def test_a_chunk_of_many_batches_is_joined_to_the_next_without_a_gap():
    # 24 bytes a row here and 4 MiB a chunk, so the feed crosses from one chunk to the next.
    count = 4 * (4 << 20) // (24 * 4096)
    feed = _feed(batch_size=4096)
    batches = _rewards(feed, count)
    for position in (0, count // 2, count - 1):
        feed.seek(position)
        _assert_same(next(feed).reward, batches[position])


def test_transitions_are_drawn_uniformly_with_replacement():
    drawn = np.concatenate(_rewards(_feed(batch_size=1000), 100)).astype(int)
    counts = np.bincount(drawn, minlength=SIZE)
    # 100 expected of each; chi-square of 999 degrees of freedom has deviation 44.7.
    chi_square = np.sum((counts - 100) ** 2 / 100)
    assert 999 - 5 * 44.7 < chi_square < 999 + 5 * 44.7


def test_batches_that_are_kept_do_not_change():
    feed = _feed(batch_size=512)
    kept = list(itertools.islice(feed, 400))
    copies = [batch.reward.copy() for batch in kept]
    _rewards(feed, 400)
    _assert_same([batch.reward for batch in kept], copies)


@everywhere
def test_images_keep_their_type_and_values(on_device):
    rng = np.random.default_rng(0)
    data = make_transitions(50)._replace(
        observation=rng.integers(0, 256, (50, 84, 84, 4), np.uint8),
        next_observation=rng.integers(0, 256, (50, 84, 84, 4), np.uint8),
        action=rng.integers(0, 18, 50, np.int32),
    )
    batch = next(_feed(on_device=on_device, batch_size=8, transitions=data))
    index = np.array(batch.extras["policy_id"])
    assert batch.observation.dtype == np.uint8
    _assert_same(batch, jax.tree.map(lambda field: field[index], data))


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"steps": 0}, {"transitions": make_transitions(0)}]
)
def test_an_empty_request_is_refused(options):
    with pytest.raises(ValueError, match="positive batch_size"):
        _feed(**options)
