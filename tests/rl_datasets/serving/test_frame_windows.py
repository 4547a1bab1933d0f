"""Frame windows: the same transitions as with their stacks, over frames that are kept once."""

import collections
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from rl_datasets.serving import frame_windows
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.loading import load_frame_windows, load_transitions
from rl_datasets.serving.packing import pack
from rl_datasets.serving.transitions import Transition, from_episode
from tests.rl_datasets.serving.conftest import LENGTHS, make_episode

CUT = Cut(3, 0.9, 4)


def joined(transitions: list[Transition]) -> Transition:
    return jax.tree.map(lambda *fields: np.concatenate(fields), *transitions)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert [field.dtype for field in jax.tree.leaves(a)] == [
        field.dtype for field in jax.tree.leaves(b)
    ]


@hypothesis.given(
    length=st.integers(1, 12),
    shape=st.sampled_from([(), (3,), (2, 3), (5, 6, 1), (4, 3, 3)]),
    dtype=st.sampled_from([np.uint8, np.float32, np.int64]),
    n_step=st.integers(1, 15),
    gamma=st.floats(0, 1),
    frame_stack=st.integers(1, 5),
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_windows_of_an_episode_are_its_transitions(
    length, shape, dtype, n_step, gamma, frame_stack
):
    episode = make_episode(length, length, shape, dtype)
    how = Cut(n_step, gamma, frame_stack)
    cut = frame_windows.of_episode(episode, how)
    assert len(cut.frames) == length + 2
    assert_same(
        frame_windows.cut_out(cut.frames, cut.rows),
        from_episode(episode, how),
    )


def test_frames_are_numbered_from_one_after_zeros():
    rows = frame_windows.of_episode(make_episode(0, 3), Cut(n_step=2, frame_stack=3)).rows
    np.testing.assert_array_equal(rows["observation"], [[0, 0, 1], [0, 1, 2], [1, 2, 3]])
    np.testing.assert_array_equal(rows["next_observation"], [[1, 2, 3], [2, 3, 4], [2, 3, 4]])


def test_renumbering_leaves_the_frame_of_zeros():
    rows = frame_windows.of_episode(make_episode(0, 2), Cut(frame_stack=2)).rows
    frame_windows.renumber(rows, np.array([[10], [20]]))
    np.testing.assert_array_equal(rows["observation"], [[0, 11], [21, 22]])
    np.testing.assert_array_equal(rows["next_observation"], [[11, 12], [22, 23]])


@pytest.fixture(scope="module")
def several() -> tuple[FrameWindows, Transition]:
    """Frame windows over three episodes, and the same transitions with their stacks."""
    episodes = [make_episode(number, length) for number, length in enumerate([30, 1, 40])]
    pieces = [frame_windows.of_episode(episode, CUT) for episode in episodes]
    stacked = joined([from_episode(episode, CUT) for episode in episodes])
    return frame_windows.joined(pieces, 71 + 3, 71), stacked


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("steps", [None, 3])
def test_the_array_feed_draws_from_windows_what_it_draws_from_stacks(several, on_device, steps):
    feeds = [ArrayFeed(data, 8, seed=5, steps=steps, on_device=on_device) for data in several]
    for ours, stacked in itertools.islice(zip(*feeds, strict=True), 10):
        assert_same(ours, stacked)
    for feed in feeds:
        feed.seek(3 * (steps or 1))
    assert_same(*(next(feed) for feed in feeds))


def test_a_published_version_is_loaded_with_each_frame_once(published_frames):
    loaded = load_frame_windows(published_frames, cut=CUT)
    assert loaded.frames.shape == (1 + sum(LENGTHS) + len(LENGTHS), 5, 6, 1)
    episodes = map(make_episode, range(len(LENGTHS)), LENGTHS)
    expected = joined([from_episode(episode, CUT) for episode in episodes])
    assert_same(frame_windows.cut_out(loaded.frames, loaded.rows), expected)
    assert_same(
        load_transitions(published_frames, "train", CUT),
        expected,
    )


def test_vectors_are_loaded_as_windows_too(published):
    loaded = load_frame_windows(published, cut=Cut(n_step=2, frame_stack=3))
    expected = load_transitions(published, cut=Cut(n_step=2, frame_stack=3))
    assert_same(frame_windows.cut_out(loaded.frames, loaded.rows), expected)


def _pools(sizes):
    """Pools of windows, each with its own frames, whose transitions have policy_id 0, 1, ..."""
    total = sum(sizes)
    episode = make_episode(1, total)
    episode.extras["policy_id"][:-1] = np.arange(total)
    whole = frame_windows.of_episode(episode, Cut(n_step=2, gamma=0.9, frame_stack=3))
    bounds = np.cumsum([0, *sizes])
    pools = [
        FrameWindows(whole.frames.copy(), whole.rows[start:end])
        for start, end in itertools.pairwise(bounds)
    ]
    return pools, from_episode(episode, Cut(n_step=2, gamma=0.9, frame_stack=3))


@pytest.mark.parametrize("with_stacks", [False, True])
@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_batches_of_pools_lose_no_transition(shape, with_stacks):
    pools, whole = _pools([5, 1, 0, 30, 12])
    if with_stacks:
        pools = [(None, pack(frame_windows.cut_out(*pool))) for pool in pools]
    shuffled = frame_windows.shuffled(iter(pools), np.random.default_rng(0))
    drawn = list(frame_windows.batches(shuffled, shape))
    order = np.concatenate([batch.extras["policy_id"].ravel() for batch in drawn])
    assert len(drawn) == 48 // np.prod(shape)
    assert sorted(order) == list(range(48))  # 48 divides by both
    assert sorted(order[:5]) == list(range(5))  # the pools follow one another
    assert list(order[6:36]) != sorted(order[6:36])  # and are shuffled
    for batch in drawn:
        assert batch.observation.shape == (*shape, 5, 6, 3)
        numbers = batch.extras["policy_id"]
        assert_same(batch, jax.tree.map(lambda field, at=numbers: field[at], whole))


def test_every_order_of_a_pool_is_as_likely():
    (pool,), _ = _pools([4])
    rng = np.random.default_rng(0)
    orders = [
        tuple(rows["extras/policy_id"])
        for _, rows in frame_windows.shuffled(iter([pool] * 2400), rng)
    ]
    counts = np.array(list(collections.Counter(orders).values()))
    # 24 orders, 100 expected of each; chi-square of 23 degrees of freedom has deviation 6.8.
    assert len(counts) == 24
    assert np.sum((counts - 100) ** 2 / 100) < 23 + 5 * 6.8
