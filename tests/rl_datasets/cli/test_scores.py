"""Scores that ship with the package."""

import pytest


def test_shipped_scores_need_no_data(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run("scores", "brac_bc")
    (row,) = [line for line in outcome.stdout.splitlines() if "Hopper-v2/pure" in line]
    assert "1330 ± 27" in row
    assert row.count("±") == 2  # reported, measured
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["brac_bcc"], "brac_bcc"),
        (["corl"], "corl has no recipe"),
        (["brac_bc", "data"], "data holds no results of brac_bc: name a results folder"),
    ],
)
def test_scores_that_are_not_there(run, numbered_folder, arguments, told):
    outcome = run("scores", *arguments)
    assert outcome.status == 1
    assert told in outcome.sentence
