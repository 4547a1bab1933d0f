"""The dm_env contract, and time limits told from terminations."""

import dm_env
import gymnasium
import numpy as np
import pytest
from absl.testing import absltest
from dm_env import specs, test_utils

from rl_datasets import errors
from rl_datasets.collection import environments


class EndsItself(gymnasium.Env):
    """Counts its steps; terminates after `length` of them."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, length: int):
        self._length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._count = 0
        return np.zeros(1), {}

    def step(self, action):
        self._count += 1
        return np.full(1, self._count, np.float64), 0.5, self._count == self._length, False, {}


class HopperContractTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
    def make_object_under_test(self):
        return environments.make_environment("Hopper-v4", seed=0)

    def make_action_sequence(self):
        rng = np.random.default_rng(0)
        for _ in range(300):  # Random actions make Hopper fall about every 20 steps.
            yield rng.uniform(-1, 1, 3).astype(np.float32)


class AntContractTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
    def make_object_under_test(self):
        return environments.make_environment("Ant-v2", seed=0)


class TimeLimitContractTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
    def make_object_under_test(self):
        limited = gymnasium.wrappers.TimeLimit(EndsItself(100), 7)
        return environments.GymnasiumEnvironment(limited, seed=0)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("HalfCheetah-v4", 1000),
        ("Hopper-v4", 1000),
        ("Walker2d-v4", 1000),
        ("Ant-v4", 1000),
        ("HalfCheetah-v2", 1000),
        ("Hopper-v2", 1000),
        ("Walker2d-v2", 1000),
        ("Ant-v2", 1000),
        ("Pendulum-v1", 200),
    ],
)
def test_time_limits(name, steps):
    assert environments.time_limit(name) == steps


@pytest.mark.parametrize(
    ("name", "observations", "actions"),
    [
        ("HalfCheetah-v2", 17, 6),
        ("Hopper-v2", 11, 3),
        ("Walker2d-v2", 17, 6),
        ("Ant-v2", 111, 8),
        ("Ant-v4", 27, 8),
    ],
)
def test_specs_of_bracs_environments(name, observations, actions):
    env = environments.make_environment(name, seed=0)
    assert env.observation_spec() == specs.Array((observations,), np.float32, "observation")
    assert env.action_spec() == specs.BoundedArray((actions,), np.float32, -1.0, 1.0, "action")
    assert env.reset().observation.dtype == np.float32


def test_half_cheetah_is_truncated_after_1000_steps():
    env = environments.make_environment("HalfCheetah-v4", seed=0)
    env.reset()
    timesteps = [env.step(np.zeros(6, np.float32)) for _ in range(1000)]
    assert [timestep.last() for timestep in timesteps] == [False] * 999 + [True]
    assert timesteps[-1].discount == 1


def test_falling_is_a_termination():
    env = environments.make_environment("Hopper-v4", seed=0)
    timestep, action = env.reset(), np.ones(3, np.float32)
    while not timestep.last():
        timestep = env.step(action)
    assert timestep.discount == 0
    assert env.step(action).first()


@pytest.mark.parametrize(
    ("length", "limit", "steps", "discount"), [(3, 5, 3, 0), (5, 3, 3, 1), (4, 4, 4, 0)]
)
def test_termination_wins_over_the_time_limit(length, limit, steps, discount):
    limited = gymnasium.wrappers.TimeLimit(EndsItself(length), limit)
    env = environments.GymnasiumEnvironment(limited)
    env.reset()
    timesteps = [env.step(np.zeros(1, np.float32)) for _ in range(steps)]
    assert [timestep.step_type for timestep in timesteps[:-1]] == [dm_env.StepType.MID] * (
        steps - 1
    )
    assert timesteps[-1].last()
    assert timesteps[-1].discount == discount


def test_ant_v2_observes_no_contact_forces():
    plain = environments.make_environment("Ant-v4", seed=3).reset().observation
    padded = environments.make_environment("Ant-v2", seed=3).reset().observation
    np.testing.assert_array_equal(padded, np.append(plain, np.zeros(84, np.float32)))


def test_same_seed_same_episodes_and_each_its_own():
    first, second = (environments.make_environment("Hopper-v4", seed=5) for _ in range(2))
    starts = [(first.reset().observation, second.reset().observation) for _ in range(3)]
    for one, other in starts:
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(starts[0][0], starts[1][0])


def test_an_episode_can_be_replayed_by_its_seed():
    env = environments.make_environment("Walker2d-v4", seed=1)
    env.reset()
    observation = env.reset().observation
    replayed, _ = gymnasium.make("Walker2d-v4").reset(seed=env.episode_seed)
    np.testing.assert_array_equal(observation, replayed.astype(np.float32))


def test_other_gymnasium_environments_work():
    env = environments.make_environment("CartPole-v1", seed=0)
    assert env.action_spec() == specs.DiscreteArray(2, np.int32, "action")
    env.reset()
    assert env.step(np.int32(1)).mid()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HalfCheeta-v4", "'HalfCheeta-v4' cannot be made"),
        ("Hopper-v3", "no longer runs: name Hopper-v2, which has the body"),
        ("Hopper-v1", "no longer runs: name Hopper-v2, which has the body"),
        ("Swimmer-v2", "no longer runs: name Swimmer-v4"),
        ("Hopper-v9", "'Hopper-v9' cannot be made"),
    ],
)
def test_unknown_environments(name, message):
    with pytest.raises(errors.DatasetError, match=message):
        environments.make_environment(name)


@pytest.mark.parametrize(
    ("name", "resolved"), [("HalfCheetah", "HalfCheetah-v5"), ("Hopper-v2", "Hopper-v2")]
)
def test_an_environment_without_a_version_is_the_newest(name, resolved, recwarn):
    assert environments.resolve(name) == resolved
    assert not recwarn.list


def test_unknown_spaces():
    with pytest.raises(errors.DatasetError, match="Blackjack"):
        environments.make_environment("Blackjack-v1")


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_making_old_versions_is_quiet(version, recwarn, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo logs its warnings into the working folder.
    environments.make_environment(f"HalfCheetah-{version}")
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
