"""The speed file of DQN Replay: its log, and the arithmetic of its page, by hand."""

import numpy as np

from benchmarks.speed import dqn_replay as speed
from benchmarks.speed import replaying_cost
from rl_datasets import frames
from rl_datasets.sources import dqn_replay


def test_the_log_is_of_whole_checkpoints(tmp_path):
    speed.write_log(tmp_path, checkpoints=2, capacity=1_200)
    run = dqn_replay.read_run(tmp_path)
    assert [unit.number for unit in run.units] == [0, 1]
    # Rows 0 to 2,398: whole episodes of 500 rows and 3 of padding, the fifth cut at row 2,398.
    spans = [span for unit in run.units for span in unit.spans]
    assert [span.stop - span.start for span in spans] == [500, 500, 500, 500, 384]


def test_frames_are_as_large_as_a_games():
    film = speed.synthetic_frames(50)
    size = np.mean([len(png) for png in frames.encode_png(film[..., None])])
    assert 1_000 < size < 2_200


def test_the_cost_of_all():
    measured = {
        "command": "the command",
        "machine": "a machine",
        "code_version": "1",
        "rows": [
            {"name": "publish", "value": 20_000.0, "ratio": 0.7},
            {"name": "publish, 2 workers", "value": 38_000.0, "ratio": 1.8},
            {"name": "published", "value": 1_600.0},
            {"name": "16 checkpoints of 50,000 rows: peak memory", "value": 250.0},
        ],
    }
    page = speed.cost_of_all(measured)
    assert "| 50 core seconds |" in page
    # 15e9 / 20e3 = 750,000 s = 8.68 days; 16 workers at 90 % of their own rate, 0.603 days.
    assert "| 1 | 8.7 |" in page
    assert "| 16 | 0.6 |" in page
    assert "| 24 TB |" in page


def test_the_cost_of_replaying_all():
    def log(game, rate, whole=True, on="atari-py 0.2.5"):
        sets = {"recorded_on": on, "replayed_on": "atari-py 0.2.5"}
        return {"game": game, "rows": 500, "whole": whole, "rows_per_second": rate, **sets}

    logs = [log("A", 1_000), log("B", 400), log("C", 9, False), log("A", 1, on="ale-py 0.12.1")]
    games = {"command": "the command", "machine": "a machine", "code_version": "1", "logs": logs}
    lines = "\n".join(replaying_cost.cost_of_all(games, 20_000.0, 0.9))
    assert "Of 3 games the first 500 rows" in lines
    assert "2 whole, at 400 to 1,000 rows/s on a core, 700 at the median" in lines
    assert "Below 500: B (400)." in lines
    assert "Not whole, and not in what follows: C." in lines
    # 250e6 rows of each at 1,000 and 400 rows/s: 875,000 s; published at 20,000: 25,000 s.
    assert "| the search, 0.50 billion rows | 10 |" in lines
    assert "| publishing | 0.3 |" in lines
    assert "| 1 | 10 |" in lines
    assert "| 100 | 0.1 |" in lines


def test_the_page_has_the_mark():
    assert speed.PAGE.read_text().count(speed.MARK) == 1
