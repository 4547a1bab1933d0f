"""Histograms against NumPy's, whatever the order of the numbers and their pieces."""

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import strategies

from rl_datasets.showing.histogram import MOST_BINS, Histogram

NUMBERS = hypothesis.extra.numpy.arrays(
    np.float64,
    strategies.integers(1, 60),
    elements=strategies.one_of(
        strategies.floats(-1e12, 1e12, allow_subnormal=False),
        strategies.integers(-300, 300).map(float),
    ),
)


def of(pieces):
    histogram = Histogram()
    for piece in pieces:
        histogram = histogram.plus(piece)
    return histogram


@hypothesis.given(NUMBERS, strategies.randoms(use_true_random=False))
def test_it_is_numpys_whatever_the_order(numbers, random):
    found = of([numbers])
    assert len(found.counts) <= MOST_BINS
    assert found.counts[0]
    assert found.counts[-1]
    assert (found.least, found.greatest) == (numbers.min(), numbers.max())
    expected, _ = np.histogram(numbers, [*found.edges[:-1], np.inf])
    assert found.counts == tuple(expected)
    shuffled = numbers.tolist()
    random.shuffle(shuffled)
    cut = random.randrange(len(shuffled) + 1)
    assert of([np.array(shuffled[:cut]), *np.array(shuffled[cut:]).reshape(-1, 1)]) == found


@pytest.mark.parametrize(
    ("numbers", "width", "bins"),
    [([-1, 1], 1 / 32, 65), ([0, 64], 1, 65), ([0, 65], 2, 33), ([1000, 1000], 2**-30, 1)],
)
def test_the_least_width_that_is_enough(numbers, width, bins):
    found = of([np.array(numbers)])
    assert (found.width, len(found.counts)) == (width, bins)


def test_what_is_not_a_number_is_left_out():
    assert of([np.array([np.nan, np.inf, 2.0])]) == of([np.array([2.0])])
    assert of([np.array([np.nan])]).counts == ()
