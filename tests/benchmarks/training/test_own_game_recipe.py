"""A recipe of a user's own, of games, from its file to its report."""

import json

import numpy as np
import pytest

from benchmarks.tables.report import show_folder, write_report
from benchmarks.tables.reproduce import reproduce
from rl_datasets.errors import DatasetError
from tests.benchmarks.training.game_runs import PONG

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


def test_its_scores_are_normalised_by_the_agent_that_logged_its_data(data_dir, tmp_path, capsys):
    """The agent's log lies beside the data; it is a random one, and so its own random policy."""
    logs = data_dir.parent / "logs"
    returns = json.loads((logs / "Pong" / "1" / "returns.json").read_text())["episode_return"]
    best = max(float(np.mean(of_iteration)) for of_iteration in returns)
    own = OWN.replace("max_episode_steps = 20", "max_episode_steps = 100")
    (tmp_path / "own.toml").write_text(own)
    recipe = str(tmp_path / "own.toml")
    folder = reproduce(recipe, data_dir=data_dir, runs_dir=tmp_path / "runs").parent
    (described,) = {str(of["logged"]) for of in
                    json.loads((folder / "datasets.json").read_text()).values()}  # fmt: skip
    assert described == str({"agent": "random", "iterations": 2, "best": best})
    capsys.readouterr()
    show_folder(recipe, folder, "logged", "random")
    shown = capsys.readouterr().out
    assert "Normalised by logged" in shown
    assert f"{best:.8g}" in shown
    write_report(recipe, folder, "logged", "random")
    text = (folder / "report.md").read_text()
    assert "100 is the mean return of the best iteration of the agent" in text
    assert f"| Pong, early | Pong | -20.7 | {best:.8g} |" in text
    write_report(recipe, folder)
    assert "Normalised" not in (folder / "report.md").read_text()
    with pytest.raises(DatasetError, match="--random needs --normalize logged"):
        show_folder(recipe, folder, random="random")
    # A random policy's own log, of the same rules.
    log = json.loads((logs / "Pong" / "1" / "log.json").read_text())
    log["iterations"] = [{"episodes": 2, "mean_return": -19.5}]
    (tmp_path / "random" / "Pong" / "1").mkdir(parents=True)
    (tmp_path / "random" / "Pong" / "1" / "log.json").write_text(json.dumps(log))
    write_report(recipe, folder, "logged", str(tmp_path / "random"))
    assert f"| Pong, all | Pong | -19.5 | {best:.8g} |" in (folder / "report.md").read_text()
