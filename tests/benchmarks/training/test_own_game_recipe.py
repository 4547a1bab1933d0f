"""A recipe of a user's own, of games, from its file to its report."""

import json

import pytest

from benchmarks.tables.reproduce import reproduce
from tests.benchmarks.training.game_runs import (
    PONG,
)

pytestmark = pytest.mark.usefixtures("quick_learners")


OWN = """
learner = "dqn"
seeds = [0]
steps = 4
batch_size = 2
evaluate_every = 4
episodes = 2
[atari]
max_episode_steps = 20
[[rows]]
name = "Pong, all"
dataset = "dqn_replay/Pong_run_1-recollected:1.1.0"
environment = "Pong"
[[rows]]
name = "Pong, early"
dataset = "dqn_replay/Pong_run_1-recollected:1.1.0"
environment = "Pong"
split = "checkpoint_00"
"""


def test_a_recipe_of_ones_own_is_reported_without_columns_for_what_nobody_reported(
    data_dir, tmp_path
):
    (tmp_path / "own.toml").write_text(OWN)
    page = reproduce(str(tmp_path / "own.toml"), data_dir=data_dir, runs_dir=tmp_path / "runs")
    text = page.with_suffix(".md").read_text()
    (header,) = [line for line in text.splitlines() if line.startswith("| row | measured")]
    assert header == "| row | measured on this project's own data | status |"
    assert "Pong on the ROM of ale-py 0.12.1, sticky actions 0.25, random actions 0.001" in text
    splits = json.loads((data_dir / PONG.data.version_path / "MANIFEST.json").read_text())["splits"]
    every = sum(split["transitions"] for split in splits.values())
    (whole,) = [line for line in text.splitlines() if line.startswith("| Pong, all | `")]
    assert f"| {every:,} |" in whole
    assert "{returns}" not in text
