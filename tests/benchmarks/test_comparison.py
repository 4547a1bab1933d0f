"""The scores, the rule, and what may not be compared."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats

from benchmarks import comparison
from benchmarks.comparison import compare, permutation_p_value
from benchmarks.recipe import AGAIN, Recipe, Row
from benchmarks.tables import ReportedRow, ReportedTable, Score
from rl_datasets.errors import DatasetError

ROW = Row("row", "brac/row-recollected:1.0.0", "Pendulum-v1", data=AGAIN)
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


def table(score, statistic="last_10", **changes):
    """A table of one row, that was reported for five seeds."""
    scores = {} if score is None else {statistic: score}
    fields = {
        "title": "T",
        "paper": "",
        "source": "",
        "license": "",
        "metric": "",
        "statistic": statistic,
        "exact": True,
        "defects": (),
        "protocol": {"seeds": 5},
        "rows": {"row": ReportedRow("row", "A", "hopper-medium-v2", scores)},
    }
    return ReportedTable(**{**fields, **changes})


TABLE = table(Score.over_seeds(REPORTED))


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
    score = Score.over_seeds((1.0, 2.0, 6.0))
    assert score.mean == 3
    assert score.spread == pytest.approx((14 / 3) ** 0.5)


def test_the_interval_repeats_and_holds_the_mean():
    score = Score.over_seeds(REPORTED)
    low, high = comparison.interval(score)
    assert (low, high) == comparison.interval(score)
    comparison._bootstrap.cache_clear()
    assert (low, high) == comparison.interval(score)
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


@pytest.mark.parametrize("statistic", ["last_10", "last", "best", "unstated"])
def test_the_score_is_the_statistic_that_was_reported(statistic):
    # By hand: ten evaluations at 4, one at 9, eight at 4, and the last at 1.
    results = lines([104.0])
    for line, value in zip(results, [4.0] * 10 + [9.0] + [4.0] * 8 + [1.0], strict=True):
        line["returns"] = [value - 1, value + 1]
    (row,) = compare(table(Score(1.0), statistic), RECIPE, results)
    expected = {"last_10": 4.2, "last": 1.0, "best": 9.0, "unstated": 1.0}
    assert row.measured.mean == pytest.approx(expected[statistic])
    best = row.others.get("best")
    assert best == ((None, Score.over_seeds([9.0])) if statistic == "unstated" else None)


MEASURED = (101.0, 109.0, 92.0, 104.0, 96.0)


@pytest.mark.parametrize(("mean", "spread"), [(95.0, 2.0), (70.0, 7.0)])
def test_a_mean_and_spread_are_compared_by_welchs_test(mean, spread):
    (row,) = compare(table(Score(mean, spread)), RECIPE, lines(MEASURED))
    # SciPy's own takes sample standard deviations; the second table is of five made-up seeds.
    seeds = mean + spread * np.array([1, 1, -1, -1, 0]) * (5 / 4) ** 0.5
    assert np.std(seeds) == pytest.approx(spread)
    expected = scipy.stats.ttest_ind(MEASURED, seeds, equal_var=False)
    assert comparison.p_value(row.measured, row.reported, 5) == pytest.approx(expected.pvalue)
    assert row.status == ("differs" if expected.pvalue < 0.05 else "reproduced")
    assert row.difference_interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize("value", [100.0, 90.0, 130.0])
def test_one_run_is_compared_as_one_more_of_those_measured(value):
    (row,) = compare(table(Score(value)), RECIPE, lines(MEASURED))
    expected = scipy.stats.ttest_ind_from_stats(
        np.mean(MEASURED), np.std(MEASURED, ddof=1), 5, value, 0, 1, equal_var=True
    )
    assert comparison.p_value(row.measured, row.reported, 1) == pytest.approx(expected.pvalue)
    assert row.status == ("differs" if expected.pvalue < 0.05 else "reproduced")
    low, high = row.difference_interval
    assert low < np.mean(MEASURED) - value < high
    assert (low > 0 or high < 0) == (row.status == "differs")


def test_seeds_that_do_not_scatter_are_told_apart_by_being_another():
    for value, status in ((7.0, "reproduced"), (8.0, "differs")):
        (row,) = compare(table(Score(value)), RECIPE, lines([7.0] * 5))
        assert row.status == status


def test_one_seed_is_not_compared_with_a_mean_and_spread():
    recipe = dataclasses.replace(RECIPE, seeds=(0,))
    (row,) = compare(table(Score(100.0, 5.0)), recipe, lines([500.0]))
    assert (row.status, row.why) == ("run in part", "one seed has no spread to compare by")


def test_a_row_without_a_reported_value_stands_apart():
    unreported = table(None, unreported="not verified")
    (row,) = compare(unreported, RECIPE, [])
    assert (row.status, row.reported) == ("not run", None)
    (row,) = compare(unreported, RECIPE, lines(MEASURED))
    assert (row.status, row.why) == ("stands apart", "no reported value: not verified")
    assert row.measured.per_seed == MEASURED


def test_the_rule_names_the_tests_that_a_table_needs():
    text = comparison.rule(table(Score(1.0), "unstated"))
    assert "t-test" in text
    assert "does not say which" in text
    assert "permutation" not in text
    assert "Welch" in comparison.rule(table(Score(1.0, 2.0)))
    assert "Student" not in comparison.rule(TABLE)


def test_nothing_measured_is_not_run():
    (row,) = compare(TABLE, RECIPE, [])
    assert (row.status, row.measured, row.why) == ("not run", None, "nothing was measured")


def test_too_few_seeds_are_shown_and_not_compared():
    (row,) = compare(TABLE, RECIPE, lines([500.0, 501.0]))
    assert (row.status, row.why) == ("run in part", "2 of 5 seeds have finished")
    assert row.measured.per_seed == (500.0, 501.0)


def test_a_seed_that_has_not_reached_its_end_does_not_count():
    cut = [line for line in lines([100.0] * 5) if line["step"] < 1000]
    (row,) = compare(TABLE, RECIPE, cut)
    assert (row.status, row.measured, row.why) == ("not run", None, "no seed has finished")


def test_a_fraction_of_the_budget_is_shown_and_not_compared():
    (row,) = compare(TABLE, RECIPE, lines([500.0] * 5, budget=0.5, steps=500), budget=0.5)
    assert (row.status, row.why) == ("run in part", "measured at 50% of the budget only")


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
