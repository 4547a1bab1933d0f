"""The agent that ships, and the logs of it: played again from their actions, they are the same."""

import hashlib
import json
import pathlib

import numpy as np
import pytest

from benchmarks.training.online import played_log
from benchmarks.training.teacher import Teacher
from rl_datasets import files
from rl_datasets.sources import dqn_replay

FOLDER = pathlib.Path(played_log.__file__).parents[2] / "results" / "trained_agents"
AGENT = FOLDER / "Pong.npz"


def logged(run):
    return json.loads((FOLDER / f"Pong_run_{run}.json").read_text())


def test_the_agent_reached_the_return_that_ends_its_training():
    teacher = Teacher.open(AGENT)
    tests = logged(3)["agent_facts"]["tests"]
    assert teacher.game == "Pong"
    assert max(tests) == tests[-1] >= 20
    assert teacher.values(np.zeros((2, 84, 84, 4), np.uint8)).shape == (2, 6)


@pytest.mark.parametrize("run", [1, 2, 3])
def test_a_log_names_the_agent_and_has_as_many_actions_as_transitions(run):
    facts = logged(run)
    assert facts["agent_sha256"] == files.sha256_of(AGENT)
    with np.load(FOLDER / f"Pong_run_{run}.npz") as arrays:
        assert arrays["length"].sum() == len(arrays["action"]) == facts["rows"]


def test_the_smallest_log_is_the_same_played_again(tmp_path):
    facts = logged(3)
    home = played_log.log_played(
        AGENT,
        tmp_path,
        rows=10_000,
        epsilon=facts["epsilon"],
        run=3,
        checkpoint_rows=20_000,
        actions_path=FOLDER / "Pong_run_3.npz",
    )
    digest = hashlib.sha256()
    for unit in dqn_replay.read_run(home / dqn_replay.FOLDER_NAME, facts["time_limit"]).units:
        for episode in dqn_replay.read_episodes(unit):
            for array in (episode.observation, episode.action, episode.reward):
                digest.update(np.ascontiguousarray(array).tobytes())
    assert digest.hexdigest() == facts["episodes_sha256"]
