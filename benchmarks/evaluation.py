"""How a policy is scored: whole episodes in the live environment, undiscounted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rl_datasets.collection.environments import make_environment

Act = Callable[[np.ndarray], np.ndarray]


def evaluate(
    environment_name: str, act: Act, episodes: int, seed: int | Sequence[int]
) -> np.ndarray:
    """Undiscounted returns of `episodes` whole episodes, stepped together.

    The policy always sees one fixed batch, so a jitted one compiles once; the rows of episodes
    that have ended are stale and their actions unused. Every episode has an environment of its
    own, seeded from `seed`, so the same seed and policy give the same returns.

    Args:
      environment_name: as `make_environment` takes it, such as `HalfCheetah-v4`.
      act: observation [episodes, ...] float32 -> action [episodes, ...].
      episodes: how many.
      seed: of the environments' initial states.

    Returns:
      [episodes] float64.
    """
    seeds = np.random.SeedSequence(seed).generate_state(episodes)
    environments = [make_environment(environment_name, int(s)) for s in seeds]
    observation = np.stack([e.reset().observation for e in environments]).astype(np.float32)
    returns = np.zeros(episodes)
    running = list(range(episodes))
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
