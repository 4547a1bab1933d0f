"""What a report says of the data of games."""

import numpy as np
import pytest

from benchmarks.tables import report_text, results_folder
from benchmarks.training.row import Row
from rl_datasets.published import manifest
from rl_datasets.published.version import Version
from tests.benchmarks import version_folders
from tests.benchmarks.changed_rows import changed


def test_returns_of_several_splits_are_those_of_all_their_episodes():
    of = [np.array([1.0, 2.0, 9.0]), np.array([4.0]), np.array([-3.0, 5.0])]
    splits = [manifest.statistics([10] * len(returns), list(returns)) for returns in of]
    together = results_folder._together(splits)
    every = np.concatenate(of)
    assert (together["episodes"], together["transitions"]) == (6, 60)
    assert together["episode_return"]["mean"] == pytest.approx(every.mean())
    assert together["episode_return"]["standard_deviation"] == pytest.approx(every.std())
    assert "raw_return" not in together


def test_a_log_that_was_replayed_tells_its_agents_score_in_the_games_own_points(tmp_path):
    """By hand: raw returns of 100 and 300 in one split, of one episode of two 800 in the other."""
    splits = {}
    for name, returns, raw in (("a", [1.0, 3.0], [100.0, 300.0]), ("b", [2.0, 2.0], [800.0])):
        splits[name] = {
            **manifest.statistics([10, 10], returns),
            "flags": {"raw_return_is_known": len(raw)},
            "raw_return": manifest.of_returns(raw),
        }
    version_folders.write(tmp_path / "dqn_replay" / "Pong_run_1-replayed" / "1.0.0")
    version = tmp_path / "dqn_replay" / "Pong_run_1-replayed" / "1.0.0"
    plan = manifest.read(version)[0]["plan"]
    files = {f"dqn_replay-{name}.tfrecord-0": {"size": 999, "sha256": ""} for name in splits}
    manifest.write(version, manifest.make(plan, splits, files, counted={}, skipped={}))
    opened = Version.open(version)
    row = Row.of("Pong", "dqn_replay/Pong_run_1-replayed:1.0.0", "Pong")
    text = report_text._data({"all": results_folder.describe(changed(row, split="all"), opened)})
    assert "| 4 | 40 | 400 ± 294, raw |" in text
    text = report_text._data({"a": results_folder.describe(changed(row, split="a"), opened)})
    assert "| 2 | 20 | 200 ± 100, raw |" in text


def test_the_agent_that_logged_is_described_by_its_best_iteration(tmp_path):
    version = tmp_path / "dqn_replay" / "Pong_run_1-recollected" / "1.0.0"
    iterations = [{"steps": 9, "episodes": 2, "mean_return": of} for of in (-20.0, 3.5, 1.0)]
    version_folders.write(version, None, splits=["a"], agent="dqn", iterations=iterations)
    row = Row.of("Pong", "dqn_replay/Pong_run_1-recollected:1.0.0", "Pong")
    described = results_folder.describe(row, Version.open(version))
    assert described["logged"] == {"agent": "dqn", "iterations": 3, "best": 3.5}
    version_folders.write(version, None, splits=["a"], agent="qr_dqn", iterations=7)
    assert "logged" not in results_folder.describe(row, Version.open(version))
