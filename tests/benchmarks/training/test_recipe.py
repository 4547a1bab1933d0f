"""Recipes of several algorithms: the rows that they stand for, and what each of them runs."""

import dataclasses
import json
import pathlib
import typing

import pytest

from benchmarks.tables import results_folder
from benchmarks.training import recipe
from benchmarks.training.cells import plan
from benchmarks.training.recipe import Recipe, load_recipe
from benchmarks.training.row import OWN, PUBLISHED, Options, Row
from learners import bc
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
        (
            ALGORITHMS.replace("variant", "varient"),
            r"\[\[algorithms\]\] 2 .*did you mean 'variant'",
        ),
        (ALGORITHMS.replace('name = "BC"\n', ""), r"\[\[algorithms\]\] 3 lacks the field 'name'"),
        (ALGORITHMS.replace('"bc"', "3"), r"\[\[algorithms\]\] 3: learner must be a text, got 3"),
        (ALGORITHMS.replace('["easy"]', '"easy"'), "only must be a list, each a text"),
        (ALGORITHMS.replace('["easy"]', '["easi"]'), "'easi': did you mean 'easy'"),
        (ALGORITHMS.replace("config_of.easy", "config_of.eazy"), "'eazy': did you mean 'easy'"),
        (ALGORITHMS.replace("config_of.easy", "row_of.easy"), "row_of has no field 'alpha'"),
        (ALGORITHMS + 'environment = "X-v1"', "no field 'environment'"),
        (ALGORITHMS + 'data = "own"', "row 'easy' both give data"),
        (
            ALGORITHMS.replace("[[algorithms]]", "[algorithms]", 1).split("[[")[0],
            "tables, each below",
        ),
    ],
)
def test_a_wrong_field_of_an_algorithm_is_named(load, text, named):
    with pytest.raises(DatasetError, match=rf"^t\.toml.*{named}"):
        load(HEAD + text + ROWS)


EACH = """
[[rows]]
reported = "{game}/{share}"
variant = "run_{run}"
dataset = "dqn_replay/{game}_run_{run}:1.1.0"
environment = "{game}"
each.game = ["Pong", "Breakout"]
each.share = ["1%", "10%"]
each.run = ["1", "2"]
"""
BY_PATTERN = """
[[algorithms]]
name = "CQL"
learner = "discrete_cql"
config_of."*/10%" = { weight = 1.0, discount = 0.9 }
config_of."Breakout/10%" = { weight = 2.0 }
row_of."Breakout/*" = { steps = 15 }

[[algorithms]]
name = "DQN"
learner = "dqn"
only = ["Pong/*"]
"""


def test_an_entry_of_rows_stands_for_a_row_of_every_choice(load):
    rows = load(HEAD + 'learner = "dqn"' + EACH).rows
    assert [row.name for row in rows] == [
        f"{game}/{share}/run_{run}"
        for game in ("Pong", "Breakout")
        for share in ("1%", "10%")
        for run in (1, 2)
    ]
    assert rows[-1].data.dataset == "dqn_replay/Breakout_run_2:1.1.0"
    assert rows[-1].scoring.environment == "Breakout"


def test_rows_of_an_algorithm_are_named_by_patterns(load):
    loaded = load(HEAD + BY_PATTERN + EACH)
    assert {row.reported for row in loaded.rows if row.learning.algorithm == "DQN"} == {
        "DQN/Pong/1%",
        "DQN/Pong/10%",
    }
    configs = {row.reported: loaded.of(row).config for row in loaded.rows}
    assert configs["CQL/Pong/1%"] == {}
    assert configs["CQL/Pong/10%"] == {"weight": 1.0, "discount": 0.9}
    assert configs["CQL/Breakout/10%"] == {"weight": 2.0, "discount": 0.9}


def test_a_row_has_its_own_number_of_steps(load):
    steps = {cell.row.reported: cell.steps for cell in plan(load(HEAD + BY_PATTERN + EACH))}
    assert steps["CQL/Pong/1%"] == 10
    assert steps["CQL/Breakout/1%"] == 15
    with pytest.raises(DatasetError, match="steps must be a multiple of evaluate_every, 5, got 12"):
        load(HEAD + BY_PATTERN.replace("steps = 15", "steps = 12") + EACH)


def test_a_choice_that_is_not_listed_is_refused(load):
    with pytest.raises(DatasetError, match=r"rows\]\] 1 has \{gam\} in a text.*lists game, share,"):
        load(HEAD + 'learner = "dqn"' + EACH.replace("dqn_replay/{game}", "dqn_replay/{gam}"))
    with pytest.raises(DatasetError, match=r"each must be a table"):
        load(HEAD + 'learner = "dqn"' + EACH.replace('["1", "2"]', "[]"))


PLAIN = """
title = "t"
learner = "bc"
seeds = [0]
steps = 40
batch_size = 8
evaluate_every = 20
episodes = 1

[config]

[[rows]]
name = "hop"
dataset = "brac/hopper-eps1-recollected:1.0.0"
environment = "Hopper-v4"
"""


@pytest.fixture
def load_plain(tmp_path):
    def load(text: str):
        path = tmp_path / "mine.toml"
        path.write_bytes(text.encode("latin-1"))
        recipe = load_recipe(str(path))
        plan(recipe)
        return recipe

    return load


@pytest.mark.parametrize(
    ("line", "by", "said"),
    [
        ("title", "title = 5", "title must be a text that is not empty, got 5"),
        ("steps", 'steps = "40"', "steps must be a whole number of at least 1, got '40'"),
        ("steps", "steps = 0", "steps must be a whole number of at least 1, got 0"),
        ("steps", "steps = -40", "steps must be a whole number of at least 1, got -40"),
        ("steps", "steps = true", "steps must be a whole number of at least 1, got True"),
        ("steps", "steps = 5", "steps must be a multiple of evaluate_every, 20, got 5"),
        ("steps", "steps = 50", "steps must be a multiple of evaluate_every, 20, got 50"),
        ("steps", "stepz = 40", "has no field 'stepz': did you mean 'steps'"),
        ("steps", "", "lacks the field 'steps': give a whole number of at least 1"),
        ("evaluate_every", "evaluate_every = 0", "evaluate_every must be a whole number"),
        ("evaluate_every", "evaluate_every = -20", "evaluate_every must be a whole number"),
        ("evaluate_every", 'evaluate_every = "20"', "evaluate_every must be a whole number"),
        ("batch_size", "batch_size = 0", "batch_size must be a whole number of at least 1, got 0"),
        ("batch_size", "batch_size = -8", "batch_size must be a whole number of at least 1"),
        ("batch_size", 'batch_size = "8"', "batch_size must be a whole number of at least 1"),
        ("batch_size", "batch_size = 8.5", "batch_size must be a whole number of at least 1"),
        ("episodes", "episodes = 0", "episodes must be a whole number of at least 1, got 0"),
        ("episodes", 'episodes = "1"', "episodes must be a whole number of at least 1"),
        ("seeds", "seeds = []", "seeds must be a list that is not empty, each a whole"),
        (
            "seeds",
            "seeds = [-1]",
            r"seeds must be a list that is not empty, each a whole number from 0",
        ),
        ("seeds", "seeds = [0.5]", r"seeds must be .* got \[0\.5\]"),
        ("seeds", 'seeds = "0"', "seeds must be .* got '0'"),
        ("seeds", "seeds = 0", "seeds must be .* got 0"),
        ("seeds", "seeds = [0, 0]", "seeds names one twice"),
        ("learner", "learner = 3", "learner must be a text, got 3"),
        (
            "learner",
            'learner = "types"',
            "'types', which is no learner: choose from bc,",
        ),
        ("learner", 'learner = "networks"', "learner is 'networks'"),
        ("learner", 'learner = "training"', "learner is 'training'"),
        ("learner", 'learner = "brac"', "learner is 'brac'"),
        ("learner", 'learner = "td3"', "learner is 'td3'.* td3_bc, .*td3_bc_tianshou$"),
        ("learner", 'learner = "../bc"', "learner is '../bc'"),
        ("learner", "", "learner is ''"),
        ("[config]", '[config]\nlearning_rate = "1e-3"', "learning_rate must be a number above 0"),
        ("[config]", "[config]\nlearning_rate = nan", "learning_rate must be a number above 0"),
        ("[config]", "[config]\nlearning_rat = 1", "config of bc .*did you mean 'learning_rate'"),
        ("[config]", "[config]\nhidden_sizes = 8", "hidden_sizes must be a list, each a whole num"),
        ("[config]", "[config]\nhidden_sizes = [8.0]", "hidden_sizes must be a list, each a whole"),
        ("[config]", "config = 3", "config must be a table, got 3"),
        ("[config]", "[atari]\nmax_episode_steps = 0", r"\[atari\]: max_episode_steps must be a"),
        (
            "[config]",
            "[atari]\nevaluation_epsilon = 2",
            "evaluation_epsilon must be a number from 0",
        ),
        ("[config]", "[atari]\nepsilon = 1", r"\[atari\] has no field 'epsilon': choose from eval"),
        ("[config]", "atari = 3", r"\[atari\] must be a table, got 3"),
        ("[config]", "is_reported = true", "has no field 'is_reported'"),
        ("[config]", "[[algorithm]]", "has no field 'algorithm'"),
        ("[[rows]]", "[rows]", r"must have rows as one or more tables, each below \[\[rows\]\]"),
        ("[[rows]]", "[[row]]", r"must have rows as one or more tables, each below \[\[rows\]\]"),
        ("name", "name = 5", r"\[\[rows\]\] 1: name must be a text that is not empty, got 5"),
        ("name", 'reported = "a"', r"\[\[rows\]\] 1 has no field 'reported'"),
        ("name", 'name = "a"\nalgorithm = "b"', "has no field 'algorithm'"),
        (
            "name",
            'name = "a"\nnormalize_observations = "false"',
            "must be true or false, got 'false'",
        ),
        (
            "name",
            'name = "a"\nreward_scale = nan',
            "reward_scale must be a number above 0 or '1000",
        ),
        (
            "name",
            'name = "a"\nreward_scale = "return range"',
            "reward_scale must be a number above 0",
        ),
        ("name", 'name = "a"\nreward_bias = inf', "reward_bias must be a number, got inf"),
        ("name", 'name = "a"\nn_step = 0', "n_step must be a whole number of at least 1, got 0"),
        (
            "name",
            'name = "a"\npolicies = []',
            "policies must be a list that is not empty, each a text that is not empty",
        ),
        (
            "name",
            'name = "a"\npolicies = ["max_q"]',
            "bc has no policy max_q, which row 'a' asks for: use act",
        ),
        ("name", 'name = "a"\nreading = "d4rl"', "reading must be 'corrected' or 'qlearning_dat"),
        (
            "name",
            'name = "a"\ndata = "new"',
            "data must be '' or 'published' or 'collected again' or",
        ),
        ("name", 'name = "a"\nconfig = { learning_rate = 0 }', "learning_rate must be a number"),
        (
            "name",
            'name = "a"\nlearner = "iql"\nconfig = { discount = 2 }',
            "discount must be a number",
        ),
        ("name", 'name = "a"\nn_stp = 1', "has no field 'n_stp': did you mean 'n_step'"),
        ("dataset", 'dataset = "brac/hopper"', "write it as builder/config:version"),
        ("dataset", 'dataset = "../../x:1.0.0"', "write it as builder/config:version"),
        ("dataset", 'dataset = "a/b:latest"', "write it as builder/config:version"),
        ("title", 'title = "d\xe9j\xe0"', "is not a TOML file"),
        ("title", "title = ", "is not a TOML file"),
    ],
)
def test_a_wrong_value_is_refused_by_its_file_and_its_field(load_plain, line, by, said):
    lines = PLAIN.splitlines()
    (place,) = [n for n, each in enumerate(lines) if each.split(" = ")[0] == line]
    with pytest.raises(DatasetError, match=said) as refused:
        load_plain("\n".join([*lines[:place], by, *lines[place + 1 :]]))
    assert "mine.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_without_a_row_is_refused(load_plain):
    with pytest.raises(DatasetError, match=r"mine\.toml must have rows as one or more tables"):
        load_plain(PLAIN.partition("[config]")[0] + "rows = []")


def test_a_file_with_nothing_wrong_is_taken(load_plain):
    recipe = load_plain(
        PLAIN.replace("[config]", "[config]\nhidden_sizes = [8]\nlearning_rate = 1")
    )
    assert recipe.learner_config() == bc.Config(hidden_sizes=(8,), learning_rate=1)


@pytest.mark.parametrize("name", recipe.recipe_names())
def test_what_is_shipped_is_sound_to_the_last_row(name):
    shipped = load_recipe(name)
    for row in shipped.rows:
        if not row.blocked:
            shipped.of(row).learner_config()


@pytest.mark.parametrize("name", ["brac_bc", "cql_narrow"])
def test_results_that_are_shipped_are_of_what_their_recipe_runs(name):
    """So that seeds which are still to be run may stand beside them."""
    shipped = load_recipe(name)
    of_table = [
        (cell, line)
        for cell in plan(shipped, seeds=[0])
        for line in results_folder.read_row(results_folder.SHIPPED / name, cell.row)
    ]
    assert {line["table"] for _, line in of_table} == {name}
    for cell, line in of_table:
        config = json.loads(json.dumps(dataclasses.asdict(cell.learner_config())))
        assert (line["learner"], line["config"]) == (cell.recipe.learner, config)
        assert (line["batch_size"], line["steps"]) == (cell.recipe.batch_size, cell.steps)


def test_every_number_of_a_learner_has_a_range_or_may_be_any():
    """A field that is added without one would take what the update cannot."""
    of_any = {
        "log_alpha",
        "log_std_minimum",
        "log_std_bounds",
        "target_divergence",
        "target_entropy",
    }
    assert len(recipe.learners()) >= 17
    for entry in recipe.learners().values():
        for field, kind in typing.get_type_hints(entry.config, include_extras=True).items():
            kinds = [each for each in typing.get_args(kind) or [kind] if each is not type(None)]
            assert not {int, float} & set(kinds) or field in of_any or "Annotated" in repr(kind)


def test_data_collected_again_are_not_taken_for_the_published():
    assert Row.of("a", "d4rl/x-v2:1.0.0", "X-v4").data.kind == PUBLISHED
    assert Row.of("a", "d4rl/x-v2-recollected:1.0.0", "X-v4").data.kind == OWN
    with pytest.raises(DatasetError, match=r"row 'a' calls d4rl/x-v2-recollected.* published"):
        Row.of("a", "d4rl/x-v2-recollected:1.0.0", "X-v4", kind=PUBLISHED)


@pytest.mark.parametrize("name", recipe.recipe_names())
def test_the_options_of_a_row_make_it_again(name):
    for row in load_recipe(name).rows:
        assert Row.of(**row.options) == row
    assert row.options.keys() == {field.name for field in dataclasses.fields(Options)}


def options(row: Row) -> dict:
    """All in which rows of one algorithm may differ."""
    names = ("n_step", "reading", "across_time_limits")
    return {name: getattr(row.data, name) for name in names} | row.learning.config


def test_a_row_of_tianshous_has_every_defect_of_its_variants_and_d4rls_own_reading():
    rows = load_recipe("tianshou_continuous").rows
    assert not [row.name for row in rows if row.blocked]
    of_medium = [r for r in rows if r.data.dataset == "d4rl/halfcheetah-medium-v2:2.0.0"]
    for algorithm in dict.fromkeys(row.learning.algorithm for row in rows):
        variants = {r.variant: options(r) for r in of_medium if r.learning.algorithm == algorithm}
        plain, letter = variants.pop(""), variants["to-the-letter"]
        assert (plain["reading"], letter["reading"]) == ("corrected", "qlearning_dataset")
        for variant in variants.values():
            changed = {name: value for name, value in variant.items() if plain.get(name) != value}
            assert changed.items() <= letter.items()
            assert plain.keys() - variant.keys() <= plain.keys() - letter.keys()
