"""The sum tree against a plain array of priorities."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from rl_datasets.serving.priorities import SumTree

PRIORITIES = st.lists(st.integers(0, 1000).map(float), min_size=1, max_size=70)


@given(PRIORITIES, st.lists(st.floats(0, 1, exclude_max=True), max_size=20))
def test_a_point_falls_where_the_running_sum_passes_it(priorities, points):
    tree = SumTree(len(priorities))
    tree.set(np.arange(len(priorities)), np.array(priorities))
    assert tree.total == sum(priorities)
    if not tree.total:
        with pytest.raises(ValueError, match="no place has a priority"):
            tree.sample(np.array(points))
        return
    # The sums are of whole numbers, and so exact in any order.
    expected = np.searchsorted(np.cumsum(priorities), np.array(points) * tree.total, side="right")
    np.testing.assert_array_equal(tree.sample(np.array(points)), expected)


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 39), st.floats(0, 1e6)), min_size=1, max_size=60),
)
def test_priorities_set_in_batches_are_those_of_an_array(capacity, changes):
    tree, plain = SumTree(capacity), np.zeros(capacity)
    changes = [(place % capacity, priority) for place, priority in changes]
    for first in range(0, len(changes), 7):
        places, priorities = map(np.array, zip(*changes[first : first + 7], strict=True))
        tree.set(places, priorities)
        for place, priority in changes[first : first + 7]:
            plain[place] = priority
    np.testing.assert_array_equal(tree.get(np.arange(capacity)), plain)
    assert tree.total == pytest.approx(plain.sum())


def test_places_are_drawn_by_their_priorities():
    priorities = np.array([1.0, 0, 3, 6, 0])
    tree = SumTree(5)
    tree.set(np.arange(5), priorities)
    drawn = tree.sample(np.random.default_rng(0).random(100_000))
    shares = np.bincount(drawn, minlength=5) / len(drawn)
    np.testing.assert_allclose(shares, priorities / 10, atol=0.005)
    assert shares[1] == shares[4] == 0
    np.testing.assert_array_equal(tree.probabilities(np.array([0, 2, 3])), [0.1, 0.3, 0.6])


@pytest.mark.parametrize(
    ("places", "priorities", "message"),
    [
        ([5], [1.0], r"places must be in \[0, 5\)"),
        ([-1], [1.0], r"places must be in \[0, 5\)"),
        ([0], [-1.0], "not negative"),
        ([0], [np.nan], "finite number"),
    ],
)
def test_what_cannot_be_set_is_refused(places, priorities, message):
    with pytest.raises(ValueError, match=message):
        SumTree(5).set(np.array(places), np.array(priorities))
