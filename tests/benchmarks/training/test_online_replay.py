"""The replay buffer of online training, as a collected folder and as a published dataset."""

import functools
import json
import re

import gymnasium
import numpy as np
import pytest

from benchmarks.training.online import control as online_control
from benchmarks.training.online import control_schedule, policy_file, replay_folder
from builders.d4rl.d4rl_dataset_builder import Builder
from learners import sac
from rl_datasets.collection import environments, policies, unit_plan
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.publishing import publish
from rl_datasets.sources import collected

STEPS = 130
SCHEDULE = {
    "exploration_steps": STEPS,
    "evaluation_interval": STEPS,
    "evaluation_episodes": 1,
    "patience": 1,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a policy, its replay buffer's folder, and the training that made both."""
    folder = tmp_path_factory.mktemp("trained")
    trainings = []
    train = online_control.train

    def train_and_keep(*arguments):
        trainings.append(train(*arguments))
        return trainings[-1]

    with pytest.MonkeyPatch.context() as patch:
        small = sac.Config(policy_sizes=(8,), critic_sizes=(8,))
        patch.setattr(control_schedule, "RLKIT_SAC", small)
        patch.setattr(control_schedule, "RLKIT_EXPLORATION_STEPS", STEPS)
        patch.setattr(
            control_schedule,
            "ControlSchedule",
            lambda *a, **k: online_recipe(*a, **{**k, **SCHEDULE}),
        )
        patch.setattr(online_control, "train", train_and_keep)
        patch.setattr(unit_plan, "UNIT_TRANSITIONS", 50)
        policy_file.train_and_save(
            "Hopper-v4",
            folder / "medium.npz",
            control_schedule.MEDIUM,
            target=-1e6,
            seed=3,
            max_steps=STEPS,
            replay=folder / "replay",
        )
    return folder, trainings[0]


online_recipe = control_schedule.ControlSchedule


def test_the_folder_holds_what_the_training_saw(trained):
    folder, training = trained
    collection = collected.read_collection(folder / "replay")
    episodes = [
        e for u in collection.units for e in collected.read_unit(folder / "replay" / u.file)
    ]
    for episode in episodes:
        check_episode(episode, collection.episode_spec())
    added = training.replay.latest(STEPS)
    assert collection.num_transitions == STEPS
    np.testing.assert_array_equal(
        np.concatenate([e.action[:-1] for e in episodes]), added["action"]
    )
    for name, steps in (("observation", slice(None, -1)), ("next_observation", slice(1, None))):
        rows = np.concatenate([e.observation[steps] for e in episodes])
        np.testing.assert_array_equal(rows, added[name])
    rewards = np.concatenate([e.reward[:-1] for e in episodes])
    np.testing.assert_array_equal(rewards, added["reward"])
    discounts = np.concatenate([e.discount[:-1] for e in episodes])
    np.testing.assert_array_equal(discounts, added["discount"])
    assert [bool(e.metadata["is_cut"]) for e in episodes] == [False] * (len(episodes) - 1) + [True]
    assert [int(e.metadata["episode_id"]) for e in episodes] == list(range(len(episodes)))


def test_units_hold_whole_episodes(trained):
    folder, _ = trained
    units = collected.read_collection(folder / "replay").units
    firsts = np.cumsum([0, *(unit.transitions for unit in units)])[:-1]
    assert len(units) == 3
    assert all(50 * i <= first < 50 * i + 50 for i, first in enumerate(firsts))


def test_an_episode_can_be_played_again_from_its_seed(trained):
    folder, _ = trained
    episode = list(collected.read_unit(folder / "replay" / "unit-00000.npz"))[1]
    environment = gymnasium.make("Hopper-v4")
    observation, _ = environment.reset(seed=int(episode.metadata["environment_seed"]))
    for expected, action in zip(episode.observation, episode.action[:-1], strict=False):
        np.testing.assert_array_equal(observation.astype(np.float32), expected)
        observation, *_ = environment.step(action)


def test_it_is_published_by_its_own_name_with_its_lineage(trained, tmp_path):
    folder, _ = trained
    name = Builder.config_of(str(folder / "replay"))
    assert re.fullmatch("hopper-v4-medium-replay-v2-recollected-sac-[0-9a-f]{8}", name)
    builder = Builder(config=name, source=str(folder / "replay"), data_dir=str(tmp_path))
    path = publish.publish(builder).path
    manifest = json.loads((path / "MANIFEST.json").read_text())
    (policy,) = manifest["plan"]["lineage"]["policies"]
    assert policy["kind"] == replay_folder.KIND
    assert [file for file, _ in policy["source"]] == ["medium.npz", "medium.json"]
    assert sum(e.num_transitions for e in Version.open(path).episodes()) == STEPS
    assert "Collected again" in builder.builder_config.description


def test_a_terminal_at_the_time_limit_is_cut_by_it(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "time_limit", lambda name: 4)
    environment = online_control.environments.make_environment("Hopper-v4", 7)
    rows = {"observation": [], "next_observation": []}
    for length in (3, 4):
        timestep = environment.reset()
        for _ in range(length):
            rows["observation"].append(timestep.observation)
            timestep = environment.step(np.zeros(3, np.float32))
            rows["next_observation"].append(timestep.observation)
    transitions = {name: np.array(values) for name, values in rows.items()} | {
        "action": np.zeros((7, 3), np.float32),
        "reward": np.ones(7, np.float32),
        "discount": np.array([1, 1, 0, 1, 1, 1, 0], np.float32),
        "is_last": np.array([0, 0, 1, 0, 0, 0, 1], np.float32),
    }
    layers = [(np.zeros((11, 6), np.float32), np.zeros(6, np.float32))]
    policies.save_policy(tmp_path / "policy.npz", layers, {})
    replay_folder.write(tmp_path / "r", "Hopper-v4", 7, transitions, tmp_path / "policy.npz")
    episodes = list(collected.read_unit(tmp_path / "r" / "unit-00000.npz"))
    assert [bool(e.is_terminal[-1]) for e in episodes] == [True, False]
    assert not any(e.metadata["is_cut"] for e in episodes)


def test_what_could_not_be_kept_is_refused_beforehand(tmp_path):
    train = functools.partial(
        policy_file.train_and_save,
        "Hopper-v4",
        tmp_path / "p.npz",
        seed=0,
        replay=tmp_path / "full",
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(DatasetError, match="full is not empty: name a new folder"):
        train(control_schedule.MEDIUM, None, max_steps=10)
    with pytest.raises(DatasetError, match="lower --max-steps to that"):
        replay_folder.check(tmp_path / "new", 1_000_001, 1_000_000)
    with pytest.raises(DatasetError, match="only a medium policy's replay buffer"):
        train(control_schedule.PARTIAL, None, max_steps=10)


def test_another_environment_than_the_training_s_is_told(tmp_path):
    transitions = {
        "observation": np.zeros((1, 11), np.float32),
        "next_observation": np.zeros((1, 11), np.float32),
        "is_last": np.ones(1, np.float32),
        "reward": np.ones(1, np.float32),
    }
    with pytest.raises(DatasetError, match="does not begin episode 0 as it did in the training"):
        replay_folder.write(tmp_path / "r", "Hopper-v4", 7, transitions, tmp_path / "policy.npz")
