"""What a cell makes of its recipe: the learner's config, whose decay lasts as long as the run."""

import dataclasses

import numpy as np
import pytest

from benchmarks.training import runner
from benchmarks.training.cells import plan
from benchmarks.training.recipe import Recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import Row
from benchmarks.training.tasks import control
from learners import iql
from learners.registry import LEARNERS
from rl_datasets.serving.transitions import Transition
from tests.benchmarks import version_folders
from tests.benchmarks.changed_rows import changed

ROW = Row.of("data", "tiny/data:1.0.0", "Pendulum-v1")


def cell(budget: float, learner: str = "iql", **config):
    row = changed(ROW, learner=learner, config=config)
    (planned,) = plan(Recipe("Tiny", "tiny", "", (0,), 40, 4, 10, 1, (row,)), budget=budget)
    return planned


@pytest.mark.parametrize(
    ("config", "budget", "steps"),
    [
        ({}, 1.0, 40),
        ({}, 0.5, 20),
        ({"policy_decay_steps": 1000}, 0.5, 1000),
        ({"policy_decay_steps": None}, 0.5, None),
    ],
)
def test_a_decay_lasts_as_long_as_the_run(config, budget, steps):
    planned = cell(budget, discount=0.9, **config)
    assert planned.learner_config() == iql.Config(discount=0.9, policy_decay_steps=steps)


def test_a_learner_without_a_decay_is_as_the_recipe_has_it():
    planned = cell(0.5, "bc")
    assert planned.learner_config() == planned.recipe.learner_config()


def test_the_runner_trains_by_it(tmp_path, monkeypatch):
    made = []

    def make(config, spec):
        made.append(config)
        return iql.make(config, spec)

    entry = dataclasses.replace(LEARNERS["iql"], make=make)
    monkeypatch.setitem(LEARNERS, "iql", entry)
    zeros = np.zeros((50, 3), np.float32)
    data = Transition(zeros, zeros[:, :1], zeros[:, 0], zeros[:, 0] + 1, zeros, {})
    monkeypatch.setattr(control, "_transitions", lambda *args, **cut: data)
    version_folders.write(tmp_path / "data" / ROW.data.version_path)
    half = cell(0.5, hidden_sizes=[8])
    places = runner.Places(tmp_path / "data", tmp_path / "runs")
    runner.run_cells([half], places, lambda cell, step: None)
    assert made == [iql.Config(hidden_sizes=(8,), policy_decay_steps=20)]
    line = read_results(half.folder(tmp_path / "runs") / RESULTS)[-1]
    assert (line["step"], line["config"]["policy_decay_steps"]) == (20, 20)
