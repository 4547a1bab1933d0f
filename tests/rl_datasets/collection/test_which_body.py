"""Rows name the body that made them: rows made here, and those of published files."""

import dataclasses

import numpy as np
import pytest
from dm_env import specs
from typer.testing import CliRunner

from rl_datasets import cli
from rl_datasets.collection import collector, environments, which_body
from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.sources import brac
from tests.rl_datasets.exporting import versions
from tests.rl_datasets.sources import d4rl_files


def episodes(environment, seeds=(0,), length=60):
    """Random actions; extras have the states after the actions, as D4RL's v2 files do."""
    made = []
    for seed in seeds:
        env = environments.make_gymnasium(environment)
        observation, _ = env.reset(seed=seed)
        rng, observations, rows = np.random.default_rng(seed), [observation], []
        for _ in range(length):
            action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
            observation, reward, terminated, _, _ = env.step(action)
            data = env.unwrapped.data
            observations.append(observation)
            rows.append((action, reward, data.qpos.copy(), data.qvel.copy()))
            if terminated:
                break
        action, reward, qpos, qvel = (np.array(each) for each in zip(*rows, strict=True))
        made.append(
            Episode.from_transitions(
                np.array(observations, np.float32),
                action,
                reward,
                is_terminal=terminated,
                extras={"qpos": qpos.astype(np.float32), "qvel": qvel.astype(np.float32)},
            )
        )
    return made


def compared(made, task=None, rows=None):
    return which_body.investigate("these", lambda: iter(made), task, rows)


def without_states(made):
    return [dataclasses.replace(each, extras={}) for each in made]


@pytest.mark.parametrize("has_states", [True, False])
@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ("Ant-v2", "Ant-v2 made these rows."),
        ("Ant-v4", "Ant-v4 and Ant-v5 make the same rows: their bodies are the same."),
        ("Ant-v5", "Ant-v4 and Ant-v5 make"),
        ("HalfCheetah-v2", "HalfCheetah-v2 made"),
        ("HalfCheetah-v4", "HalfCheetah-v4 and HalfCheetah-v5 make"),
        ("Hopper-v2", "Hopper-v2 made"),
        ("Hopper-v5", "Hopper-v4 and Hopper-v5 make"),
        ("Walker2d-v2", "Walker2d-v2 made"),
        ("Walker2d-v4", "Walker2d-v4 made"),
        ("Walker2d-v5", "Walker2d-v5 made"),
    ],
)
def test_rows_name_their_body(environment, named, has_states):
    made = episodes(environment, seeds=range(6), length=30)
    found = compared(made if has_states else without_states(made))
    assert which_body.verdict(found).startswith(named)
    of_it = next(each for each in found if each.environment == environment)
    assert np.percentile(of_it.reward_error, 90) < (1e-2 if "Ant" in environment else 1e-6)
    assert not of_it.terminals_differ.any()


def test_a_body_of_no_version_is_named_by_none(monkeypatch):
    made = episodes("Hopper-v4", seeds=range(4))
    made = [dataclasses.replace(each, action=each.action * np.float32(0.9)) for each in made]
    assert which_body.verdict(compared(made)).startswith("No body of MuJoCo")


def test_terminals_and_rewards_are_compared():
    made = episodes("Hopper-v2", seeds=range(3))
    assert all(each.is_terminal[-1] for each in made)
    wrong = [
        dataclasses.replace(
            each, is_terminal=np.zeros_like(each.is_terminal), reward=each.reward + np.float32(0.25)
        )
        for each in made
    ]
    of_v2 = compared(wrong)[0]
    assert of_v2.is_exact
    assert of_v2.terminals_differ.sum() == 3
    np.testing.assert_allclose(of_v2.reward_error, 0.25, atol=1e-3)


def test_stored_states_stand_for_clipped_velocities():
    made = episodes("Walker2d-v2", seeds=range(4))
    clipped = np.concatenate([(np.abs(e.observation[:-1, 8:]) >= 10).any(axis=1) for e in made])
    assert 10 < clipped.sum() < len(clipped) - 10
    with_states = which_body.steps_of(made, "Walker2d")
    assert len(with_states) == len(clipped)
    # The first row of an episode has no row before it.
    assert with_states.is_stored.sum() == len(clipped) - 4
    assert np.abs(with_states.qvel).max() > 10
    bare = which_body.steps_of(without_states(made), "Walker2d")
    assert len(bare) == (~clipped).sum()
    assert not bare.is_stored.any()


def test_states_of_the_row_itself_count_too():
    (made,) = episodes("Walker2d-v2", length=30)
    shifted = {name: np.roll(field, 1, axis=0) for name, field in made.extras.items()}
    steps = which_body.steps_of([dataclasses.replace(made, extras=shifted)], "Walker2d")
    ours = which_body.steps_of([made], "Walker2d")
    np.testing.assert_array_equal(steps.qpos[1:], ours.qpos[1:])
    assert steps.is_stored[1:].all()


def test_states_of_other_rows_do_not_count():
    (made,) = episodes("HalfCheetah-v2")
    one = {name: np.repeat(field[-1:], len(field), axis=0) for name, field in made.extras.items()}
    as_in_v1 = dataclasses.replace(made, extras=one)
    assert not which_body.steps_of([as_in_v1], "HalfCheetah").is_stored.any()
    assert which_body.verdict(compared([as_in_v1])) == "HalfCheetah-v2 made these rows."


def test_a_final_observation_that_was_never_stored_is_left_out():
    (made,) = episodes("Hopper-v2")
    observation = made.observation.copy()
    observation[-1] = 0
    steps = which_body.steps_of([dataclasses.replace(made, observation=observation)], "Hopper")
    assert len(steps) == made.num_transitions - 1


@pytest.mark.parametrize("rows", [1, 7, 50, 399, 400, 401, None])
def test_rows_are_spread_evenly(rows):
    made = [
        Episode.from_transitions(
            np.ones((length + 1, 17)), np.zeros((length, 6)), np.arange(length), is_terminal=False
        )
        for length in (50, 1, 249, 100)
    ]
    first = np.cumsum([0, 50, 1, 249])
    made = [
        dataclasses.replace(each, reward=each.reward + begin)
        for each, begin in zip(made, first, strict=True)
    ]
    chosen = which_body.steps_of(made, "HalfCheetah", rows).reward
    assert len(chosen) == min(rows or 400, 400)
    assert chosen[0] == 0
    gaps = np.diff(chosen)
    if len(gaps):
        assert gaps.min() >= 1
        assert gaps.max() <= 2 * gaps.min() + 1
        assert chosen[-1] >= 400 - 2 * gaps.max()


def content(made):
    """The rows of episodes in D4RL's layout."""
    ends = np.cumsum([each.num_transitions for each in made]) - 1
    terminals, timeouts = np.zeros((2, ends[-1] + 1), np.bool_)
    terminals[ends] = [each.is_terminal[-1] for each in made]
    timeouts[ends] = ~terminals[ends]
    return {
        "observations": np.concatenate([each.observation[:-1] for each in made]),
        "actions": np.concatenate([each.action[:-1] for each in made]),
        "rewards": np.concatenate([each.reward[:-1] for each in made]),
        "terminals": terminals,
        "timeouts": timeouts,
        "infos/qpos": np.concatenate([each.extras["qpos"][:-1] for each in made]),
        "infos/qvel": np.concatenate([each.extras["qvel"][:-1] for each in made]),
    }


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["which-body", *map(str, arguments)])


def test_command_on_a_file_of_ones_own(tmp_path):
    file = d4rl_files.write(tmp_path / "mine.hdf5", content(episodes("Hopper-v2", range(4))))
    result = invoke(file)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "Hopper-v2 made these rows."
    assert [name in result.stdout for name in ("Hopper-v4", "Hopper-v5")] == [True, True]


def test_command_tries_both_tasks_of_these_shapes(tmp_path):
    file = d4rl_files.write(tmp_path / "mine.hdf5", content(episodes("Walker2d-v2", range(4))))
    both, one = invoke(file).stdout, invoke(file, "--task", "Walker2d", "--rows", 9).stdout
    assert "HalfCheetah-v2" in both
    assert "HalfCheetah-v2" not in one
    for shown in (both, one):
        assert shown.splitlines()[-1] == "Walker2d-v2 made these rows."


def test_command_on_a_collection(tmp_path):
    collector.collect("HalfCheetah-v4", "random-v2", 100, tmp_path / "mine", processes=1)
    assert "HalfCheetah-v4 and HalfCheetah-v5 make" in invoke(tmp_path / "mine").stdout


def test_command_on_a_published_version(tmp_path):
    made = without_states(episodes("Hopper-v2", range(4)))
    spec = EpisodeSpec(specs.Array((11,), np.float32), specs.Array((3,), np.float32))
    folder = versions.write(tmp_path / "mine" / "1.0.0", spec, {"train": made})
    assert "Hopper-v2 made these rows." in invoke(folder).stdout
    by_name = invoke("mine:1.0.0", "--data-dir", tmp_path)
    assert by_name.stdout == invoke(folder).stdout


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"observations": None}, (), "has no 'observations' of two axes"),
        ({"actions": np.zeros((5, 28), np.float32)}, (), r"actions of shape \(28,\)"),
        ({}, ("--task", "Ant"), "has the shapes of Hopper: leave --task Ant out"),
        ({"observations": np.full((5, 11), 10.0)}, (), "clip velocities at 10"),
    ],
)
def test_command_says_what_it_cannot_do(changes, options, message, tmp_path):
    rows = {
        "observations": np.ones((5, 11), np.float32),
        "actions": np.zeros((5, 3), np.float32),
        "rewards": np.zeros(5, np.float32),
        "terminals": np.zeros(5, np.bool_),
        "timeouts": np.zeros(5, np.bool_),
    }
    file = d4rl_files.write(tmp_path / "mine.hdf5", rows | changes)
    result = invoke(file, *options)
    assert isinstance(result.exception, DatasetError)
    assert str(file) in str(result.exception)
    with pytest.raises(DatasetError, match=message):
        raise result.exception


def test_command_on_nothing(tmp_path):
    with pytest.raises(DatasetError, match="none does not exist, or its kind is not known"):
        which_body.read_episodes(tmp_path / "none")
    with pytest.raises(
        DatasetError, match=r"^there is no file .*none\.hdf5: name one that exists$"
    ):
        list(which_body.read_episodes(tmp_path / "none.hdf5"))


# Of each published slice: steps that can be taken again, how many from stored states; the 90th
# percentile of the error in the v2 body, and the largest, and the largest of a reward.
PUBLISHED = {
    "halfcheetah_medium.hdf5": (1896, 0, 1e-3, 2e-2, 4e-4),
    "halfcheetah_medium_replay-v1.hdf5": (2000, 0, 1e-5, 1e-5, 1e-6),
    "halfcheetah_random-v1.hdf5": (2000, 0, 1e-5, 1e-4, 3e-6),
    "halfcheetah_medium-v2.hdf5": (2000, 1998, 1e-5, 1e-4, 3e-6),
    "hopper_medium.hdf5": (423, 0, 1e-5, 1e-5, 1e-6),
    "hopper_medium_replay-v1.hdf5": (49, 0, 1e-5, 1e-5, 1e-6),
    "hopper_random-v1.hdf5": (50, 0, 1e-5, 1e-5, 1e-6),
    "hopper_medium-v2.hdf5": (911, 909, 1e-5, 1e-5, 1e-6),
    "walker2d_medium.hdf5": (410, 0, 1e-5, 1e-5, 1e-6),
    "walker2d_medium_replay-v1.hdf5": (5, 0, 1e-5, 1e-5, 1e-6),
    "walker2d_random-v1.hdf5": (9, 0, 1e-5, 1e-5, 1e-6),
    "walker2d_medium-v2.hdf5": (2000, 1998, 1e-5, 2e-5, 1e-6),
}
TASKS = {"halfcheetah": "HalfCheetah", "hopper": "Hopper", "walker2d": "Walker2d"}


def check_published(steps, task, ninetieth, largest, reward):
    v2, v4 = (which_body.compare(f"{task}-{version}", steps) for version in ("v2", "v4"))
    assert v2.percentiles[1] <= ninetieth
    assert v2.percentiles[2] <= largest
    assert v2.reward_error.max() <= reward
    assert not v2.terminals_differ.any()
    assert v4.percentiles[0] > 5e-3
    assert v4.percentiles[1] > 2e-2


@pytest.mark.parametrize("file", PUBLISHED)
def test_published_rows_come_from_the_v2_bodies(file, shared):
    task = TASKS[file.partition("_")[0]]
    count, stored, *bounds = PUBLISHED[file]
    steps = which_body.steps_of(which_body.read_episodes(shared / "d4rl" / file), task)
    assert (len(steps), steps.is_stored.sum()) == (count, stored)
    check_published(steps, task, *bounds)


@pytest.mark.tensorflow
def test_bracs_own_data_come_from_the_v2_body(shared):
    saved = brac.read_episodes(shared / "brac_testdata/data/HalfCheetah-v2/example/0/data")
    steps = which_body.steps_of(saved, "HalfCheetah", 2_000)  # of 10,000
    check_published(steps, "HalfCheetah", 1e-5, 5e-4, 1e-5)


@pytest.mark.parametrize("file", [name for name in PUBLISHED if "-v1" in name])
def test_states_of_v1_are_one_an_episode(file, shared):
    for episode in which_body.read_episodes(shared / "d4rl" / file):
        for name in ("qpos", "qvel"):
            assert np.ptp(episode.extras[name], axis=0).max() == 0
