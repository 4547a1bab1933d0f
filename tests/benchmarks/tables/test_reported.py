"""Reported tables as data, and the authors' files that they were made from."""

import collections
import csv
import re
import statistics

import pytest

from benchmarks.reported import brac_bc
from benchmarks.tables import report, reported
from benchmarks.training.recipe import FOLDER as RECIPES
from benchmarks.training.recipe import load_recipe
from benchmarks.training.row import PUBLISHED
from rl_datasets.errors import DatasetError
from rl_datasets.sources import d4rl_tasks

# Mean and population standard deviation over the five seeds of the mean of the last ten
# evaluations, computed from the authors' files apart from this code and rounded.
LAST_10 = {
    "HalfCheetah-v2/pure": (4465, 33),
    "HalfCheetah-v2/eps1": (3206, 1005),
    "HalfCheetah-v2/eps3": (3751, 763),
    "HalfCheetah-v2/gaussian1": (4084, 223),
    "HalfCheetah-v2/gaussian3": (4033, 289),
    "Hopper-v2/pure": (1330, 27),
    "Hopper-v2/eps1": (129, 127),
    "Hopper-v2/eps3": (828, 294),
    "Hopper-v2/gaussian1": (221, 94),
    "Hopper-v2/gaussian3": (285, 165),
}


MINE = """
title = "T"
paper = "P"
source = "S"
license = "L"
metric = "M"
statistic = "last"
spread = "sd"
exact = true
defects = []
[protocol]
seeds = 3
[algorithms.A.last]
"""


def test_the_table_says_what_was_reported():
    rows = reported.load_table("brac_bc").rows
    assert {
        name: (
            round(statistics.mean(row.scores["last_10"].per_seed)),
            round(statistics.pstdev(row.scores["last_10"].per_seed)),
        )
        for name, row in rows.items()
    } == LAST_10


def test_the_table_is_what_the_authors_files_say(shared, tmp_path):
    brac_bc.write(shared / "brac", tmp_path)
    for name in ("brac_bc.toml", "brac_bc_curves.csv", "brac.toml"):
        assert (tmp_path / name).read_bytes() == (reported.FOLDER / name).read_bytes()


def test_the_grid_of_brac_has_every_row_and_the_values_of_behaviour_cloning_alone():
    grid, cloning = reported.load_table("brac"), reported.load_table("brac_bc")
    assert len(grid.rows) == 12 * 4 * 5
    assert {name for name, row in grid.rows.items() if row.scores} == {
        f"BC/{name}" for name in cloning.rows
    }
    for name, row in cloning.rows.items():
        assert grid.rows[f"BC/{name}"].scores == row.scores


def test_the_grids_bodies_are_those_of_d4rl():
    grid = reported.load_table("brac")
    for row in grid.rows.values():
        assert grid.scale(row) == REFERENCES[row.dataset.partition("-")[0].lower()]


# As printed below CORL's own tables, in the order of its algorithms.
CORL_AVERAGES = {
    ("last", ("halfcheetah", "hopper", "walker2d")): (
        50.40, 69.29, 76.45, 79.39, 78.28, 81.63, 89.74, 83.52, 92.92, 73.84,
    ),
    ("last", ("maze2d",)): (
        1.13, 12.58, 61.99, 121.92, 33.65, 46.23, 96.77, 141.32, 82.64, 28.48,
    ),
    ("last", ("antmaze",)): (17.21, 19.71, 19.33, 18.58, 50.71, 57.17, 78.42, 0.0, 0.0, 18.12),
    ("last", ("pen", "door", "hammer", "relocate")): (
        48.18, 42.69, 10.40, 55.71, 1.53, 53.43, 59.39, 12.43, 18.78, 49.21,
    ),
    ("best", ("halfcheetah", "hopper", "walker2d")): (
        70.15, 80.65, 84.83, 87.80, 84.68, 86.28, 93.00, 95.60, 96.36, 77.49,
    ),
    ("best", ("maze2d",)): (
        18.67, 30.65, 149.30, 172.33, 126.07, 111.95, 169.98, 151.48, 162.27, 60.74,
    ),
    ("best", ("antmaze",)): (23.96, 30.58, 30.08, 31.42, 61.83, 72.00, 86.71, 0.0, 7.08, 21.04),
    ("best", ("pen", "door", "hammer", "relocate")): (
        58.92, 54.58, 20.51, 67.69, 13.65, 62.62, 69.71, 27.49, 33.88, 52.60,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statistic", "domain"), CORL_AVERAGES)
def test_the_means_of_corls_rows_are_the_averages_that_it_prints(statistic, domain):
    rows = reported.load_table("corl").rows.values()
    algorithms = dict.fromkeys(row.algorithm for row in rows)
    for algorithm, average in zip(algorithms, CORL_AVERAGES[statistic, domain], strict=True):
        scores = [
            row.scores[statistic].mean
            for row in rows
            if row.algorithm == algorithm and row.dataset.startswith(domain)
        ]
        assert statistics.mean(scores) == pytest.approx(average, abs=0.011)  # both are rounded


def test_no_last_score_is_above_the_best_one():
    for name in ("corl", "d3rlpy"):
        for row in reported.load_table(name).rows.values():
            assert row.scores["last"].mean <= row.scores["best"].mean


# Returns of a random policy and of an expert, of D4RL's infos.py.
REFERENCES = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
}


def normalized(dataset, value):
    low, high = REFERENCES[dataset.partition("-")[0]]
    return 100 * (value - low) / (high - low)


# The raw columns of d3rlpy-benchmarks' d4rl_table.csv, whose normalised ones are in the table.
D3RLPY_RETURNS = {
    "BCQ/halfcheetah-medium-expert-v0": (7182.9, 1375.0, 11248.7, 1254.9),
    "BCQ/hopper-medium-v0": (1686.9, 743.0, 3261.9, 14.0),
    "BCQ/walker2d-medium-replay-v0": (699.8, 210.4, 1637.6, 173.6),
    "BCQ/ant-medium-v2": (3648.5, 323.1, 4313.1, 31.6),
    "TD3+BC/halfcheetah-medium-v0": (4983.2, 65.7, 5059.9, 54.3),
    "TD3+BC/hopper-medium-expert-v0": (3633.2, 8.8, 3690.5, 12.2),
    "TD3+BC/walker2d-random-v0": (99.4, 108.4, 994.5, 27.8),
    "AWAC/halfcheetah-medium-replay-v0": (4981.8, 175.8, 5189.1, 50.0),
}


@pytest.mark.parametrize("name", D3RLPY_RETURNS)
def test_d3rlpys_normalised_scores_are_its_raw_ones(name):
    row = reported.load_table("d3rlpy").rows[name]
    last, last_spread, best, best_spread = D3RLPY_RETURNS[name]
    for score, mean, spread in (
        (row.scores["last"], last, last_spread),
        (row.scores["best"], best, best_spread),
    ):
        assert score.mean == pytest.approx(normalized(row.dataset, mean), abs=0.06)
        scale = normalized(row.dataset, spread) - normalized(row.dataset, 0)
        assert score.spread == pytest.approx(scale, abs=0.06)


# By dataset, returns of BC, SAC-off, BEAR, BRAC-p and BRAC-v: mopo/scripts/d4rl_results.py of
# tianheyu927/mopo, which quotes the paper apart from the text that the table is from.
D4RL_RETURNS = {
    "halfcheetah-random-v0": (-17.9, 3502.0, 2885.6, 2641.0, 3207.3),
    "halfcheetah-medium-v0": (4196.4, -808.6, 4508.7, 5178.2, 5365.3),
    "halfcheetah-medium-replay-v0": (4492.1, -581.3, 4211.3, 5384.7, 5413.8),
    "halfcheetah-medium-expert-v0": (4169.4, -55.7, 6132.5, 5156.0, 5342.4),
    "hopper-random-v0": (299.4, 347.7, 289.5, 341.0, 370.5),
    "hopper-medium-v0": (923.5, 5.7, 1527.9, 994.8, 1030.0),
    "hopper-medium-replay-v0": (364.4, 93.3, 802.7, 2.0, 5.3),
    "hopper-medium-expert-v0": (3621.2, 32.9, 109.8, 16.0, 5.1),
    "walker2d-random-v0": (73.0, 192.0, 307.6, 38.4, 23.9),
    "walker2d-medium-v0": (304.8, 44.2, 1526.7, 3341.1, 3734.3),
    "walker2d-medium-replay-v0": (518.6, 87.8, 495.3, -11.5, 44.5),
}


@pytest.mark.parametrize("dataset", D4RL_RETURNS)
def test_d4rls_normalised_scores_are_the_returns_that_another_text_quotes(dataset):
    rows = reported.load_table("d4rl_v0").rows
    algorithms = ("BC", "SAC-off", "BEAR", "BRAC-p", "BRAC-v")
    for algorithm, value in zip(algorithms, D4RL_RETURNS[dataset], strict=True):
        score = rows[f"{algorithm}/{dataset}"].scores["unstated"]
        assert score.mean == pytest.approx(normalized(dataset, value), abs=0.0501)


def test_what_texts_disagree_on_is_left_out():
    rows = reported.load_table("d4rl_v0").rows
    assert "BC/walker2d-medium-expert-v0" not in rows
    assert not [name for name in rows if re.search(r"(pen|hammer|door|relocate)-expert", name)]


def test_cqls_column_is_of_one_version_of_its_paper():
    """The camera-ready version has 86.6, 74.5, 121.6 and 32.6; all other cells are the same."""
    rows = reported.load_table("d4rl_v0").rows
    of_the_third_version = {
        "hopper-medium-v0": 58.0,
        "walker2d-medium-v0": 79.2,
        "walker2d-expert-v0": 153.9,
        "walker2d-medium-replay-v0": 26.7,
        "hopper-medium-expert-v0": 111.0,
        "walker2d-medium-expert-v0": 98.7,
    }
    for dataset, value in of_the_third_version.items():
        assert rows[f"CQL/{dataset}"].scores["unstated"].mean == value


def test_every_row_of_d4rls_table_is_a_task_of_d4rls():
    """But for mixtures of random and expert data, which its code no longer has."""
    for name in reported.load_table("d4rl_v0").rows:
        dataset = name.partition("/")[2]
        assert dataset.endswith("-random-expert-v0") or d4rl_tasks.task(dataset)


# Tianshou's returns as D4RL scores, worked out apart from this code and rounded.
TIANSHOU_NORMALIZED = {
    "IL/halfcheetah-expert-v2": 93.7,
    "IL/halfcheetah-medium-v2": 43.3,
    "BCQ/halfcheetah-expert-v2": 95.0,
    "BCQ/halfcheetah-medium-v2": 43.7,
    "CQL/halfcheetah-expert-v2": 25.3,
    "CQL/halfcheetah-medium-v2": 54.7,
    "TD3+BC/halfcheetah-expert-v2": 97.2,
    "TD3+BC/halfcheetah-medium-v2": 48.5,
    "TD3+BC/walker2d-expert-v2": 110.4,
    "TD3+BC/walker2d-medium-v2": 88.2,
    "TD3+BC-raw-observations/halfcheetah-expert-v2": 96.2,
    "TD3+BC-raw-observations/halfcheetah-medium-v2": 48.4,
    "TD3+BC-raw-observations/walker2d-expert-v2": 109.5,
    "TD3+BC-raw-observations/walker2d-medium-v2": 86.8,
}


def test_tianshous_returns_agree_with_their_normalised_scores():
    rows = reported.load_table("tianshou_continuous").rows
    assert {
        name: round(normalized(row.dataset, row.scores["unstated"].mean), 1)
        for name, row in rows.items()
    } == TIANSHOU_NORMALIZED
    assert all(row.scores["unstated"].spread is None for row in rows.values())


def test_every_table_says_where_it_is_from_and_what_is_wrong_with_it():
    for name in reported.table_names():
        table = reported.load_table(name)
        for text in (table.title, table.paper, table.source, table.license, table.metric):
            assert text.strip()
        assert table.defects
        assert table.protocol


@pytest.mark.parametrize("row", LAST_10)
def test_the_curves_are_the_authors_number_for_number(shared, row):
    table = reported.load_table("brac_bc")
    for seed in range(5):
        path = shared / "brac" / row / "n1000000/bc/0" / str(seed) / "results.csv"
        rows = list(csv.reader(path.open()))
        assert [float(step) for step, _ in rows] == table.steps.tolist()
        assert [float(value) for _, value in rows] == table.curves[row][seed].tolist()


def test_every_recipe_can_be_run_and_has_its_reported_table_and_protocol():
    recipes = [load_recipe(path.stem) for path in RECIPES.glob("*.toml")]
    assert {recipe.table for recipe in recipes if not recipe.is_reported} == {
        "cql_narrow",
        "dopamine_labs",
        "reincarnating_pong",
        "slimcql",
    }
    for recipe in recipes:
        table = report.reported_of(recipe)
        assert {row.reported for row in recipe.rows} <= table.rows.keys()
        if recipe.is_reported:
            for field in ("steps", "batch_size", "evaluate_every", "episodes"):
                assert getattr(recipe, field) == table.protocol.get(field, getattr(recipe, field))
            rows = collections.Counter(row.reported for row in recipe.rows).values()
            assert min(rows) * len(recipe.seeds) >= table.protocol.get("seeds", 1)
        for row in recipe.rows:
            if not row.blocked:
                config = recipe.of(row).learner_config()
                assert recipe.of(row).batch_size % getattr(config, "discriminator_steps", 1) == 0
                assert table.unreported or table.rows[row.reported].scores
            again = re.search("-recollected|-sac:", row.data.dataset)
            is_of_another_rule = recipe.table == "d3rlpy_atari"
            assert (row.data.kind == PUBLISHED) == (again is None and not is_of_another_rule)


def test_an_unknown_table_is_answered_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"'brca'.*brac_bc"):
        reported.load_table("brca")
    with pytest.raises(DatasetError, match=r"'brca'.*brac_bc"):
        load_recipe("brca")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("title = ", "malformed"),
        ('title = "x"', "malformed"),
        (MINE + "x = [1.0]", "'x' must have a value for each of two or more seeds"),
        (MINE + "x = [1.0, 2.0]", "'x' must have a value for each seed"),
        (MINE + 'x = ["a", "b"]', "could not convert"),
        (MINE + 'x = "a"', "could not convert"),
        (MINE + "x = { mean = 1.0 }", "spread"),
        (MINE + "x = { mean = 1.0, spread = 1.0, seeds = 3 }", "seeds"),
        (MINE + "[algorithms.A.worst]\nx = 1.0", "worst"),
        (MINE + "[algorithms.A.best]\nx = 1.0", "lacks its value of 'last'"),
        ("margin = 0.2\n" + MINE + "x = [1.0, 2.0, 3.0]", "margin_reason"),
        ("margin = 1.5\nmargin_reason = 'r'\n" + MINE + "x = [1.0, 2.0, 3.0]", "a share"),
        ("margin_reason = 'r'\n" + MINE + "x = [1.0, 2.0, 3.0]", "margin_reason"),
        (MINE + "x = [1.0, 2.0, 3.0]\n[scaled_as]\nx = 'hoper-medium-v2'", "hopper-medium-v2"),
        (MINE.replace('spread = "sd"\n', "") + "x = { mean = 1.0, spread = 1.0 }", "which one"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, text, named):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(DatasetError, match=named):
        reported.load_table("mine", tmp_path)


@pytest.mark.parametrize("content", ["5000,1.5\n", "5000,1.5\n" * 99 + "5000\n", "a,b\n" * 100])
def test_a_damaged_results_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "results.csv"
    path.write_text(content)
    with pytest.raises(DatasetError, match=r"results\.csv"):
        brac_bc.read_curve(path)
    with pytest.raises(DatasetError, match="absent"):
        brac_bc.read_curve(tmp_path / "absent.csv")
