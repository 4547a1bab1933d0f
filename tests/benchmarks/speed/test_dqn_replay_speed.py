"""The speed file of DQN Replay: its log, and the arithmetic of its page, by hand."""

import numpy as np

from benchmarks.speed import dqn_replay as speed
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


def test_the_page_has_the_mark():
    assert speed.PAGE.read_text().count(speed.MARK) == 1


def test_the_cost_of_replaying_all():
    alone = {"name": "A: the emulator alone", "value": 4_000.0, "unit": "rows/s a core"}
    fast, slow = (
        {**alone, "name": f"{game}: replayed", "value": rate, "anchor": "", "ratio": rate / 4_000}
        for game, rate in (("A", 2_000.0), ("B", 500.0))
    )
    two = {"name": "A: `rl-datasets replay`, 2 workers", "unit": "rows/s", "ratio": 1.8}
    told = {"command": "the command", "machine": "a machine", "code_version": "1"}
    page = speed.cost_of_replaying({**told, "rows": [alone, fast, slow, {**two, "value": 1.0}]})
    # 15e9 / 2,000 = 7.5e6 s = 86.8 days; 16 workers at 90 % of their own rate, 6.03 days.
    assert "| A: replayed | 2,000 | 50% | 87 |" in page
    assert "| 1 | 86.8 | 347.2 |" in page
    assert "| 16 | 6.0 | 24.1 |" in page
    memory = {"name": "an episode", "value": 600.0}
    assert "| an episode | 600 |" in speed.memory_of_replaying({**told, "rows": [memory]})
