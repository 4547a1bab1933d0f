"""Recipes of several algorithms: the rows that they stand for, and what each of them runs."""

import pathlib

import pytest

from benchmarks import recipe
from benchmarks.cells import plan
from benchmarks.recipe import OWN, PUBLISHED, Recipe, Row, load_recipe
from rl_datasets.errors import DatasetError

HEAD = """
title = "T"
table = "t"
seeds = [0]
steps = 10
batch_size = 256
evaluate_every = 5
episodes = 1
"""
ALGORITHMS = """
[[algorithms]]
name = "TD3+BC"
learner = "td3_bc"
config = { alpha = 1.0 }
config_of.easy = { alpha = 5.0 }
batch_size = 64

[[algorithms]]
name = "TD3+BC"
variant = "slow"
learner = "td3_bc"
blocked = "it is too slow"
only = ["easy"]

[[algorithms]]
name = "BC"
learner = "bc"
"""
ROWS = """
[[rows]]
reported = "easy"
dataset = "d4rl/easy:1.0.0"
environment = "Pendulum-v1"

[[rows]]
reported = "easy"
variant = "recollected"
data = "own"
dataset = "d4rl/easy-recollected:1.0.0"
environment = "Pendulum-v1"

[[rows]]
reported = "hard"
dataset = "d4rl/hard:1.0.0"
environment = "Pendulum-v1"
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "FOLDER", tmp_path)

    def load(text: str) -> Recipe:
        (tmp_path / "t.toml").write_text(text)
        return load_recipe("t")

    return load


def test_every_row_is_run_by_every_algorithm_that_has_it(load):
    rows = load(HEAD + ALGORITHMS + ROWS).rows
    assert [row.name for row in rows] == [
        "TD3+BC/easy",
        "TD3+BC/easy/recollected",
        "TD3+BC/hard",
        "TD3+BC/easy/slow",
        "TD3+BC/easy/slow/recollected",
        "BC/easy",
        "BC/easy/recollected",
        "BC/hard",
    ]
    assert {row.reported for row in rows} == {"TD3+BC/easy", "TD3+BC/hard", "BC/easy", "BC/hard"}


def test_a_row_runs_its_own_learner_config_and_batch_size(load):
    loaded = load(HEAD + ALGORITHMS + ROWS)
    easy, _, hard, *_, cloning = (loaded.of(row) for row in loaded.rows)
    assert (easy.learner, easy.batch_size, easy.learner_config().alpha) == ("td3_bc", 64, 5.0)
    assert (hard.learner, hard.batch_size, hard.learner_config().alpha) == ("td3_bc", 64, 1.0)
    assert (cloning.learner, cloning.batch_size) == ("bc", 256)


def test_what_cannot_be_run_is_not_planned_and_says_why_when_asked_for(load):
    loaded = load(HEAD + ALGORITHMS + ROWS)
    assert "TD3+BC/easy/slow" not in {cell.row.name for cell in plan(loaded)}
    with pytest.raises(DatasetError, match=r"'TD3\+BC/easy/slow' cannot be run: it is too slow"):
        plan(loaded, ["TD3+BC/easy/slow"])


def test_rows_are_chosen_by_patterns_each_once(load):
    loaded = load(HEAD + ALGORITHMS + ROWS)
    names = [cell.row.name for cell in plan(loaded, ["*/hard", "BC/*"])]
    assert names == ["TD3+BC/hard", "BC/hard", "BC/easy", "BC/easy/recollected"]
    with pytest.raises(DatasetError, match=r"no row 'CQL/\*'; the nearest of 8 are BC/hard"):
        plan(loaded, ["CQL/*"])


def test_no_two_cells_share_a_folder(load):
    variants = ALGORITHMS.replace('blocked = "it is too slow"\n', "")
    cells = plan(load(HEAD + variants + ROWS))
    folders = {cell.folder(pathlib.Path("runs")) for cell in cells}
    assert len(folders) == len(cells) == 8


def test_two_rows_of_one_name_are_refused(load):
    with pytest.raises(DatasetError, match="two rows 'BC/easy': give one of them a variant"):
        load(HEAD + ALGORITHMS + ROWS.replace('variant = "recollected"\n', ""))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (ALGORITHMS.replace("variant", "varient"), "varient"),
        (ALGORITHMS.replace('name = "BC"\n', ""), "name"),
    ],
)
def test_a_misspelled_field_of_an_algorithm_is_named(load, text, named):
    with pytest.raises(DatasetError, match=named):
        load(HEAD + text + ROWS)


def test_data_are_of_a_known_kind():
    with pytest.raises(DatasetError, match="'row' has data 'new': choose 'published'"):
        Row("row", "d4rl/easy:1.0.0", "Pendulum-v1", data="new")


def test_data_collected_again_are_not_taken_for_the_published():
    assert Row("a", "d4rl/x-v2:1.0.0", "X-v4").data == PUBLISHED
    assert Row("a", "d4rl/x-v2-recollected:1.0.0", "X-v4").data == OWN
    with pytest.raises(DatasetError, match=r"row 'a' calls d4rl/x-v2-recollected.* published"):
        Row("a", "d4rl/x-v2-recollected:1.0.0", "X-v4", data=PUBLISHED)


def options(row: Row) -> dict:
    """All in which rows of one algorithm may differ."""
    names = ("n_step", "reading", "across_time_limits")
    return {name: getattr(row, name) for name in names} | row.config


def test_a_row_of_tianshous_has_every_defect_of_its_variants_and_d4rls_own_reading():
    rows = load_recipe("tianshou_continuous").rows
    assert not [row.name for row in rows if row.blocked]
    of_medium = [r for r in rows if r.dataset == "d4rl/halfcheetah-medium-v2:1.0.0"]
    for algorithm in dict.fromkeys(row.algorithm for row in rows):
        variants = {r.variant: options(r) for r in of_medium if r.algorithm == algorithm}
        plain, letter = variants.pop(""), variants["to-the-letter"]
        assert (plain["reading"], letter["reading"]) == ("corrected", "qlearning_dataset")
        for variant in variants.values():
            changed = {name: value for name, value in variant.items() if plain.get(name) != value}
            assert changed.items() <= letter.items()
            assert plain.keys() - variant.keys() <= plain.keys() - letter.keys()
