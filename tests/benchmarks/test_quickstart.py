"""The main job at a small size: every room of the house in one run, and nothing twice."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import quickstart
from rl_datasets import extras
from rl_datasets.collection import policies
from rl_datasets.published import catalog

SMALL = quickstart.Size(
    transitions=3_000,
    evaluations=1,
    episodes=1,
    parts=tuple(
        dataclasses.replace(part, steps=20, seeds=min(part.seeds, 2))
        for part in quickstart.Size().parts
    ),
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
    names = ["data, pure", "BC, pure", "BC, pure, reported", "data, eps1", "TD3+BC, eps1"]
    for name in (*names, "4,465 ± 33"):
        assert name in printed
    has_reverb = extras.is_installed("reverb")
    feed = "a Reverb server" if has_reverb else "arrays in memory, because Reverb is not installed"
    assert f"training from {feed}" in " ".join(printed.split())
    text = page.with_suffix(".md").read_text()
    assert "4,465 ± 33" in text
    # A run has one, whatever the number of seeds.
    assert text.count("the last 1 evaluations of 20 steps, by seed: ") == 2
    assert "google-research" in text
    versions, errors = catalog.list_published(tmp_path)
    published = [version.name for version in versions]
    assert not errors
    assert len(published) == 2
    for name, mixture in zip(published, ("eps1", "pure"), strict=True):
        assert name.startswith(f"brac/halfcheetah-{mixture}-recollected-")
        assert name in text
    before = page.read_bytes()
    results = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.jsonl")}
    assert len(results) == 3

    assert quickstart.run(tmp_path, SMALL, policy_path, processes=1) == page
    assert page.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.jsonl")} == results
    assert "was done by an earlier run" in capsys.readouterr().out
    first, second = map(json.loads, (page.parent / "quickstart.jsonl").read_text().splitlines())
    assert 0 < second["seconds"] < first["seconds"]
    assert first["returns"] == second["returns"]
    assert list(first["returns"]) == names
