"""The scores, the rule, and what may not be compared."""

import dataclasses

import numpy as np
import pytest

from benchmarks.tables import comparison
from benchmarks.tables.comparison import compare
from benchmarks.tables.reported import ReportedRow, ReportedTable, Score
from benchmarks.training.recipe import Recipe
from benchmarks.training.row import AGAIN, Row
from rl_datasets.errors import DatasetError
from tests.benchmarks.changed_rows import changed
from tests.benchmarks.made_up import line

ROW = Row.of("row", "brac/row-recollected:1.0.0", "Pendulum-v1", kind=AGAIN)
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
        line(
            budget=budget,
            seed=seed,
            step=step,
            returns=[score + noise - 100 * (step <= steps - 500) for noise in (-1, 1)],
            **changes,
        )
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


def test_seeds_like_the_reported_ones_agree():
    # D4RL's random policy returns -20.27 in Hopper: the margin is a tenth of 120.27.
    (row,) = compare(TABLE, RECIPE, lines([101.0, 109.0, 92.0, 104.0, 96.0]))
    assert row.margin == pytest.approx(12.027, abs=1e-3)
    assert row.difference.value == pytest.approx(0.4)
    assert row.status == "agrees"
    low, high = row.difference.interval(0.9)
    assert -row.margin < low
    assert high < row.margin


def test_seeds_all_above_the_reported_ones_differ():
    (row,) = compare(TABLE, RECIPE, lines([121.0, 129.0, 122.0, 124.0, 126.0]))
    assert (row.status, row.why) == ("differs", "p = 0.001; beyond the margin p = 0.989")
    low, high = row.difference.interval()
    assert 10 < low < row.difference.value < high < 40


def test_seeds_that_scatter_widely_cannot_tell():
    (row,) = compare(TABLE, RECIPE, lines([60.0, 150.0, 90.0, 130.0, 80.0]))
    assert (row.status, row.why) == ("cannot tell", "p = 0.911; beyond the margin p = 0.291")
    assert row.difference.smallest_shown() > row.margin


def test_a_difference_that_is_certain_and_within_the_margin_agrees():
    (row,) = compare(TABLE, RECIPE, lines([106.0] * 5))
    assert row.difference.p_value > 0.05
    narrow = table(Score.over_seeds([100.0, 100.5, 99.5, 100.2, 99.8]))
    (row,) = compare(narrow, RECIPE, lines([106.0] * 5))
    assert row.difference.p_value < 0.001
    assert row.status == "agrees"


def test_the_margin_is_the_tables():
    wide = table(Score.over_seeds(REPORTED), margin=0.4, margin_reason="it is made up")
    (row,) = compare(wide, RECIPE, lines([121.0, 129.0, 122.0, 124.0, 126.0]))
    assert row.status == "agrees"
    assert "is 40% of" in comparison.rule(wide)
    assert "random policy's, because it is made up." in " ".join(comparison.rule(wide).split())
    assert "is 10% of" in comparison.rule(TABLE)


def test_a_row_of_no_known_body_cannot_agree():
    rows = {"row": dataclasses.replace(TABLE.rows["row"], dataset="Pendulum")}
    unknown = dataclasses.replace(TABLE, rows=rows)
    (row,) = compare(unknown, RECIPE, lines(REPORTED))
    assert (row.status, row.margin) == ("cannot tell", None)
    assert row.why == "p = 1.000; no margin: what a random policy returns is not known"
    (row,) = compare(unknown, RECIPE, lines([500.0, 501.0, 502.0, 503.0, 504.0]))
    assert row.status == "differs"


@pytest.mark.parametrize(
    ("seeds", "reported", "least"),
    [(1, 5, "0.333"), (2, 5, "0.095"), (3, 3, "0.100"), (3, 4, "0.057")],
)
@pytest.mark.parametrize("known", [True, False])
def test_seeds_too_few_for_any_test_are_not_tested(seeds, reported, least, known):
    score = Score.over_seeds(100.0 + np.arange(reported))
    score = score if known else Score(score.mean, score.spread)
    recipe = dataclasses.replace(RECIPE, seeds=tuple(range(seeds)))
    of = table(score, protocol={"seeds": reported})
    (row,) = compare(of, recipe, lines(900.0 + np.arange(seeds)))
    assert (row.status, row.difference) == ("cannot tell", None)
    assert row.why == f"{seeds} against {reported} seeds: p is at least {least}"


@pytest.mark.parametrize("statistic", ["last_10", "last", "best", "unstated"])
def test_the_score_is_the_statistic_that_was_reported(statistic):
    # By hand: ten evaluations at 4, one at 9, eight at 4, and the last at 1.
    results = lines([104.0])
    for result, value in zip(results, [4.0] * 10 + [9.0] + [4.0] * 8 + [1.0], strict=True):
        result["returns"] = [value - 1, value + 1]
    (row,) = compare(table(Score(1.0), statistic), RECIPE, results)
    expected = {"last_10": 4.2, "last": 1.0, "best": 9.0, "unstated": 1.0}
    assert row.measured.mean == pytest.approx(expected[statistic])
    best = row.others.get("best")
    assert best == ((None, Score.over_seeds([9.0])) if statistic == "unstated" else None)


MEASURED = (101.0, 109.0, 92.0, 104.0, 96.0)


@pytest.mark.parametrize(
    ("mean", "spread", "status"),
    [(95.0, 2.0, "cannot tell"), (99.0, 2.0, "agrees"), (70.0, 7.0, "differs")],
)
def test_a_mean_and_spread_are_compared_as_seeds_are(mean, spread, status):
    (row,) = compare(table(Score(mean, spread)), RECIPE, lines(MEASURED))
    seeds = mean + spread * np.array([1, 1, -1, -1, 0]) * (5 / 4) ** 0.5
    (same,) = compare(table(Score.over_seeds(seeds)), RECIPE, lines(MEASURED))
    assert row.status == same.status == status
    assert row.difference.interval() == pytest.approx(same.difference.interval())


def test_a_value_without_a_spread_is_not_tested():
    (row,) = compare(table(Score(500.0), protocol={"seeds": 1}), RECIPE, lines(MEASURED))
    assert (row.status, row.difference) == ("cannot tell", None)
    assert row.why == "one value was reported, without a spread"


def test_rows_whose_seeds_are_known_are_aggregated():
    names = [f"row {number}" for number in range(3)]
    seeds = [(10.0, 20.0, 30.0, 40.0, 50.0), (1.0, 2.0, 3.0, 4.0, 5.0), MEASURED]
    rows = {
        n: ReportedRow(n, "A", "d", {"last": Score.over_seeds(s)})
        for n, s in zip(names, seeds, strict=True)
    }
    rows["row 2"] = dataclasses.replace(rows["row 2"], scores={"last": Score(100.0, 3.0)})
    of = table(None, "last", rows=rows, scaled_as={"d": "hopper-medium-v2"})
    recipe = dataclasses.replace(RECIPE, rows=tuple(changed(ROW, reported=n) for n in names))
    results = [
        {**result, "row": name}
        for name, values in zip(names, seeds, strict=True)
        for result in lines([value + 32.54572305 for value in values])  # 1 of 100
    ]
    compared = compare(of, recipe, results)
    (aggregate,) = comparison.aggregates(of, compared)
    assert (aggregate.algorithm, aggregate.rows) == ("A", 2)
    # Of both rows' seeds the middle six are 3, 4, 5, 10, 20 and 30 of ten; a quarter cut is two.
    middle = np.mean([3, 4, 5, 10, 20, 30])
    expected = 100 * (middle + 20.272305) / (3234.3 + 20.272305)
    assert aggregate.reported == pytest.approx(expected)
    assert aggregate.measured == pytest.approx(expected + 1)
    assert aggregate.difference[0] == pytest.approx(1)
    # 32.5 more is above every seed in one row, and in the other above 4 + 5 + 5 + 5 + 5 of 25.
    assert aggregate.improvement[0] == pytest.approx((1 + 24 / 25) / 2)
    assert comparison.aggregates(of, compared[1:]) == []  # one row is no aggregate
    part = compare(of, recipe, [x for x in results if x["seed"] or x["row"] == "row 2"])
    assert comparison.aggregates(of, part) == []


def test_a_row_without_a_reported_value_stands_apart():
    unreported = table(None, unreported="not verified")
    (row,) = compare(unreported, RECIPE, [])
    assert (row.status, row.reported) == ("not run", None)
    (row,) = compare(unreported, RECIPE, lines(MEASURED))
    assert (row.status, row.why) == ("stands apart", "no reported value: not verified")
    assert row.measured.per_seed == MEASURED


def test_the_rule_is_of_the_statistic_and_shorter_without_reported_values():
    assert "does not say which" in comparison.rule(table(Score(1.0), "unstated"))
    alone = comparison.rule(table(None))
    assert "its last 10" in alone
    assert "agrees" not in alone


def test_nothing_measured_is_not_run():
    (row,) = compare(TABLE, RECIPE, [])
    assert (row.status, row.measured, row.why) == ("not run", None, "nothing was measured")


def test_too_few_seeds_are_shown_and_not_compared():
    (row,) = compare(TABLE, RECIPE, lines([500.0, 501.0]))
    assert (row.status, row.why) == ("run in part", "2 of 5 seeds have finished")
    assert row.measured.per_seed == (500.0, 501.0)


def test_a_seed_that_has_not_reached_its_end_does_not_count():
    cut = [result for result in lines([100.0] * 5) if result["step"] < 1000]
    (row,) = compare(TABLE, RECIPE, cut)
    assert (row.status, row.measured, row.why) == ("not run", None, "no seed has finished")


def test_a_row_of_its_own_steps_is_whole_at_their_end():
    recipe = dataclasses.replace(RECIPE, rows=(changed(ROW, steps=1500),))
    (row,) = compare(TABLE, recipe, lines([100.0] * 5, steps=1500))
    assert (row.status, row.measured.mean) == ("agrees", 100.0)
    (row,) = compare(TABLE, recipe, lines([100.0] * 5))
    assert (row.status, row.why) == ("not run", "no seed has finished")


def test_a_fraction_of_the_budget_is_shown_and_not_compared():
    (row,) = compare(TABLE, RECIPE, lines([500.0] * 5, budget=0.5, steps=500), budget=0.5)
    assert (row.status, row.why) == ("run in part", "measured at 50% of the budget only")


def test_every_policy_that_is_scored_has_a_score():
    recipe = dataclasses.replace(RECIPE, rows=(changed(ROW, policies=("act", "max_q")),))
    both = [{**x, "returns_of": {"max_q": [7.0, 9.0]}} for x in lines(MEASURED)]
    (row,) = compare(TABLE, recipe, both)
    assert row.measured.per_seed == MEASURED
    assert row.others["max_q"] == (None, Score.over_seeds([8.0] * 5))
    # Lines from before a row had another policy are of the first.
    (row,) = compare(TABLE, recipe, lines(MEASURED))
    assert (row.measured.per_seed, row.others["max_q"]) == (MEASURED, (None, None))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda results: results[:7] + results[8:],
        lambda results: [*results, results[7]],
        lambda results: results[1:],
        lambda results: [*results, {**results[7], "step": 525}],
    ],
)
def test_a_run_lacks_no_evaluation_and_has_none_twice(spoil):
    with pytest.raises(DatasetError, match=r"'row', seed 0, lack an evaluation or have one twice"):
        compare(TABLE, RECIPE, spoil(lines([1.0])))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"scored_in": "Hopper-v5"}, "two values of scored_in, None and 'Hopper-v5'"),
        ({"budget": 0.5}, "budget 0.5"),
        ({"dataset": "brac/row:1.0.0"}, "brac/row:1.0.0"),
        ({"fingerprint": "g"}, "two values of fingerprint"),
    ],
)
def test_results_of_another_measurement_are_not_mixed_in(changes, named):
    with pytest.raises(DatasetError, match=named):
        compare(TABLE, RECIPE, lines([1.0]) + lines([1.0], **changes))
