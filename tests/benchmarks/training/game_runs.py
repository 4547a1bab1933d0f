"""Runs of games that the tests of offline learners share: two published logs, and a recipe."""

import dataclasses
import json
import pathlib

import numpy as np

from benchmarks.training import runner
from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.cells import plan
from benchmarks.training.preparation import Places
from benchmarks.training.recipe import Recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import Row
from builders.dqn_replay.dqn_replay_dataset_builder import Builder
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.publishing.publish import publish
from tests.benchmarks.changed_rows import changed

PONG = Row.of("Pong", "dqn_replay/Pong_run_1-recollected:1.1.0", "Pong")
INVADERS = Row.of("Invaders", "dqn_replay/SpaceInvaders_run_1-recollected:1.1.0", "SpaceInvaders")
RECIPE = Recipe(
    title="Tiny",
    table="tiny",
    learner="dqn",
    seeds=(0, 1),
    steps=12,
    batch_size=2,
    evaluate_every=4,
    episodes=2,
    rows=(PONG,),
    atari=AtariProtocol(evaluation_epsilon=0.5, max_episode_steps=20),
)
SHORT = dataclasses.replace(RECIPE, steps=4)
BY_FILES = changed(PONG, sampling="slimcql", sampling_options={"files": 1, "rows": 3, "redraw": 4})


def log_by_hand(folder: pathlib.Path, **log: object) -> str:
    """A few rows of a run of Space Invaders that says of itself what `log` says."""
    home = folder / "SpaceInvaders" / "1"
    with ReplayLog(home / "replay_logs", 30) as replay:
        for number in range(40):
            replay.add(np.full((84, 84), number, np.uint8), number % 6, 0, number % 10 == 9)
    plain = {"game": "SpaceInvaders", "run": 1, "time_limit": 27_000, "sticky_probability": 0.25}
    log = {name: value for name, value in {**plain, **log}.items() if value is not None}
    (home / "log.json").write_text(json.dumps(log))
    return str(home)


def publish_run(source: str, data_dir: pathlib.Path) -> pathlib.Path:
    return publish(Builder(source=source, config=Builder.config_of(source), data_dir=data_dir)).path


def run(data_dir, runs_dir, recipe=RECIPE, seeds=(0,), feed="arrays", **options):
    """Runs a recipe of one row; gives the lines of its first seed."""
    cells = plan(recipe, seeds=seeds)
    progress = options.pop("progress", lambda cell, step: None)
    runner.run_cells(cells, Places(data_dir, runs_dir, feed), progress, **options)
    return read_results(cells[0].folder(runs_dir) / RESULTS)


def measured(lines):
    """What must repeat: all but the seconds and the commit."""
    return [(line["seed"], line["step"], line["returns"], line["metrics"]) for line in lines]
