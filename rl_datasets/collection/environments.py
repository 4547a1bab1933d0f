"""dm_env adapters over gymnasium."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import dm_env
import gymnasium
import mujoco
import numpy as np
from dm_env import specs

from rl_datasets import errors
from rl_datasets.collection import bodies


class GymnasiumEnvironment(dm_env.Environment):
    """A gymnasium environment with Box observations, as a dm_env environment.

    Gymnasium's `terminated` becomes a termination (discount 0), its `truncated` a truncation
    (discount 1). Float observations become float32. Every reset draws a new seed for the
    environment, so that each episode can be replayed on its own:
    `env.reset(seed=environment.episode_seed)`.
    """

    def __init__(self, environment: gymnasium.Env, seed: Any = None):
        """Wraps a gymnasium environment.

        Args:
          environment: the environment to wrap; it has its own time limit.
          seed: draws the seeds of the resets; anything that `np.random.default_rng` takes.
        """
        self._environment = environment
        self._seeds = np.random.default_rng(seed)
        self._needs_reset = True
        self._observation_spec = _spec(environment, environment.observation_space, "observation")
        self._action_spec = _spec(environment, environment.action_space, "action")
        self.episode_seed = -1

    def reset(self) -> dm_env.TimeStep:
        self._needs_reset = False
        self.episode_seed = int(self._seeds.integers(2**31))
        observation, _ = self._environment.reset(seed=self.episode_seed)
        return dm_env.restart(self._observe(observation))

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        if self._needs_reset:
            return self.reset()
        observation, reward, terminated, truncated, _ = self._environment.step(action)
        observation, reward = self._observe(observation), float(reward)
        self._needs_reset = terminated or truncated
        if terminated:
            return dm_env.termination(reward, observation)
        if truncated:
            return dm_env.truncation(reward, observation)
        return dm_env.transition(reward, observation)

    def observation_spec(self) -> specs.Array:
        return self._observation_spec

    def action_spec(self) -> specs.Array:
        return self._action_spec

    def close(self) -> None:
        self._environment.close()

    def _observe(self, observation: np.ndarray) -> np.ndarray:
        return observation.astype(self._observation_spec.dtype)


def make_environment(name: str, seed: Any = None) -> GymnasiumEnvironment:
    """Makes an environment, with the time limit that gymnasium registers for it.

    Args:
      name: gymnasium's name, such as `HalfCheetah-v4`, or one of `bodies`, such as
        `HalfCheetah-v2`.
      seed: the seed of all its episodes; None for a random one.

    Raises:
      DatasetError: there is no such environment, or one of its spaces is not a single array.
    """
    return GymnasiumEnvironment(make_gymnasium(name), seed)


def policy_specs(name: str) -> tuple[specs.Array, specs.BoundedArray]:
    """The specs of an observation and an action of an environment for the policies here.

    Raises:
      DatasetError: there is no such environment, or the policies here cannot act in it.
    """
    env = make_environment(name)
    observation, action = env.observation_spec(), env.action_spec()
    env.close()
    bounded = isinstance(action, specs.BoundedArray) and action.dtype == np.float32
    if not bounded or len(action.shape) != 1 or len(observation.shape) != 1:
        raise errors.DatasetError(
            f"environment {name!r} must have observations of one axis, and actions of one axis and "
            "bounded real numbers: choose another"
        )
    return observation, action


def time_limit(name: str) -> int | None:
    """The number of steps after which an episode is truncated; None where there is no limit.

    Raises:
      DatasetError: as `make_environment`.
    """
    environment = make_gymnasium(name)
    environment.close()
    return environment.spec.max_episode_steps if environment.spec else None


def resolve(name: str) -> str:
    """The name with its version; gymnasium takes a name without one as the newest version.

    Raises:
      DatasetError: there is no such environment.
    """
    environment = make_gymnasium(name)
    assert environment.spec is not None
    environment.close()
    return environment.spec.id


def make_gymnasium(name: str) -> gymnasium.Env:
    """`gymnasium.make`, without its warnings about v4 and without its checks of every step.

    Raises:
      DatasetError: there is no such environment.
    """
    _refuse_what_mujoco_py_ran(name)
    try:
        with _quiet_about_versions():
            return gymnasium.make(name, disable_env_checker=True)
    except (gymnasium.error.Error, ImportError) as error:
        raise errors.DatasetError(
            f"environment {name!r} cannot be made ({error}): give a name that gymnasium knows"
        ) from error


def _refuse_what_mujoco_py_ran(name: str) -> None:
    """Refuses the names of tasks that need mujoco-py, except the four v2 tasks of `bodies`."""
    task, _, version = name.rpartition("-")
    v2 = f"{task}-v2"
    if name in bodies.ENVIRONMENTS or v2 not in gymnasium.registry:
        return
    if version in ("v1", "v2", "v3"):
        has_body = v2 in bodies.ENVIRONMENTS
        instead = f"{v2}, which has the body that mujoco-py made" if has_body else f"{task}-v4"
        raise errors.DatasetError(
            f"environment {name!r} needs mujoco-py, which no longer runs: name {instead}"
        )


@contextlib.contextmanager
def _quiet_about_versions() -> Iterator[None]:
    """Silences gymnasium's and MuJoCo's warnings about v2 and v4, which are chosen on purpose.

    Walker2d and Ant differ in v5. MuJoCo calls an attribute of HalfCheetah's model deprecated.
    """
    handler = mujoco.get_mju_user_warning()

    def warn(message: str) -> None:
        if "settotalmass" not in message:
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    mujoco.set_mju_user_warning(warn)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*is out of date", DeprecationWarning)
            warnings.filterwarnings("ignore", r".*latest versioned environment", UserWarning)
            warnings.filterwarnings("ignore", r".*settotalmass", UserWarning)
            yield
    finally:
        mujoco.set_mju_user_warning(handler)


def _spec(environment: gymnasium.Env, space: gymnasium.Space, name: str) -> specs.Array:
    if isinstance(space, gymnasium.spaces.Discrete) and space.start == 0:
        return specs.DiscreteArray(int(space.n), np.int32, name)
    if not isinstance(space, gymnasium.spaces.Box):
        raise errors.DatasetError(
            f"the {name} space of {environment} is {space}, and only Box, and Discrete from 0, are "
            "supported: wrap the environment so that it has one of these"
        )
    is_float = np.issubdtype(space.dtype, np.floating)
    dtype = np.dtype(np.float32) if is_float else space.dtype
    if space.is_bounded():
        return specs.BoundedArray(space.shape, dtype, space.low, space.high, name)
    return specs.Array(space.shape, dtype, name)
