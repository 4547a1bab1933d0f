"""What the terminal shows of tables before anything was run."""

import dataclasses
import re

import pytest
from typer.testing import CliRunner

from benchmarks.tables.reported import load_table, table_names
from benchmarks.tables.reproduce import first_seeds, reproduce
from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.cells import plan, read_runs
from benchmarks.training.recipe import Recipe, load_recipe, recipe_names
from benchmarks.training.results import RESULTS, write_results
from benchmarks.training.row import AGAIN, OWN, Row
from rl_datasets import cli
from rl_datasets.errors import DatasetError
from tests.benchmarks.made_up import line


def test_without_a_table_every_table_is_listed():
    result = CliRunner().invoke(cli.app, ["reproduce"])
    assert result.exit_code == 0
    for name in table_names():
        assert (f"│ {name} " in result.stdout) == (name != "corl")  # which d4rl_v2 measures
    assert "10 of 240" in result.stdout  # BRAC's grid, of which behaviour cloning alone is known
    assert "reported alone" in result.stdout
    assert re.search(r"│ cql_narrow .*│ none ", result.stdout)


def test_a_table_that_nothing_measures_says_so(capsys):
    assert reproduce("jax_corl") is None
    shown = capsys.readouterr().out
    assert re.search(r"^CQL/hopper-medium-v2 +77\.6 ± 7\.1 *$", shown, re.MULTILINE)
    assert "no recipe of this name measures it" in shown
    assert "known defect: no medium-replay rows" in shown


def test_a_dry_run_shows_what_was_reported_and_that_nothing_was_run(tmp_path, capsys):
    with pytest.raises(DatasetError, match=f"is not published in {tmp_path}"):
        reproduce(
            "tianshou_continuous", data_dir=tmp_path, runs_dir=tmp_path / "runs", dry_run=True
        )
    shown = capsys.readouterr().out
    scores = shown.partition("gradient steps left")[2].splitlines()
    (row,) = [line for line in scores if line.startswith("│ IL/halfcheetah-medium-v2 ")]
    assert [cell.strip() for cell in row.split("│")[2:7]] == ["5098", "", "", "", "not run"]


BLOCKED = """
title = "A table"
learner = "bc"
seeds = [0]
steps = 100
batch_size = 8
evaluate_every = 100
episodes = 1

[[rows]]
name = "one"
dataset = "brac/one:1.0.0"
environment = "Hopper-v4"

[[rows]]
name = "another"
dataset = "brac/another:1.0.0"
environment = "Hopper-v4"
blocked = "no learner here can"
"""


def test_a_row_that_cannot_be_run_says_why(tmp_path, capsys):
    recipe = tmp_path / "own.toml"
    recipe.write_text(BLOCKED)
    with pytest.raises(DatasetError, match=r"brac/one:1\.0\.0.* is not published"):
        reproduce(str(recipe), data_dir=tmp_path, runs_dir=tmp_path / "runs", dry_run=True)
    shown = capsys.readouterr().out
    assert "left out, because no learner here can: another" in shown
    assert "rows that were not run: 1" in shown


def test_rows_whose_datasets_are_not_published_are_left_out_if_others_are(tmp_path, capsys):
    version = tmp_path / "data/d4rl/halfcheetah-medium-v2-recollected/2.0.0"
    version.mkdir(parents=True)
    (version / "MANIFEST.json").write_text("{}")
    with pytest.raises(DatasetError, match="halfcheetah-medium-v2-recollected"):
        reproduce(
            "tianshou_continuous", data_dir=tmp_path / "data", runs_dir=tmp_path, dry_run=True
        )
    shown = capsys.readouterr().out
    assert "│ IL/halfcheetah-medium-v2/recollected " in shown
    assert "│ IL/halfcheetah-medium-v2 " not in shown
    assert "halfcheetah-medium-v2/2.0.0 is not published: IL/halfcheetah-medium-v2," in shown


def test_a_dry_run_of_many_rows_shows_algorithms_and_of_rows_those_with_a_value(tmp_path, capsys):
    """DQN Replay's own table: seven algorithms on 300 runs and 25 drawn as the source drew."""
    with pytest.raises(DatasetError, match="is not published in"):
        reproduce("batch_rl", data_dir=tmp_path, runs_dir=tmp_path / "runs", dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 40
    for name in ("REM: 300 rows", "REM, sampled as batch_rl: 25 rows"):
        (row,) = [line for line in lines if line.startswith(f"│ {name} ")]
        count = 300 if "300" in name else 25
        assert [cell.strip() for cell in row.split("│")[2:6]] == [
            f"{count} datasets", "0", "0", f"{count * 12_500_000:,}",
        ]  # fmt: skip
    assert "2,275 rows: name some with --rows to see them one by one" in lines
    assert "rows that were not run: 2,275" in lines


def test_a_dry_run_shows_each_row_once(tmp_path, capsys):
    with pytest.raises(DatasetError, match="is not published in"):
        reproduce("tianshou_continuous", rows=["CQL/*"], data_dir=tmp_path,
                  runs_dir=tmp_path / "runs", dry_run=True)  # fmt: skip
    shown = capsys.readouterr().out
    assert shown.count("│ CQL/halfcheetah-medium-v2 ") == 1
    (plan_of_cql,) = re.findall(r"│ CQL: (\d+) rows ", shown)
    assert int(plan_of_cql) == len(re.findall(r"│ CQL/\S+ ", shown))


def test_many_datasets_that_are_not_published_are_counted(tmp_path, capsys):
    version = tmp_path / "dqn_replay/Pong_run_1/1.1.0"
    version.mkdir(parents=True)
    (version / "MANIFEST.json").write_text("{}")
    with pytest.raises(DatasetError, match="Pong_run_1"):
        reproduce("batch_rl", data_dir=tmp_path, runs_dir=tmp_path / "runs", dry_run=True)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"left out, because 299 datasets are not published in {tmp_path}: " in shown
    # Pong's first run is left, in both ways of drawing, of seven algorithms.
    assert f"and {2275 - 14 - 3:,} more" in shown


def test_the_first_seeds_are_counted_and_no_more_than_there_are():
    assert first_seeds("tianshou_continuous", 2) == [0, 1]
    with pytest.raises(DatasetError, match="has 5 seeds"):
        first_seeds("tianshou_continuous", 6)


def test_seeds_are_counted_or_named_and_not_both():
    result = CliRunner().invoke(cli.app, ["reproduce", "brac_bc", "--seeds", "1", "--seed", "0"])
    assert isinstance(result.exception, DatasetError)


def test_the_time_left_is_told_of_the_learners_that_were_measured(tmp_path, capsys):
    from benchmarks.tables import console

    rows = (
        Row.of("A/x", "b/x:1.0.0", "Pendulum-v1", algorithm="A", learner="bc", kind=AGAIN),
        Row.of("B/x", "b/x:1.0.0", "Pendulum-v1", algorithm="B", learner="iql", kind=OWN),
    )
    recipe = Recipe("T", "t", "", (0,), 7200, 4, 3600, 1, rows)
    cells = plan(recipe)
    folder = cells[0].folder(tmp_path)
    folder.mkdir(parents=True)
    seconds = {"train": 7000.0, "evaluate": 200.0}
    measured = line(step=3600, evaluate_every=3600, episodes=1, seconds=seconds)
    write_results(folder / RESULTS, [measured])
    console.show_plan(read_runs(cells, tmp_path))
    # By hand: half of one run is left, of 3,600 steps at two seconds each.
    assert (
        "10,800 gradient steps left, about 2 h 00 min of one process at the rate measured so "
        in (shown := capsys.readouterr().out)
    )
    assert "unknown time of iql" in shown
    console.show_plan(read_runs([dataclasses.replace(cells[1])], tmp_path))
    assert "known after the first evaluation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({}, ", about 2 h 30 min of one process at the rate of the results shipped"),
        ({"learner": "iql"}, "known after the first evaluation"),
        ({"batch_size": 5}, "known after the first evaluation"),
        ({"config": {"hidden_sizes": [9]}}, "known after the first evaluation"),
        ({"config": {"hidden_sizes": [8], "learning_rate": 1.0}}, "about 2 h 30 min"),
    ],
)
def test_before_the_first_evaluation_the_shipped_results_tell(
    tmp_path, monkeypatch, capsys, differs, told
):
    """By hand: 3,600 steps at two seconds each, and 6 evaluations of 3 episodes, 100 s each."""
    assert told in shown_by_shipped(differs, AtariProtocol(), tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"evaluation_steps": 1000}, ", about 2 h 10 min of one process at the rate of the"),
        ({}, "known after the first evaluation"),
    ],
)
def test_an_evaluation_by_steps_takes_its_steps(tmp_path, monkeypatch, capsys, differs, told):
    """By hand: 3,600 steps at two seconds each, and 6 evaluations of 500 steps, 0.2 s each."""
    protocol = AtariProtocol(evaluation_steps=500)
    assert told in shown_by_shipped(differs, protocol, tmp_path, monkeypatch, capsys)


def shown_by_shipped(differs, protocol, tmp_path, monkeypatch, capsys):
    """What a plan shows where one evaluation was shipped, which differs in this."""
    from benchmarks.tables import console
    from benchmarks.training import estimate

    shipped = {
        "learner": "bc", "config": {"hidden_sizes": [8]}, "batch_size": 4, "evaluate_every": 100,
        "episodes": 2, "step": 100, "seconds": {"train": 200.0, "evaluate": 200.0},
    }  # fmt: skip
    folder = tmp_path / "shipped" / "table"
    folder.mkdir(parents=True)
    (folder / "datasets.json").write_text("[]")
    write_results(folder / "row.jsonl", [line(**{**shipped, **differs})])
    monkeypatch.setattr(estimate, "SHIPPED", tmp_path / "shipped")
    row = Row.of("A", "b/x:1.0.0", "Pendulum-v1", learner="bc", config={"hidden_sizes": [8]})
    recipe = Recipe("T", "t", "", (0,), 3600, 4, 600, 3, (row,), atari=protocol)
    console.show_plan(read_runs(plan(recipe), tmp_path / "runs"))
    return " ".join(capsys.readouterr().out.split())


def test_names_of_tables_are_whole_on_eighty_columns(on_eighty_columns):
    from benchmarks.tables import console

    shown = on_eighty_columns(console.show_tables)
    assert max(map(len, shown.splitlines())) <= 80
    for name in recipe_names():
        assert f"│ {name} " in shown


def test_names_of_shipped_rows_are_whole_on_eighty_columns(on_eighty_columns):
    from benchmarks.tables import report

    shown = on_eighty_columns(report.show_folder, "brac_bc")
    assert max(map(len, shown.splitlines())) <= 80
    for row in load_recipe("brac_bc").rows:
        assert f"│ {row.name} " in shown


REPORTED_ALONE = [name for name in table_names() if name not in recipe_names()]


@pytest.mark.parametrize("name", REPORTED_ALONE)
def test_a_table_that_nothing_measures_is_whole_on_eighty_columns(on_eighty_columns, name):
    from benchmarks.tables import report

    shown = on_eighty_columns(report.show_folder, name)
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    table = load_table(name)
    if not (table.games or table.over_games):
        for row in table.rows:
            assert f"{row} " in shown
