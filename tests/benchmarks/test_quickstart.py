"""The main job at a small size: every room of the house in one run, and nothing twice."""

import json

import numpy as np
import pytest

from benchmarks import quickstart
from rl_datasets.collection import policies

SMALL = quickstart.Size(
    transitions=3_000, bc_steps=20, bc_seeds=2, td3_bc_steps=20, evaluations=1, episodes=1
)


@pytest.fixture(scope="module")
def policy_path(tmp_path_factory):
    """A policy that nobody trained."""
    rng = np.random.default_rng(0)
    layers = [
        (rng.normal(size=(17, 8)).astype(np.float32), np.zeros(8, np.float32)),
        (rng.normal(size=(8, 12)).astype(np.float32), np.zeros(12, np.float32)),
    ]
    path = tmp_path_factory.mktemp("policy") / "untrained.npz"
    policies.save_policy(path, layers, {"trained": "no"})
    return path


def test_from_a_policy_to_a_score_and_a_second_run_reuses_it(tmp_path, policy_path, capsys):
    page = quickstart.run(tmp_path, SMALL, policy_path, processes=1)
    printed = capsys.readouterr().out
    for name in ("behaviour policy", "BC", "TD3+BC", "BC, reported", "3,206 ± 1,005"):
        assert name in printed
    text = page.with_suffix(".md").read_text()
    assert "brac/halfcheetah-eps1-recollected-sac-" in text
    assert "3,206 ± 1,005" in text
    assert "google-research" in text
    before = page.read_bytes()
    results = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.jsonl")}
    assert len(results) == 3

    assert quickstart.run(tmp_path, SMALL, policy_path, processes=1) == page
    assert page.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.jsonl")} == results
    assert "was done before" in capsys.readouterr().out
    lines = (tmp_path / "quickstart.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert 0 < second["seconds"] < first["seconds"]
    assert first["returns"] == second["returns"]
    assert first["returns"].keys() == {"behaviour policy", "BC", "TD3+BC", "BC, reported"}
