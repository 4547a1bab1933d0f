"""What seeds allow to be said, against SciPy, rliable, numbers of tables and by hand."""

import numpy as np
import pytest
import scipy.stats

from benchmarks.tables import statistics
from benchmarks.tables.reported import Score
from benchmarks.tables.statistics import Difference

OURS = (101.0, 109.0, 92.0, 104.0, 96.0)
THEIRS = (100.0, 118.0, 90.0, 105.0, 115.0, 99.0, 125.0)


def difference(ours=OURS, theirs=THEIRS):
    return Difference.of(Score.over_seeds(ours), Score.over_seeds(theirs), len(theirs))


def test_a_difference_is_judged_as_scipys_welch_does():
    expected = scipy.stats.ttest_ind(OURS, THEIRS, equal_var=False)
    found = difference()
    assert found.value == pytest.approx(np.mean(OURS) - np.mean(THEIRS))
    assert found.p_value == pytest.approx(expected.pvalue)
    for coverage in (0.9, 0.95):
        interval = expected.confidence_interval(coverage)
        assert found.interval(coverage) == pytest.approx(tuple(interval))


def test_a_mean_and_spread_say_as_much_as_the_seeds_they_are_of():
    theirs = Score.over_seeds(THEIRS)
    alone = Difference.of(Score.over_seeds(OURS), Score(theirs.mean, theirs.spread), len(THEIRS))
    assert alone == difference()


@pytest.mark.parametrize("margin", [2.0, 10.0, 25.0])
def test_equivalence_is_the_worse_of_two_one_sided_tests(margin):
    shifted = {"greater": np.subtract(THEIRS, margin), "less": np.add(THEIRS, margin)}
    expected = max(
        scipy.stats.ttest_ind(OURS, of, equal_var=False, alternative=side).pvalue
        for side, of in shifted.items()
    )
    found = difference().equivalence_p_value(margin)
    assert found == pytest.approx(expected)
    low, high = difference().interval(0.9)
    assert (found < 0.05) == (-margin < low and high < margin)


def test_the_smallest_difference_is_cohens_for_as_many_seeds():
    # Cohen 1988: two groups of 5 that scatter by 1, alpha 5 % two-sided, 80 % power: d = 2.02.
    unit = np.array([-1.0, -1.0, 0.0, 1.0, 1.0])
    assert np.std(unit, ddof=1) == 1
    assert difference(unit, unit).smallest_shown() == pytest.approx(2.024, abs=1e-3)


def test_as_many_sets_of_seeds_show_that_difference_as_is_said():
    shown = difference((-1.0, -1.0, 0.0, 1.0, 1.0), (-1.0, -1.0, 0.0, 1.0, 1.0)).smallest_shown()
    draws = np.random.default_rng(0).normal(size=(2, 20_000, 5))
    p = scipy.stats.ttest_ind(draws[0] + shown, draws[1], axis=1, equal_var=False).pvalue
    # Each draw has a scatter of its own, and by Welch as few degrees of freedom as it suggests.
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("scatter", [1.0, 4.0])
def test_the_interval_of_a_difference_covers_what_it_says(scatter):
    """A percentile bootstrap of five seeds against five covers 85 % here."""
    rng = np.random.default_rng(0)
    covers = []
    for _ in range(1000):
        low, high = difference(rng.normal(size=5), scatter * rng.normal(size=5)).interval()
        covers.append(low <= 0 <= high)
    assert np.mean(covers) == pytest.approx(0.95, abs=0.015)


def test_seeds_that_do_not_scatter_differ_by_being_another():
    same, other = difference((7.0, 7.0), (7.0, 7.0)), difference((8.0, 8.0), (7.0, 7.0))
    assert (same.p_value, other.p_value) == (1, 0)
    assert same.interval() == (0, 0)
    assert [other.equivalence_p_value(margin) for margin in (0.5, 1.0, 2.0)] == [1, 1, 0]
    assert other.smallest_shown() == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "p"),
    [(5, 5, 2 / 252), (4, 4, 2 / 70), (3, 3, 0.1), (2, 5, 2 / 21), (1, 5, 1 / 3), (1, 39, 0.05)],
)
def test_the_least_p_is_two_of_all_deals(ours, theirs, p):
    assert statistics.least_p(ours, theirs) == pytest.approx(p)
    if 1 < ours < 5:  # SciPy's own, of seeds that lie apart
        apart = scipy.stats.permutation_test(
            (np.arange(ours) + 100.0, np.arange(theirs)),
            lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
            vectorized=True,
            n_resamples=np.inf,
        )
        assert apart.pvalue == pytest.approx(p)


def test_the_interval_of_a_mean_is_students():
    low, high = statistics.mean_interval(Score.over_seeds(OURS))
    interval = scipy.stats.ttest_1samp(OURS, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx(tuple(interval))
    assert np.isnan(statistics.mean_interval(Score.over_seeds([1.0]))).all()


def test_the_interquartile_mean_by_hand():
    # Of 1 to 6, 100 and -100 the middle four are 2 to 5.
    assert statistics.interquartile_mean([[1, 2, 3, 100], [4, 5, 6, -100]]) == 3.5


def test_the_probability_of_improvement_by_hand():
    # Row 0: above in 3 of 4 pairs; row 1: equal in 2 of 4, above in 1.
    ours, theirs = [[5, 1], [2, 2]], [[1, 1], [4, 2]]
    assert statistics.probability_of_improvement(ours, theirs) == pytest.approx((0.75 + 0.5) / 2)


SCORES = np.random.default_rng(1).normal(50, [[1, 30, 5, 5, 12, 8, 3]], size=(2, 5, 7))


def test_the_aggregates_are_rliables():
    """rliable 1.2.0's values; its intervals are of 20,000 resamples of RandomState(0)."""
    ours, theirs = SCORES.copy()
    theirs[0, 3] = ours[0, 3]  # a tie
    assert statistics.interquartile_mean(ours) == pytest.approx(50.77412542232552)
    improvement = statistics.probability_of_improvement(ours, theirs)
    assert improvement == pytest.approx(0.6085714285714287)
    expected = {
        statistics.interquartile_difference: (-0.22099, 3.95248),
        statistics.probability_of_improvement: (0.49143, 0.72571),
    }
    for of, bounds in expected.items():
        low, high = statistics.stratified_bootstrap(of, ours, theirs)
        assert (low, high) == pytest.approx(bounds, abs=0.05 * (high - low))


def test_the_bootstrap_repeats_and_draws_within_rows():
    ours, theirs = SCORES
    of = statistics.interquartile_difference
    low, high = statistics.stratified_bootstrap(of, ours, theirs)
    assert (low, high) == statistics.stratified_bootstrap(of, ours, theirs)
    assert low < of(ours, theirs) < high
    # Rows whose seeds are equal scatter no more, however far apart the rows are.
    flat = np.broadcast_to(np.arange(7.0), (5, 7))
    assert statistics.stratified_bootstrap(of, flat + 1, flat) == pytest.approx((1, 1))
