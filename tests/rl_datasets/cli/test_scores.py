"""Scores that ship with the package."""

import pytest


def test_shipped_scores_need_no_data(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run("scores", "brac_bc")
    (row,) = [line for line in outcome.stdout.splitlines() if "Hopper-v2/pure" in line]
    assert "1330 ± 27" in row
    assert row.count("±") == 2  # reported, measured
    assert not list(tmp_path.iterdir())


def test_what_was_reported_is_shown_of_a_table_without_a_recipe(run):
    (row,) = [of for of in run("scores", "corl").stdout.splitlines() if "/pen-human-v1" in of][:1]
    assert "71.0" in row  # behaviour cloning


@pytest.mark.parametrize(
    ("table", "row", "value"),
    [
        ("tianshou_continuous", "IL/halfcheetah-medium-v2", "5098"),
        ("d4rl_v2", "TD3+BC/hopper-medium-v2", "60.4"),  # whose table is corl
        ("cql_atari", "Pong/1%", "19.3"),
    ],
)
def test_what_was_reported_is_shown_where_nothing_was_measured(run, table, row, value):
    shown = run("scores", table).stdout
    assert "reported alone: nothing of it was measured yet" in shown
    assert any(of.split()[0] == row and value in of for of in shown.splitlines() if of.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["brac_bcc"], "brac_bcc"),
        (["corl", "data"], "corl has no recipe, so no folder holds results of it"),
        (["slimcql"], "this package holds no results of slimcql"),
        (["brac_bc", "data"], "data holds no results of brac_bc: name a results folder"),
    ],
)
def test_scores_that_are_not_there(run, numbered_folder, arguments, told):
    outcome = run("scores", *arguments)
    assert outcome.status == 1
    assert told in outcome.sentence
