"""Measured scores of games, normalised: by published scores, and by the agent that logged them."""

import json

import pytest

from benchmarks.tables import comparison
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.normalized_rows import HEADER, explanation, normalized_rows
from benchmarks.tables.reported import Score
from benchmarks.training.row import Row
from rl_datasets.errors import DatasetError

SCORED_WITH = {"rom_md5": "abc", "sticky_probability": 0.25, "max_episode_steps": 27_000}


def measured(name: str, game: str, *seeds: float, algorithm: str = "", **options) -> Comparison:
    row = Row.of(name, f"dqn_replay/{game}_run_1-recollected:1.1.0", game,
                 algorithm=algorithm, **options)  # fmt: skip
    score = Score.over_seeds(seeds) if seeds else None
    return Comparison(row, None, score, comparison.APART, "", None, None, {})


PONG = measured("Pong", "Pong", 6.0, 8.0)
BREAKOUT = measured("Breakout", "Breakout", 51.7)
LINES = [{"row": "Pong", **SCORED_WITH}, {"row": "Breakout", **SCORED_WITH}]
LOGGED = {
    "Pong": {"logged": {"agent": "dqn", "iterations": 3, "best": 14.0}},
    "Breakout": {"logged": {"agent": "dqn", "iterations": 3, "best": 101.7}},
}


def log_random(folder, game="Pong", run=1, **changes):
    home = folder / game / str(run)
    home.mkdir(parents=True)
    log = {
        **{"game": game, "run": run, "time_limit": 27_000, "agent": "random"},
        **{"rom_md5": "abc", "sticky_probability": 0.25},
        "iterations": [
            {"steps": 10, "episodes": 3, "mean_return": -20.0},
            {"steps": 10, "episodes": 1, "mean_return": -16.0},
        ],
    }
    (home / "log.json").write_text(json.dumps(log | changes))
    return str(folder)


def test_by_the_best_iteration_of_the_agent_that_logged():
    """By hand, with dqn_zoo's random scores: (7 + 20.7) / 34.7, and (51.7 - 1.7) / 100."""
    block = normalized_rows([PONG, BREAKOUT], LINES, LOGGED, "logged")
    assert block.header == HEADER
    assert block.lines == [
        ["Pong", "Pong", "-20.7", "14", "7", "79.8"],
        ["Breakout", "Breakout", "1.7", "101.7", "51.7", "50.0"],
    ]


def test_by_a_random_policy_that_was_measured(tmp_path):
    """By hand: -19 over all four episodes, so (7 + 19) / (14 + 19)."""
    source = log_random(tmp_path)
    log_random(tmp_path, run=2, agent="dqn", iterations=[])
    block = normalized_rows([PONG], LINES, LOGGED, "logged", source)
    assert block.lines == [["Pong", "Pong", "-19", "14", "7", "78.8"]]
    log_random(tmp_path, run=3, iterations=[{"episodes": 4, "mean_return": -21.0}])
    block = normalized_rows([PONG], LINES, LOGGED, "logged", source)
    assert block.lines[0][2] == "-20"
    assert f"`{source}`" in explanation("logged", source)


def test_by_the_teacher_of_a_student():
    """By hand: a mean of 19.3 over two seeds' teachers, so (7 + 20.7) / 40."""
    lines = [
        {**LINES[0], "seed": seed, "metrics": metrics}
        for seed, metrics in [
            (0, {"loss": 1.0}),
            (0, {"teacher_return": 18.6}),
            (1, {"teacher_return": 20.0}),
            (1, {"teacher_return": 20.0}),
        ]
    ]
    block = normalized_rows([PONG], lines, {}, "teacher")
    assert block.lines == [["Pong", "Pong", "-20.7", "19.3", "7", f"{100 * 27.7 / 40:.1f}"]]
    assert "the row's teacher, evaluated as the student is" in explanation("teacher", None)
    with pytest.raises(DatasetError, match="row 'Pong' has no teacher whose return was measured"):
        normalized_rows([PONG], lines[:1], {}, "teacher")
    lines[1]["metrics"] = lines[2]["metrics"] = lines[3]["metrics"] = {"teacher_return": -21.0}
    with pytest.raises(DatasetError, match=r"no better than a random policy, -21 against -20\.7"):
        normalized_rows([PONG], lines, {}, "teacher")


def test_by_published_scores():
    """By hand: dqn_zoo's human plays Pong at 14.6."""
    block = normalized_rows([PONG], [], {}, "human")
    assert block.lines == [["Pong", "Pong", "-20.7", "14.6", "7", f"{100 * 27.7 / 35.3:.1f}"]]
    (other,) = normalized_rows([PONG], LINES, LOGGED, "logged", "gamer_random").lines
    assert other[2] == "-20.7"


def test_an_algorithm_has_the_median_over_its_games_and_a_game_the_mean_of_its_rows():
    rows = [
        measured("a/Pong", "Pong", -20.7, algorithm="a"),  # 0
        measured("a/Pong 2", "Pong", 14.6, algorithm="a"),  # 100
        measured("a/Breakout", "Breakout", 1.7, algorithm="a"),  # 0
        measured("a/Boxing", "Boxing", 12.1, algorithm="a"),  # 100
        measured("a/Enduro", "Enduro", algorithm="a"),
        measured("b/Pong", "Pong", 0.0, algorithm="b"),
    ]
    block = normalized_rows(rows, [], {}, "human")
    assert [line[0] for line in block.lines][-2:] == ["b/Pong", "a median"]
    assert block.lines[-1][1:] == ["3 games", "", "", "", "50.0"]


@pytest.mark.parametrize(
    ("rows", "datasets", "way", "random", "said"),
    [
        ([PONG], LOGGED, "online", None, r"unknown normalisation 'online', choose .*, logged"),
        ([PONG], LOGGED, "human", "random", "human has a random score of its own: leave out"),
        ([PONG], {}, "logged", None, r"say of dqn_replay/Pong.* no iterations .* 'Pong' would"),
        ([PONG], {"Pong": {}}, "logged", None, "only data of `rl-datasets log-game` have them"),
        (
            [PONG],
            {"Pong": {"logged": {"agent": "dqn", "iterations": 1, "best": -20.7}}},
            *("logged", None, "never did better than a random policy, -20.7 against -20.7"),
        ),
        ([PONG], LOGGED, "logged", "nowhere", "nowhere is neither random nor gamer_random nor a"),
        ([measured("x", "Pong")], LOGGED, "logged", None, "nothing to normalise: run one"),
    ],
)
def test_what_cannot_be_normalised_is_refused(rows, datasets, way, random, said):
    with pytest.raises(DatasetError, match=said):
        normalized_rows(rows, LINES, datasets, way, random)


def test_a_row_that_is_not_of_a_game_is_refused():
    row = Row.of("a", "brac/a-recollected:1.0.0", "Hopper-v4")
    hopper = Comparison(row, None, Score.over_seeds([1.0]), comparison.APART, "", None, None, {})
    with pytest.raises(DatasetError, match="'a' is of Hopper-v4, and only scores of Atari games"):
        normalized_rows([hopper], [], {}, "logged")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent": "dqn"}, "holds no run of a random agent in Pong: log one with `rl-datasets"),
        ({"rom_md5": "def"}, "with rom_md5 def, and row 'Pong' was scored with abc: log one"),
        ({"sticky_probability": 0.0}, r"sticky_probability 0.0, and row 'Pong' .* with 0.25"),
        ({"time_limit": 100}, r"time_limit 100, and row 'Pong' .* with 27000"),
    ],
)
def test_a_random_policy_that_played_otherwise_is_refused(tmp_path, changes, said):
    with pytest.raises(DatasetError, match=said):
        normalized_rows([PONG], LINES, LOGGED, "logged", log_random(tmp_path, **changes))
