"""Reported tables of Atari, and of BRAC's and D4RL's data, held to values as they are printed."""

import dataclasses
import re

import pytest

from benchmarks.tables import report, results_folder
from benchmarks.tables.comparison import compare
from benchmarks.tables.game_tables import game_score, reported_blocks
from benchmarks.tables.reported import Score, game_of, load_table, table_names
from benchmarks.tables.scores import formatted
from benchmarks.training.recipe import load_recipe
from rl_datasets.errors import DatasetError
from rl_datasets.sources.atari import ATARI_GAMES
from tests.benchmarks.made_up import line

K, M = 1_000, 1_000_000

# Table, row, statistic: mean and spread.
PRINTED = {
    ("batch_rl", "DQN (Nature)/1000 iterations", "median"): (83.4, None),
    ("batch_rl", "DQN (Nature)/200 iterations", "games_above_dqn"): (10, None),
    ("batch_rl", "QR-DQN/200 iterations", "median"): (115.0, None),
    ("batch_rl", "QR-DQN/200 iterations", "games_above_dqn"): (44, None),
    ("batch_rl", "REM/1000 iterations", "median"): (123.8, None),
    ("batch_rl", "REM/1000 iterations", "games_above_dqn"): (49, None),
    ("batch_rl", "REM/200 iterations", "median"): (103.7, None),
    ("batch_rl_fractions", "QR-DQN/Asterix/20%", "best"): (184, None),
    ("batch_rl_fractions", "REM/Breakout/10%", "best"): (61, None),
    ("batch_rl_fractions", "REM/Seaquest/100%", "best"): (266, None),
    ("cql_atari", "CQL(H)/Qbert/1%", "unstated"): (14_012.0, None),
    ("cql_atari", "CQL(H)/Asterix/10%", "unstated"): (156.3, None),
    ("cql_atari", "QR-DQN/Pong/1%", "unstated"): (-13.8, None),
    ("cql_atari", "QR-DQN/Breakout/10%", "unstated"): (151.2, None),
    ("cql_atari", "REM/Seaquest/10%", "unstated"): (3936.6, None),
    ("rl_unplugged_atari", "BC/BeamRider", "unstated"): (1.48 * K, 0.34 * K),
    ("rl_unplugged_atari", "DQN/IceHockey", "unstated"): (-2.88, 2.93),
    ("rl_unplugged_atari", "IQN/Atlantis", "unstated"): (2.71 * M, 0.88 * M),
    ("rl_unplugged_atari", "BCQ/CrazyClimber", "unstated"): (28 * M, 15 * M),
    ("rl_unplugged_atari", "REM/VideoPinball", "unstated"): (313 * M, 111 * M),
    ("rl_unplugged_atari", "REM/DoubleDunk", "unstated"): (-17.9, 4.3),
    ("rl_unplugged_atari", "BC/Freeway", "unstated"): (21.8, 14.7),
    ("rl_unplugged_atari", "IQN/StarGunner", "unstated"): (39.4 * K, 5.4 * K),
    ("rl_unplugged_atari", "BCQ/YarsRevenge", "unstated"): (29.1 * K, 1.1 * K),
    ("rl_unplugged_atari", "DQN/Krull", "unstated"): (7.48 * K, 0.19 * K),
    ("decision_transformer_atari", "DT/Breakout", "unstated"): (267.5, 97.5),
    ("decision_transformer_atari", "DT/Qbert", "unstated"): (15.4, 11.4),
    ("decision_transformer_atari", "BC/Pong", "unstated"): (85.2, 20.0),
    ("decision_transformer_atari", "REM/Breakout", "unstated"): (8.9, None),
    ("d3rlpy_atari", "QR-DQN/Asterix", "best"): (533.5, 62.5),
    ("d3rlpy_atari", "DiscreteCQL/Qbert", "last"): (8166.2, 705.4),
    ("d3rlpy_atari", "DiscreteCQL/Qbert", "best"): (15_791.5, 530.5),
    ("d3rlpy_atari", "DiscreteBCQ/Pong", "last"): (-6.0, 6.2),
    ("d3rlpy_atari", "NFQ/Seaquest", "best"): (841.2, 67.3),
    ("d3rlpy_atari", "DiscreteDT/Breakout", "last"): (86.0, 16.8),
    ("tianshou_discrete", "BCQ/Breakout", "best"): (64.6, None),
    ("reincarnating", "QDagger/10M frames", "iqm"): (1.14, None),
    ("reincarnating", "Pretraining/offline phase", "iqm"): (0.46, None),
    ("reincarnating", "Tabula rasa/10M frames", "iqm"): (0.39, None),
    ("reincarnating_cleanrl", "QDagger (PyTorch)/Breakout", "unstated"): (295.55, 12.30),
    ("reincarnating_cleanrl", "QDagger (JAX)/Pong", "unstated"): (18.75, 0.19),
    ("tianshou_discrete", "CQL/Breakout", "best"): (129.4, None),
    ("tianshou_discrete", "CQL/Pong/10k", "best"): (1.8, None),
    ("tianshou_discrete", "IL/Breakout", "best"): (121.9, None),
    ("tianshou_discrete", "CRR + CQL/Pong", "best"): (17.7, None),
    ("tianshou_discrete_2021", "BCQ/Breakout", "best"): (167.4, None),
    ("tianshou_discrete_2021", "CQL/Breakout", "best"): (248.3, None),
    ("tianshou_discrete_2021", "CRR/Breakout", "best"): (26.4, None),
    ("tianshou_discrete_2021", "online DQN/Breakout", "best"): (303, None),
    ("morel_brac", "BCQ/Ant-v2/eps3", "unstated"): (1504, None),
    ("morel_brac", "BEAR/Hopper-v2/pure", "unstated"): (0, None),
    ("morel_brac", "BRAC/Walker2d-v2/gaussian3", "unstated"): (3368, None),
    ("morel_brac", "best of BRAC's rows/Hopper-v2/eps1", "unstated"): (2360, None),
    ("morel_brac", "MOReL/Walker2d-v2/pure", "unstated"): (3709, 159),
    ("morel_brac", "MOReL/HalfCheetah-v2/gaussian1", "unstated"): (6026, 74),
    ("d4rl_v0_combo", "BEAR/walker2d-medium-expert-v0", "unstated"): (40.1, None),
    ("d4rl_v0_combo", "BRAC-v/walker2d-medium-expert-v0", "unstated"): (81.6, None),
    ("d4rl_v0_combo", "BC/hopper-random-v0", "unstated"): (1.6, None),
    ("d4rl_v0_combo", "SAC-off/halfcheetah-medium-v0", "unstated"): (-4.3, None),
    ("d4rl_v0_combo", "BRAC-p/hopper-medium-replay-v0", "unstated"): (0.6, None),
    ("d4rl_v0_combo", "COMBO/hopper-medium-v0", "unstated"): (97.2, None),
    ("d4rl_v0_combo", "MOReL/walker2d-medium-expert-v0", "unstated"): (95.6, None),
    ("d4rl_v0", "CQL(rho)/antmaze-umaze-v0", "unstated"): (73.5, None),
    ("d4rl_v0", "CQL(rho)/relocate-human-v0", "unstated"): (0.35, None),
    ("d4rl_v0", "CQL(rho)/kitchen-mixed-v0", "unstated"): (52.4, None),
}


@pytest.mark.parametrize(("table", "row", "statistic"), PRINTED)
def test_a_table_has_what_was_printed(table, row, statistic):
    score = load_table(table).rows[row].scores[statistic]
    mean, spread = PRINTED[table, row, statistic]
    assert score.mean == pytest.approx(mean)
    assert score.spread == (spread if spread is None else pytest.approx(spread))


@pytest.mark.parametrize(
    ("table", "algorithms", "datasets", "rows"),
    [
        ("batch_rl", 6, 2, 12),
        ("batch_rl_fractions", 2, 25, 50),
        ("cql_atari", 3, 10, 30),
        ("rl_unplugged_atari", 5, 46, 230),
        ("decision_transformer_atari", 5, 4, 20),
        ("d3rlpy_atari", 5, 5, 23),  # of the transformer three games
        ("tianshou_discrete", 7, 6, 21),
        ("tianshou_discrete_2021", 6, 6, 16),
        ("morel_brac", 5, 20, 100),
        ("d4rl_v0_combo", 7, 12, 84),
    ],
)
def test_a_table_has_as_many_rows_as_its_source(table, algorithms, datasets, rows):
    found = load_table(table).rows.values()
    assert len({row.algorithm for row in found}) == algorithms
    assert len({row.dataset for row in found}) == datasets
    assert len(found) == rows


def test_rl_unpluggeds_table_is_of_its_46_games():
    rows = load_table("rl_unplugged_atari").rows.values()
    assert {row.dataset for row in rows} == {
        name for name, game in ATARI_GAMES.items() if game.in_rl_unplugged
    }


# Of all 46 means and of all spreads of a column, added up from the text apart from this code.
SUMS = {
    "BC": (152_553_028.87, 20_935_838.09),
    "DQN": (108_242_014.52, 76_587_042.13),
    "IQN": (231_040_410.85, 87_957_176.73),
    "BCQ": (134_519_991.79, 89_301_321.52),
    "REM": (358_670_660.74, 113_240_638.34),
}


@pytest.mark.parametrize("algorithm", SUMS)
def test_no_cell_of_rl_unpluggeds_table_has_changed(algorithm):
    rows = load_table("rl_unplugged_atari").rows.values()
    scores = [row.scores["unstated"] for row in rows if row.algorithm == algorithm]
    sums = sum(score.mean for score in scores), sum(score.spread for score in scores)
    assert sums == pytest.approx(SUMS[algorithm], abs=0.005, rel=1e-12)


def test_as_many_rows_of_rl_unplugged_are_best_of_an_algorithms_as_were_counted():
    best: dict[str, int] = {}
    rows = load_table("rl_unplugged_atari").rows.values()
    for game in {row.dataset for row in rows}:
        of_game = [row for row in rows if row.dataset == game]
        name = max(of_game, key=lambda row: row.scores["unstated"].mean).algorithm
        best[name] = best.get(name, 0) + 1
    assert best == {"IQN": 19, "BCQ": 14, "REM": 11, "BC": 1, "DQN": 1}


def test_decision_transformers_cql_is_cqls_own_table_in_gamers_scores():
    """Random and gamers' scores, rounded to whole numbers: DreamerV2's scores/baselines.json."""
    gamers = {"Breakout": (2, 30), "Qbert": (164, 13_455), "Pong": (-21, 15)}
    gamers["Seaquest"] = (68, 42_055)
    raw, normalised = load_table("cql_atari").rows, load_table("decision_transformer_atari").rows
    for game, (random, gamer) in gamers.items():
        score = raw[f"CQL(H)/{game}/1%"].scores["unstated"].mean
        expected = normalised[f"CQL/{game}"].scores["unstated"].mean
        assert 100 * (score - random) / (gamer - random) == pytest.approx(expected, abs=0.051)


def test_what_both_texts_of_d4rls_table_have_of_behaviour_cloning_agrees():
    """But for random data, whose hopper and walker2d the one has the other way round."""
    early, late = load_table("d4rl_v0").rows, load_table("d4rl_v0_combo").rows
    swapped = ("BC/hopper-random-v0", "BC/walker2d-random-v0")
    shared = [name for name in early.keys() & late.keys() if re.match(r"BC|SAC", name)]
    assert len(shared) == 22
    for name in shared:
        of = swapped[1 - swapped.index(name)] if name in swapped else name
        assert early[name].scores == late[of].scores


def test_no_row_of_bracs_paper_is_above_the_best_of_its_rows():
    rows = load_table("morel_brac").rows
    for name in [row.dataset for row in rows.values() if row.algorithm == "BRAC"]:
        best = rows[f"best of BRAC's rows/{name}"].scores["unstated"].mean
        for algorithm in ("BCQ", "BEAR", "BRAC"):
            assert rows[f"{algorithm}/{name}"].scores["unstated"].mean <= best


def test_the_datasets_of_morels_table_are_those_of_bracs_grid():
    grid = {row.dataset for row in load_table("brac").rows.values()}
    assert {row.dataset for row in load_table("morel_brac").rows.values()} == grid


def test_no_last_score_of_d3rlpy_is_above_the_best_one():
    for row in load_table("d3rlpy_atari").rows.values():
        assert row.scores["last"].mean < row.scores["best"].mean


def test_tables_of_games_name_games_of_atari():
    of_games = [name for name in table_names() if load_table(name).games]
    assert len(of_games) == 8
    for name in of_games:
        assert {game_of(row.dataset) for row in load_table(name).rows.values()} <= set(ATARI_GAMES)


TABLE = """
title = "T"
paper = "P"
source = "S"
license = "L"
metric = "M"
statistic = "last"
exact = true
defects = ["one", "two"]
games = true
[protocol]
[doubtful_datasets]
Pong = "why"
[algorithms.A.last]
Pong = 1.0
Qbert = -16.4
Asterix = 1_500_000.0
[algorithms.B.last]
Pong = 2.5
"""
OVER_GAMES = TABLE.replace("games = true\n", "").replace('"last"', '"median"')
OVER_GAMES = OVER_GAMES.replace(".last]", ".median]").replace(
    "[protocol]", '[over_games]\nmedian = "the median"\n[protocol]'
)


def written(folder, text):
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return load_table("mine", folder)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TABLE.replace("Qbert", "QBert"), r"no game \['QBert'\]"),
        (TABLE.replace('Pong = "why"', 'Tennis = "why"'), r"doubtful_datasets names \['Tennis'\]"),
        (TABLE.replace(".B.last]", ".B.median]"), "median.*not of.*'best'"),
        (OVER_GAMES.replace(".B.median]", ".B.best]"), r"best.*not of \['median'\]"),
    ],
)
def test_a_misspelt_name_in_a_table_of_games_is_refused(tmp_path, text, named):
    with pytest.raises(DatasetError, match=named):
        written(tmp_path, text)


def test_the_longer_of_data_and_algorithms_goes_down(tmp_path):
    (block,) = reported_blocks(written(tmp_path, TABLE))
    assert block.title == "reported, evaluation: last"
    assert block.header == ["game", "A", "B"]
    assert block.lines == [["Pong", "1?", "2.5?"], ["Qbert", "-16.4", ""], ["Asterix", "1.5M", ""]]
    (block,) = reported_blocks(written(tmp_path, OVER_GAMES.replace("Pong = 2.5", "Zaxxon = 2.5")))
    assert block.title == "the median"
    assert block.header == ["", "A", "B"]
    wide = TABLE.replace("Qbert = -16.4\nAsterix = 1_500_000.0\n", "")
    (block,) = reported_blocks(written(tmp_path, wide))
    assert block.header == ["algorithm", "Pong"]
    assert block.lines == [["A", "1?"], ["B", "2.5?"]]


def test_measured_scores_of_games_have_a_digit_after_the_point():
    assert formatted(load_table("cql_atari"), Score(16.61, 0.42)) == "16.6 ± 0.4"


def test_a_games_score_has_the_digits_that_were_printed():
    assert game_score(Score(15_791.5, 530.5)) == "15791.5±530.5"
    assert game_score(Score(2.39e6, 0.88e6)) == "2.39M±0.88M"
    assert game_score(Score(-5.63)) == "-5.63"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in table_names()
        if load_table(name).games and not (results_folder.SHIPPED / name).exists()
    ],
)
def test_a_table_of_games_is_whole_on_eighty_columns(on_eighty_columns, name):
    shown = on_eighty_columns(report.show_folder, name)
    table = load_table(name)
    assert max(map(len, shown.splitlines())) <= 80
    for row in table.rows.values():
        assert game_of(row.dataset) in shown
        for score in row.scores.values():
            assert game_score(score) in shown
    together = " ".join(shown.split())
    for defect in (*table.defects, *table.doubtful_datasets.values()):
        assert " ".join(defect.split()) in together


def test_a_recipe_stands_beside_no_normalised_scores_of_games():
    recipe = dataclasses.replace(load_recipe("brac_bc"), table="decision_transformer_atari")
    with pytest.raises(DatasetError, match="are normalised scores of games"):
        report.reported_of(recipe)


def test_single_games_of_a_table_over_many_games_stand_apart():
    recipe = load_recipe("batch_rl")
    row = next(row for row in recipe.rows if row.name == "REM/Pong/run_1")
    recipe = dataclasses.replace(recipe, rows=(row,))
    returns = [line(
        row=row.name, dataset=row.data.dataset, environment="Pong", seed=0, step=step,
        evaluate_every=recipe.evaluate_every, returns=[float(step == 125_000)]
    ) for step in range(62_500, recipe.steps + 1, 62_500)]  # fmt: skip
    (c,) = compare(report.reported_of(recipe), recipe, returns)
    assert (c.status, c.reported, c.measured) == ("stands apart", None, Score(1.0, None, (1.0,)))
    assert "values of many games together alone" in c.why


def test_a_games_margin_is_a_tenth_of_what_its_score_is_above_random():
    table = load_table("cql_atari")
    row = table.rows["CQL(H)/Breakout/1%"]
    assert table.scale(row) == (1.7, 126.62)
    assert table.margin_of(row) == pytest.approx((61.1 - 1.7) / 10)
    table = load_table("decision_transformer_atari")
    assert table.margin_of(table.rows["DT/Breakout"]) == pytest.approx(26.75)
