"""Measured scores of games taken together, by hand."""

import dataclasses

import pytest

from benchmarks.tables import comparison, report, report_text
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.measured_games import HEADER, measured_over_games
from benchmarks.tables.reported import Score, load_table
from benchmarks.training.recipe import load_recipe
from benchmarks.training.row import Row
from rl_datasets.errors import DatasetError
from tests.benchmarks.made_up import line

TABLE = load_table("cql_atari")
BATCH_RL = load_recipe("batch_rl")
# Normalised by hand, with a random policy of 1.7, -20.7 and 163.9 and a DQN of 126.62, 16.61 and
# 10398.71: Breakout 0 and 100, Pong 100 twice, Qbert 50 and 150.
MEASURED = {"Breakout": (1.7, 126.62), "Pong": (16.61, 16.61), "Qbert": (5281.305, 15516.115)}


def compared(game, seeds, status=comparison.UNCERTAIN, data="1%", **row):
    name = f"CQL(H)/{game}/{data}"
    return Comparison(
        row=Row.of(name, "dqn_replay/x:1.0.0", game, algorithm="CQL(H)", **row),
        reported=TABLE.rows[name].scores["unstated"],
        measured=Score.over_seeds(seeds),
        status=status,
        why="",
        difference=None,
        margin=None,
        others={},
    )


THREE = [compared(game, seeds) for game, seeds in MEASURED.items()]


def test_games_are_taken_together_by_hand():
    block = measured_over_games(TABLE, THREE)
    (line,) = block.lines
    cells = dict(zip(HEADER, line, strict=True))
    assert cells[""] == "CQL(H) 1%"
    assert (cells["games"], cells["seeds"]) == ("3", "2")
    # The paper's 61.1, 19.3 and 14012 are 47.55, 107.21 and 135.30.
    assert cells["reported median"] == "107.2"
    # Means are 50, 100 and 100. Of six runs one is left out at either end: 0 and 150.
    assert cells["measured median"].startswith("100.0 [")
    assert cells["measured interquartile mean"].startswith("87.5 [")
    assert cells["reported games above the DQN"] == "2"
    assert cells["measured games above the DQN"].startswith("0 [")


@pytest.mark.parametrize(
    "comparisons",
    [
        THREE[:2],
        [dataclasses.replace(c, status=comparison.APART) for c in THREE],
        [*THREE[:2], compared("Qbert", MEASURED["Qbert"], data="10%")],
        [*THREE[:2], compared("Qbert", MEASURED["Qbert"], variant="other")],
    ],
    ids=["too few", "own data", "two kinds of data", "two variants"],
)
def test_rows_that_do_not_belong_together_are_not_taken_together(comparisons):
    assert measured_over_games(TABLE, comparisons) is None


def test_doubtful_values_and_normalised_tables_are_left_out():
    doubtful = dataclasses.replace(TABLE, doubtful_datasets={"Pong/1%": "why"})
    assert measured_over_games(doubtful, THREE) is None
    assert measured_over_games(dataclasses.replace(TABLE, normalized=True), THREE) is None


def test_a_report_has_the_section_where_games_can_be_taken_together():
    sections = report_text._games_together(TABLE, THREE)
    assert sections[0] == "## Games together"
    assert "| CQL(H) 1% | 3 | 2 | 107.2 | 100.0 [" in sections[2]
    assert report_text._games_together(TABLE, THREE[:1]) == []


RUN = ("run_1", "run_2")


def of_batch_rl(games, curves, recipe=BATCH_RL):
    """REM on two runs of each game: the recipe of these rows, and the lines of their curves."""
    names = [f"REM/{game}/{run}" for game in games for run in RUN]
    rows = tuple(row for row in recipe.rows if row.name in names)
    recipe = dataclasses.replace(recipe, rows=rows, steps=2, evaluate_every=1)
    lines = [
        line(row=row.name, dataset=row.data.dataset, step=step, evaluate_every=1, returns=[value])
        for row in rows
        for step, value in enumerate(curves[row.scoring.environment][row.variant], 1)
    ]
    return recipe, lines


# By hand, with a random policy of 1.7, -20.7 and 163.9 and a DQN of 126.62, 16.61 and 10398.71: the
# means of the runs are 1.7 and 126.62, 16.61 and -20.7, 5281.305 and 163.9: 100, 100 and 50.
CURVES = {
    "Breakout": {"run_1": (3.4, 126.62), "run_2": (0.0, 126.62)},
    "Pong": {"run_1": (20.0, -20.7), "run_2": (13.22, -20.7)},
    "Qbert": {"run_1": (163.9, 163.9), "run_2": (10_398.71, 163.9)},
}


def section(recipe, lines):
    comparisons = comparison.compare(report.reported_of(recipe), recipe, lines)
    return report_text._beside_all_games(recipe, comparisons, lines)


def test_all_games_stand_beside_what_was_reported_of_many_by_hand():
    title, _, table = section(*of_batch_rl(CURVES, CURVES))
    assert title == "## Games together"
    assert "| REM | 3 | 103.7 | 100.0 | 35 | 0 |" in table


def test_a_game_counts_once_all_of_its_runs_are_whole():
    recipe, lines = of_batch_rl(CURVES, CURVES)
    assert section(recipe, lines[:-1]) == []
    assert section(*of_batch_rl(["Pong", "Qbert"], CURVES)) == []


def test_a_recipe_over_games_says_which_value_it_stands_beside():
    with pytest.raises(DatasetError, match="over_games one of 1000 iterations, 200 iterations"):
        report.reported_of(dataclasses.replace(BATCH_RL, over_games="5x"))
