"""How a policy is scored: whole episodes in the live environment, undiscounted."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import dm_env
import numpy as np
from dm_env import specs

from rl_datasets.collection.environments import make_environment

Act = Callable[[np.ndarray], np.ndarray]


def evaluate(
    environment_name: str, act: Act, episodes: int, seed: int | Sequence[int]
) -> np.ndarray:
    """As `play`, in an environment that `make_environment` knows, such as `HalfCheetah-v4`."""
    return play(functools.partial(make_environment, environment_name), act, episodes, seed)


def play(
    make: Callable[[int], dm_env.Environment], act: Act, episodes: int, seed: int | Sequence[int]
) -> np.ndarray:
    """Undiscounted returns of `episodes` whole episodes, stepped together.

    The policy always sees one fixed batch, so a jitted one compiles once; the rows of episodes
    that have ended are stale and their actions unused. Every episode has an environment of its
    own, seeded from `seed`, so the same seed and policy give the same returns.

    Args:
      make: seed -> environment.
      act: observation [episodes, ...], images as uint8 and all else as float32, -> action
        [episodes, ...].
      episodes: how many.
      seed: of the environments.

    Returns:
      [episodes] float64.
    """
    seeds = np.random.SeedSequence(seed).generate_state(episodes)
    with contextlib.ExitStack() as opened:
        environments = [opened.enter_context(contextlib.closing(make(int(s)))) for s in seeds]
        return _returns(environments, act)


def _returns(environments: Sequence[dm_env.Environment], act: Act) -> np.ndarray:
    """[episodes] of one episode of each."""
    observation = np.stack([e.reset().observation for e in environments])
    if observation.ndim != 4:
        observation = observation.astype(np.float32)
    returns = np.zeros(len(environments))
    running = list(range(len(environments)))
    while running:
        action = np.asarray(act(observation))
        still_running = []
        for i in running:
            timestep = environments[i].step(action[i])
            returns[i] += timestep.reward
            if not timestep.last():
                observation[i] = timestep.observation
                still_running.append(i)
        running = still_running
    return returns


class StackedGame(dm_env.Environment):
    """A game as Dopamine's agent plays it: on its last frames, and now and then at random.

    An observation is [84, 84, stack] uint8, oldest frame first; what was before the episode is
    zeros. With probability `epsilon` a step takes a random action and not the one it is given
    (Castro et al. 2018, arXiv:1812.06110).

    Args:
      game: gives single frames [84, 84, 1].
      stack: frames in an observation.
      epsilon: probability of a random action.
      seed: of the random actions; anything that `np.random.default_rng` takes.
    """

    def __init__(
        self, game: dm_env.Environment, stack: int, epsilon: float, seed: int | Sequence[int]
    ):
        self._game = game
        self._num_actions = game.action_spec().num_values
        self._frames = np.zeros((*game.observation_spec().shape[:2], stack), np.uint8)
        self._epsilon = epsilon
        self._rng = np.random.default_rng(seed)

    def reset(self) -> dm_env.TimeStep:
        return self._stacked(self._game.reset())

    def step(self, action: int | np.integer) -> dm_env.TimeStep:
        if self._rng.random() <= self._epsilon:
            action = self._rng.integers(self._num_actions)
        return self._stacked(self._game.step(action))

    def close(self) -> None:
        self._game.close()

    def observation_spec(self) -> specs.Array:
        return specs.Array(self._frames.shape, np.uint8, "observation")

    def action_spec(self) -> specs.DiscreteArray:
        return self._game.action_spec()

    def _stacked(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
        before = np.zeros_like(self._frames) if timestep.first() else self._frames
        self._frames = np.concatenate([before[..., 1:], timestep.observation], axis=-1)
        return timestep._replace(observation=self._frames)
