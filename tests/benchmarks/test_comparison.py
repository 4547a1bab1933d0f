"""The scores, the rule, and what may not be compared."""

import itertools

import numpy as np
import pytest

from benchmarks import comparison
from benchmarks.comparison import Score, compare, permutation_p_value
from benchmarks.recipe import Recipe, Row
from benchmarks.tables import ReportedRow, ReportedTable
from rl_datasets.errors import DatasetError

ROW = Row("row", "brac/row-recollected:1.0.0", "Pendulum-v1")
RECIPE = Recipe(
    title="T",
    table="t",
    learner="bc",
    seeds=(0, 1, 2, 3, 4),
    steps=1000,
    batch_size=4,
    evaluate_every=50,
    episodes=2,
    rows=(ROW,),
)
REPORTED = (100.0, 110.0, 90.0, 105.0, 95.0)
TABLE = ReportedTable(
    title="T",
    paper="",
    source="",
    license="",
    metric="",
    exact=True,
    defects=(),
    protocol={},
    rows={"row": ReportedRow("row", REPORTED, REPORTED)},
    steps=np.zeros(0),
    curves={},
)


def lines(scores, budget=1.0, steps=1000, **changes):
    """Runs that return their score from step to step, after 100 less at the first ones."""
    return [
        {
            "row": "row",
            "dataset": ROW.dataset,
            "budget": budget,
            "fingerprint": "f",
            "seed": seed,
            "step": step,
            "returns": [score + noise - 100 * (step <= steps - 500) for noise in (-1, 1)],
            **changes,
        }
        for seed, score in enumerate(scores)
        for step in range(50, steps + 1, 50)
    ]


def test_a_score_averages_the_last_ten_evaluations():
    # By hand: 10 evaluations at 7 and, before them, 10 at -93.
    (row,) = compare(TABLE, RECIPE, lines([7.0] * 5))
    assert row.measured.per_seed == (7.0,) * 5


def test_mean_and_population_spread_by_hand():
    score = Score((1.0, 2.0, 6.0))
    assert score.mean == 3
    assert score.spread == pytest.approx((14 / 3) ** 0.5)


def test_the_interval_repeats_and_holds_the_mean():
    low, high = Score(REPORTED).interval
    assert (low, high) == Score(REPORTED).interval
    comparison._bootstrap.cache_clear()
    assert (low, high) == Score(REPORTED).interval
    # The bootstrap distribution of a mean of 5 has standard deviation spread / sqrt(5) = 3.16.
    assert low == pytest.approx(100 - 1.96 * 3.16, abs=1.5)
    assert high == pytest.approx(100 + 1.96 * 3.16, abs=1.5)


def brute_force_p_value(a, b):
    """Every deal of the values to two groups, and twice the smaller tail, at most 1."""
    values = [*a, *b]
    deals = [
        np.mean([values[i] for i in chosen])
        - np.mean([v for i, v in enumerate(values) if i not in chosen])
        for chosen in itertools.combinations(range(len(values)), len(a))
    ]
    observed = np.mean(a) - np.mean(b)
    above = np.mean([deal >= observed - 1e-9 for deal in deals])
    below = np.mean([deal <= observed + 1e-9 for deal in deals])
    return min(1.0, 2 * min(above, below))


@pytest.mark.parametrize(
    "measured",
    [(1.0, 2.0, 3.0, 4.0, 5.0), (100.0, 101.0, 99.0, 98.0, 140.0), (111.0, 112.0, 113.0), REPORTED],
)
def test_the_permutation_test_agrees_with_going_through_all_deals(measured):
    expected = brute_force_p_value(measured, REPORTED)
    assert permutation_p_value(measured, REPORTED) == pytest.approx(expected)


def test_seeds_like_the_reported_ones_reproduce():
    (row,) = compare(TABLE, RECIPE, lines([101.0, 109.0, 92.0, 104.0, 96.0]))
    assert (row.status, row.difference) == ("reproduced", pytest.approx(0.4))


def test_seeds_all_above_the_reported_ones_differ():
    (row,) = compare(TABLE, RECIPE, lines([121.0, 129.0, 122.0, 124.0, 126.0]))
    assert row.status == "differs"
    assert row.why == "p = 0.008"  # 2 of the 252 deals are as far apart
    low, high = row.difference_interval
    assert 10 < low < row.difference < high < 40


def test_nothing_measured_is_not_run():
    (row,) = compare(TABLE, RECIPE, [])
    assert (row.status, row.measured, row.why) == ("not run", None, "nothing was measured")


def test_too_few_seeds_are_shown_and_not_compared():
    (row,) = compare(TABLE, RECIPE, lines([500.0, 501.0]))
    assert (row.status, row.why) == ("not run", "2 of 5 seeds have finished")
    assert row.measured.per_seed == (500.0, 501.0)


def test_a_seed_that_has_not_reached_its_end_does_not_count():
    cut = [line for line in lines([100.0] * 5) if line["step"] < 1000]
    (row,) = compare(TABLE, RECIPE, cut)
    assert (row.status, row.measured, row.why) == ("not run", None, "no seed has finished")


def test_a_fraction_of_the_budget_is_shown_and_not_compared():
    (row,) = compare(TABLE, RECIPE, lines([500.0] * 5, budget=0.5, steps=500), budget=0.5)
    assert (row.status, row.why) == ("not run", "measured at 50% of the budget only")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"budget": 0.5}, "budget 0.5"),
        ({"dataset": "brac/row:1.0.0"}, "brac/row:1.0.0"),
        ({"fingerprint": "g"}, "two values of fingerprint"),
    ],
)
def test_results_of_another_measurement_are_not_mixed_in(changes, named):
    with pytest.raises(DatasetError, match=named):
        compare(TABLE, RECIPE, lines([1.0]) + lines([1.0], **changes))
