"""Reported tables as data, and the authors' files that they were made from."""

import csv
import statistics

import pytest

from benchmarks import tables
from benchmarks.recipe import FOLDER as RECIPES
from benchmarks.recipe import load_recipe
from benchmarks.reported import brac_bc
from rl_datasets.errors import DatasetError

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
    rows = tables.load_table("brac_bc").rows
    assert {
        name: (
            round(statistics.mean(row.scores["last_10"].per_seed)),
            round(statistics.pstdev(row.scores["last_10"].per_seed)),
        )
        for name, row in rows.items()
    } == LAST_10


def test_the_table_is_what_the_authors_files_say(shared, tmp_path):
    brac_bc.write(shared / "brac", tmp_path)
    for name in ("brac_bc.toml", "brac_bc_curves.csv"):
        assert (tmp_path / name).read_bytes() == (tables.FOLDER / name).read_bytes()


@pytest.mark.parametrize("row", LAST_10)
def test_the_curves_are_the_authors_number_for_number(shared, row):
    table = tables.load_table("brac_bc")
    for seed in range(5):
        path = shared / "brac" / row / "n1000000/bc/0" / str(seed) / "results.csv"
        rows = list(csv.reader(path.open()))
        assert [float(step) for step, _ in rows] == table.steps.tolist()
        assert [float(value) for _, value in rows] == table.curves[row][seed].tolist()


def test_every_recipe_has_its_reported_table_and_protocol():
    for path in RECIPES.glob("*.toml"):
        recipe, table = load_recipe(path.stem), tables.load_table(load_recipe(path.stem).table)
        assert {row.reported for row in recipe.rows} <= table.rows.keys()
        for field in ("steps", "batch_size", "evaluate_every", "episodes"):
            assert getattr(recipe, field) == table.protocol[field]
        assert len(recipe.seeds) == table.protocol["seeds"]
        recipe.learner_config()


def test_an_unknown_table_is_answered_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"'brac'.*brac_bc"):
        tables.load_table("brac")
    with pytest.raises(DatasetError, match=r"'brac'.*brac_bc"):
        load_recipe("brac")


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
        (MINE.replace('spread = "sd"\n', "") + "x = { mean = 1.0, spread = 1.0 }", "which one"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, text, named):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(DatasetError, match=named):
        tables.load_table("mine", tmp_path)


@pytest.mark.parametrize("content", ["5000,1.5\n", "5000,1.5\n" * 99 + "5000\n", "a,b\n" * 100])
def test_a_damaged_results_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "results.csv"
    path.write_text(content)
    with pytest.raises(DatasetError, match=r"results\.csv"):
        brac_bc.read_curve(path)
    with pytest.raises(DatasetError, match="absent"):
        brac_bc.read_curve(tmp_path / "absent.csv")
