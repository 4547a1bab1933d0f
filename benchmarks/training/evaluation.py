"""Scores a policy by the undiscounted returns of whole episodes in a live environment."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import dm_env
import numpy as np

from rl_datasets.collection.environments import make_environment

Act = Callable[[np.ndarray], np.ndarray]


def evaluate(
    environment_name: str, act: Act, episodes: int, seed: int | Sequence[int]
) -> np.ndarray:
    """Like `play`, in an environment that `make_environment` knows, such as `HalfCheetah-v4`."""
    return play(functools.partial(make_environment, environment_name), act, episodes, seed)


def play(
    make: Callable[[int], dm_env.Environment], act: Act, episodes: int, seed: int | Sequence[int]
) -> np.ndarray:
    """Undiscounted returns of `episodes` whole episodes, stepped together.

    The policy always gets a batch of the same size, so a jitted one compiles once. Rows of episodes
    that have ended are stale, and their actions are not used. Every episode has its own
    environment, seeded from `seed`, so the same seed and policy give the same returns.

    Args:
      make: seed -> environment.
      act: observation [episodes, ...] float32 -> action [episodes, ...].
      episodes: number of episodes.
      seed: seed of the environments.

    Returns:
      [episodes] float64.
    """
    seeds = np.random.SeedSequence(seed).generate_state(episodes)
    with contextlib.ExitStack() as opened:
        environments = [opened.enter_context(contextlib.closing(make(int(s)))) for s in seeds]
        return _returns(environments, act)


def _returns(environments: Sequence[dm_env.Environment], act: Act) -> np.ndarray:
    """Plays one episode in each environment, and returns their returns [episodes]."""
    observation = np.stack([e.reset().observation for e in environments]).astype(np.float32)
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
