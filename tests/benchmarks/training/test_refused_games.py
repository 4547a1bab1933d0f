"""Data that a game is not: refused in one sentence before a training step is spent."""

import dataclasses

import numpy as np
import pytest
from dm_env import specs

from benchmarks.training.row import Row
from benchmarks.training.tasks.choice import task_of
from rl_datasets.errors import DatasetError
from rl_datasets.sources.atari import atari_episode_spec
from tests.benchmarks import tiny_recipe, version_folders

ROW = Row.of("Pong", "dqn_replay/Pong_run_1:1.0.0", "Pong")
RECIPE = tiny_recipe.of(ROW, evaluate_every=4)
PONG = atari_episode_spec(6)


def task(tmp_path, recipe=RECIPE, spec=PONG, **lineage):
    lineage = {"game": "Pong", "sticky_probability": 0.25, "rom_set": "ale-py 0.12.1", **lineage}
    version_folders.write(tmp_path / ROW.data.version_path, None, spec, **lineage)
    return task_of(recipe, ROW, tmp_path)


def test_data_of_the_game_are_taken(tmp_path):
    assert task(tmp_path).spec().num_actions == 6


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            dataclasses.replace(PONG, observation=specs.Array((96, 96, 1), np.uint8)),
            r"observations of shape \(96, 96, 1\), and games are scored on frames of \(84, 84, 1\)",
        ),
        (
            dataclasses.replace(PONG, observation={"screen": specs.Array((84, 84, 1), np.uint8)}),
            "observations of shape None, and games are scored",
        ),
        (atari_episode_spec(18), "Pong has the 6 of its minimal set"),
        (
            dataclasses.replace(PONG, action=specs.BoundedArray((1,), np.float32, -1, 1)),
            "Pong has the 6 of its minimal set",
        ),
    ],
    ids=["frames", "named", "actions", "continuous"],
)
def test_other_frames_or_actions_are_refused(tmp_path, spec, why):
    with pytest.raises(DatasetError, match=f"dqn_replay/Pong_run_1:1.0.0 has .*{why}"):
        task(tmp_path, spec=spec)


def test_another_game_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"is of the game Breakout .* environment is Pong"):
        task(tmp_path, game="Breakout")


def test_a_damaged_manifest_is_not_said_to_be_missing(tmp_path):
    task(tmp_path)
    (tmp_path / ROW.data.version_path / "MANIFEST.json").write_text("{")
    with pytest.raises(DatasetError, match=r"MANIFEST\.json is (?!.*publish it first)"):
        task_of(RECIPE, ROW, tmp_path)


def test_roms_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="1978"):
        task(tmp_path, rom_set="ale-py 1978")


def test_a_learner_of_another_kind_of_action_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="learner td3_bc is made for a Spec"):
        task(tmp_path, recipe=dataclasses.replace(RECIPE, learner="td3_bc"))
