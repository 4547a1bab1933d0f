"""Scores over Atari games, by hand and against rliable's values."""

import numpy as np
import pytest

from benchmarks.reported.game_scores import FILE, columns
from benchmarks.tables import atari_normalizers, atari_scores
from benchmarks.tables.atari_normalizers import bounds, normalized
from rl_datasets.errors import DatasetError
from rl_datasets.sources.atari import ATARI_GAMES

# As the sources print them; of the online DQN the best mean of five runs, and the last one.
SOURCES = {
    "random": {"Alien": 227.8, "Pong": -20.7, "Skiing": -17098.1, "VideoPinball": 16256.9}
    | {"AirRaid": 579.25, "JourneyEscape": -19977.0, "ElevatorAction": 4387.0, "Pooyan": 371.2},
    "human": {"Alien": 7127.7, "Breakout": 30.5, "Seaquest": 42054.7, "Jamesbond": 302.8},
    "gamer_random": {"Alien": 228.8, "Jamesbond": 7.0, "Pong": -20.7},
    "gamer": {"Jamesbond": 29.0, "Qbert": 13455.0, "Pong": 14.6},
    "dqn_last": {"Asterix": 2711.41, "Breakout": 96.23, "Pong": 16.61, "Qbert": 10117.5}
    | {"Seaquest": 1600.66, "AirRaid": 7479.5, "MontezumaRevenge": 0.0, "Zaxxon": 4538.57},
    "dqn_best": {"Asterix": 3433.45, "Breakout": 126.62, "Pong": 16.61, "Qbert": 10398.71}
    | {"Seaquest": 2132.92, "CrazyClimber": 109635.04, "Skiing": -15711.62, "Zaxxon": 4824.65},
}


@pytest.mark.parametrize("column", SOURCES)
def test_what_scores_are_normalised_by_is_what_its_source_says(column):
    found = columns()[column]
    assert {game: found[game] for game in SOURCES[column]} == SOURCES[column]


def test_every_normaliser_is_of_games_there_are_and_says_where_it_is_from():
    assert {name: len(of) for name, of in columns().items()} == {
        "random": 60, "human": 55, "gamer_random": 60, "gamer": 55, "dqn_best": 60, "dqn_last": 60,
    }  # fmt: skip
    for games in columns().values():
        assert games.keys() <= ATARI_GAMES.keys()
    text = FILE.read_text(encoding="utf-8")
    assert text.count("\nsource = ") == text.count("\nlicense = ") == len(columns())


def test_the_best_iteration_is_no_worse_than_the_last():
    assert all(columns()["dqn_best"][game] >= of for game, of in columns()["dqn_last"].items())


def test_gamers_are_the_humans_but_for_what_is_said():
    human, gamer, random = (columns()[name] for name in ("human", "gamer", "random"))
    assert {game for game in human if human[game] != gamer[game]} == {"Jamesbond"}
    others = columns()["gamer_random"]
    assert {game for game in random if random[game] != others[game]} == {"Alien", "Jamesbond"}


@pytest.mark.parametrize(
    ("normalization", "game", "score", "percent"),
    [
        ("batch_rl", "Breakout", 126.62, 100),
        ("batch_rl", "Breakout", 1.7, 0),
        ("batch_rl", "Pong", -2.045, 50),
        # The online DQN is below a random policy here: what is random is 100, and more is better.
        ("batch_rl", "ElevatorAction", 4387, 100),
        ("batch_rl", "ElevatorAction", 1723.45, 0),
        ("rl_unplugged", "ElevatorAction", 1723.45, 100),
        ("rl_unplugged", "Breakout", 251.54, 200),
        ("dqn_last", "Pong", 16.61, 100),
        ("human", "Breakout", 16.1, 50),
        ("gamer", "Jamesbond", 18, 50),
    ],
)
def test_a_score_is_normalised_by_hand(normalization, game, score, percent):
    assert normalized(normalization, game, score) == pytest.approx(percent)
    assert normalized(normalization, game, [score, score]).shape == (2,)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: bounds("human", "Pooyan"), "Pooyan cannot be normalised.*'human' is known"),
        (lambda: bounds("dqn_last", "MontezumaRevenge"), "both score 0"),
        (lambda: bounds("human", "Breakot"), "'Breakot', did you mean 'Breakout'"),
        (lambda: bounds("humans", "Breakout"), "unknown normalisation 'humans'.*human"),
        (lambda: atari_normalizers.games_of("x"), "unknown normalisation 'x'"),
    ],
)
def test_what_cannot_be_normalised_is_refused(call, told):
    with pytest.raises(DatasetError, match=told):
        call()


def test_the_games_of_a_normalisation_are_those_that_have_both_scores():
    assert len(atari_normalizers.games_of("batch_rl")) == 60
    without = set(ATARI_GAMES) - set(atari_normalizers.games_of("human"))
    assert without == {"AirRaid", "Carnival", "ElevatorAction", "JourneyEscape", "Pooyan"}
    assert set(ATARI_GAMES) - set(atari_normalizers.games_of("dqn_last")) == {"MontezumaRevenge"}


RUNS = {
    "Asterix": (2500, 4100, 900, 3300),
    "Breakout": (90, 150, 61, 130),
    "Pong": (15.5, 17, -3, 12),
    "Qbert": (9000, 12000, 14012, 400),
    "Seaquest": (780, 3000, 150, 5900),
}


def test_the_aggregates_are_those_that_rliable_has():
    """rliable 1.2.0's values, of 20,000 resamples: aggregate_median and aggregate_iqm."""
    score = atari_scores.over_games("rl_unplugged", RUNS)
    assert (score.games, score.runs) == (tuple(RUNS), 4)
    assert score.median.value == pytest.approx(84.89433237)
    assert score.median.interval == pytest.approx((64.837, 102.706), abs=0.6)
    assert score.interquartile_mean.value == pytest.approx(87.54568823)
    assert score.interquartile_mean.interval == pytest.approx((62.914, 106.919), abs=1.5)


def test_games_above_the_dqn_by_hand():
    # Means: 2700 of 3433, 107.75 of 126.6, 10.4 of 16.6, 8853 of 10399, 2457.5 of 2133.
    score = atari_scores.over_games("batch_rl", RUNS)
    assert score.above.value == 1
    low, high = score.above.interval
    assert 0 <= low < 1 < high <= 5
    # Against its last iteration, 107.75 is above 96.23 as well.
    assert atari_scores.over_games("dqn_last", RUNS).above.value == 2
    # Where the DQN is below a random policy, above the DQN is still above the DQN.
    assert atari_scores.over_games("batch_rl", {"ElevatorAction": [1700]}).above.value == 0
    assert atari_scores.over_games("batch_rl", {"ElevatorAction": [1800]}).above.value == 1


def test_the_performance_profile_is_rliables():
    """rliable 1.2.0's create_performance_profile, of 20,000 resamples."""
    profile = atari_scores.performance_profile("rl_unplugged", RUNS, [0, 25, 50, 100, 150])
    assert profile.shares.tolist() == [1.0, 0.85, 0.7, 0.4, 0.05]
    low, high = profile.interval.tolist()
    assert low == pytest.approx([1.0, 0.7, 0.5, 0.2, 0.0])
    assert high == pytest.approx([1.0, 1.0, 0.9, 0.6, 0.15])


def test_single_runs_have_no_interval():
    runs = {game: of[:1] for game, of in RUNS.items()}
    score = atari_scores.over_games("batch_rl", runs)
    assert score.median.interval is score.above.interval is None
    profile = atari_scores.performance_profile("batch_rl", runs, [0, 100])
    assert profile.interval is None
    assert profile.shares.tolist() == [1, 0]


def test_runs_are_drawn_within_games_and_by_one_seed():
    first, again = (atari_scores.over_games("batch_rl", RUNS) for _ in range(2))
    assert first == again
    flat = {game: [of[0]] * 3 for game, of in RUNS.items()}
    score = atari_scores.over_games("batch_rl", flat)
    assert score.median.interval == pytest.approx((score.median.value,) * 2)


def test_the_order_of_games_changes_nothing_and_those_named_alone_count():
    backwards = dict(reversed(RUNS.items()))
    score = atari_scores.over_games("batch_rl", backwards)
    assert score.median.value == atari_scores.over_games("batch_rl", RUNS).median.value
    pong = atari_scores.over_games("batch_rl", RUNS, ["Pong"])
    assert pong.median.value == pytest.approx(100 * (10.375 + 20.7) / (16.61 + 20.7))


@pytest.mark.parametrize(
    ("runs", "games", "told"),
    [
        (RUNS, ["Pong", "Alien", "Hero"], "no score of Alien, Hero"),
        ({"Pong": [1, 2], "Qbert": [1, 2, 3]}, None, "Pong has 2, Qbert has 3"),
        ({"Pong": []}, None, "Pong has 0"),
        ({}, None, "there is no game"),
        ({"Pnog": [1]}, None, "'Pnog', did you mean 'Pong'"),
        ({"Pooyan": [1]}, None, "'human' is known"),
    ],
)
def test_runs_that_cannot_be_taken_together_are_refused(runs, games, told):
    with pytest.raises(DatasetError, match=told):
        atari_scores.over_games("human", runs, games)


def test_the_matrix_is_of_runs_by_games():
    found = atari_scores.matrix({"Pong": [1, 2], "Qbert": [3, 4]}, ["Qbert", "Pong"])
    assert np.array_equal(found, [[3, 1], [4, 2]])
