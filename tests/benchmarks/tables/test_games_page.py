"""What is computed over the games of a reported table, and the page that shows it."""

import pathlib
import re

import pytest

from benchmarks.tables import report
from benchmarks.tables.game_tables import blocks_over_games, game_sets
from benchmarks.tables.reported import load_table
from rl_datasets.errors import DatasetError

ROOT = pathlib.Path(__file__).parents[3]


def cells(block, name):
    """The cells of a line as numbers, by heading."""
    (line,) = [line for line in block.lines if line[0] == name]
    return dict(zip(block.header[1:], map(float, line[1:]), strict=True))


def test_doubtful_values_are_left_out():
    (games,) = game_sets(load_table("rl_unplugged_atari"))
    assert len(games.games) == 44
    assert not {"CrazyClimber", "VideoPinball"} & {*games.games, *games.runs["BC"]}


def test_algorithms_without_a_value_of_every_game_are_left_out():
    last, best = game_sets(load_table("d3rlpy_atari"))
    assert [last.statistic, best.statistic] == ["last", "best"]
    assert list(last.runs) == ["DiscreteBCQ", "DiscreteCQL", "NFQ", "QR-DQN"]
    assert best.runs["NFQ"]["Seaquest"] == [841.2]


@pytest.mark.parametrize(
    "name", ["decision_transformer_atari", "batch_rl", "tianshou_discrete", "d4rl_v0"]
)
def test_nothing_is_computed_of_normalised_scores_of_two_games_or_of_none(name):
    assert game_sets(load_table(name)) == []


def test_the_medians_of_rl_unpluggeds_algorithms_are_as_its_figure_shows_them():
    """There IQN, BCQ and REM are at 100 or above, and BC is poor."""
    (block,) = blocks_over_games(load_table("rl_unplugged_atari"))
    medians = cells(block, "batch_rl (44) median, %")
    assert {name for name, median in medians.items() if median >= 100} == {"IQN", "BCQ", "REM"}
    assert min(medians, key=medians.get) == "BC"
    page = (ROOT / "docs" / "atari_scores.md").read_text(encoding="utf-8")
    for name, median in medians.items():
        assert f" {median} ({name})" in " ".join(page.split())


def test_the_scores_over_cqls_games_by_hand():
    """By the online DQN's best, at 1%: Asterix 11.9, Breakout 47.6, Pong 107.2, Qbert 135.3 and
    Seaquest 34.4. The middle of five is kept whole but for the lowest and the highest.
    """
    one, ten = blocks_over_games(load_table("cql_atari"))
    assert one.title.startswith("computed over games, by the means: 1%")
    assert ten.title.startswith("computed over games, by the means: 10%")
    assert cells(one, "batch_rl (5) median, %")["CQL(H)"] == 47.6
    by_hand = (47.6 + 107.2 + 34.4) / 3
    assert cells(one, "batch_rl (5) IQM, %")["CQL(H)"] == pytest.approx(by_hand, abs=0.1)
    assert cells(one, "above dqn_best (5)")["CQL(H)"] == 2  # Pong and Qbert
    # Human scores: Asterix 8503, Breakout 30.5, Pong 14.6, Qbert 13455, Seaquest 42055.
    assert cells(one, "above human (5)")["CQL(H)"] == 3


def test_a_games_page_has_values_pictures_and_where_they_are_from(tmp_path):
    path = report.write_report("cql_atari", tmp_path / "new")
    assert path == tmp_path / "new" / "cql_atari.html"
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "| Qbert/1% | 383.6 | 343.4 | 14012 |" in text
    assert "| above human (5) | 0 | 0 | 3 |" in text
    assert "- Known defect: no seeds and no spread are given" in text
    for figure in ("profile", "games"):
        drawing = path.with_name(f"cql_atari-{figure}.svg").read_text(encoding="utf-8")
        assert "CQL(H)" in drawing
        assert f"(cql_atari-{figure}.svg)" in text
    assert path.read_text(encoding="utf-8").count("<figure>") == 2
    drawing = path.with_name("cql_atari-games.svg").read_text(encoding="utf-8")
    assert "10%, Pong to Asterix" in drawing


def test_a_page_says_which_values_are_doubtful(tmp_path):
    path = report.write_report("rl_unplugged_atari", tmp_path).with_suffix(".md")
    text = path.read_text(encoding="utf-8")
    assert "126M±2M?" in text
    assert "- Doubtful, CrazyClimber: printed in millions" in text
    drawing = path.with_name("rl_unplugged_atari-games.svg").read_text(encoding="utf-8")
    panels = re.findall(r">(\w+) to (\w+)</text>", drawing)
    assert [first for first, _ in panels] == ["BeamRider", "BankHeist", "KungFuMaster"]


def test_values_over_many_games_have_a_page_without_pictures(tmp_path):
    path = report.write_report("batch_rl", tmp_path)
    assert "| REM | 123.8 | 103.7 |" in path.with_suffix(".md").read_text(encoding="utf-8")
    assert sorted(of.name for of in tmp_path.iterdir()) == ["batch_rl.html", "batch_rl.md"]


def test_a_table_without_games_or_a_recipe_has_no_page(tmp_path):
    with pytest.raises(DatasetError, match="rl-datasets scores jax_corl"):
        report.write_report("jax_corl", tmp_path)
    assert not list(tmp_path.iterdir())
