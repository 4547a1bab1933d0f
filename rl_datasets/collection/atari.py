"""Atari games by Dopamine's protocol (Castro et al. 2018, arXiv:1812.06110), as a dm_env.

An action of the game's minimal set is repeated for four frames, and each of them, the first too,
keeps the action before with probability 0.25 (sticky actions, Machado et al. 2018, section 5). What
is seen is the pixel-wise maximum of the last two of them in ALE's grey, made 84 by 84 by OpenCV's
area interpolation; after a reset there is one frame alone. An episode begins without no-ops and
without FIRE, and ends when the game is over, not when a life is lost. After 27,000 steps it is
truncated.

All of this is ale-py's own vector environment of one game, with all that it does by default
switched off. It differs from Dopamine in one place, which no log holds: where a game is over in the
fourth frame of a step, ale-py looks at that frame too, and Dopamine does not.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

import ale_py
import dm_env
import numpy as np
from dm_env import specs

from rl_datasets import roms

FRAME_SHAPE = (84, 84, 1)
STICKY_PROBABILITY = 0.25
MAX_STEPS = 27_000  # 108,000 frames
FRAME_SKIP = 4

_FULL_STRENGTH = np.ones(1, np.float32)
_ONLY_GAME = np.zeros(1, np.int64)


class AtariEnvironment(dm_env.Environment):
    """One game of the Arcade Learning Environment, as the module says.

    Observations are [84, 84, 1] uint8, actions indices into the game's minimal action set, rewards
    the game's own score, not clipped. Every reset draws a new seed for the emulator, so that each
    episode can be replayed on its own: `reset_with(environment.episode_seed)`.

    Attributes:
      episode_seed: of the episode that runs; -1 before the first.
    """

    def __init__(
        self,
        rom: str | os.PathLike[str],
        seed: Any = None,
        *,
        sticky_probability: float = STICKY_PROBABILITY,
        max_steps: int = MAX_STEPS,
    ):
        """Loads a game.

        Args:
          rom: file of the game's ROM, under ALE's name of the game, such as `ms_pacman.bin`.
          seed: of the seeds of the resets; anything that `np.random.default_rng` takes.
          sticky_probability: that a frame keeps the action before.
          max_steps: after which an episode is truncated.

        Raises:
          DatasetError: there is no such file, or ALE has no game of its name.
        """
        rom = pathlib.Path(rom)
        roms.check_is_game(rom)
        # It would greet on stderr, and warn of every ROM that is not its own.
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._game = ale_py.ALEVectorInterface(  # type: ignore[call-arg]  # Its stub has no defaults.
            rom,
            num_envs=1,
            num_threads=1,
            frame_skip=FRAME_SKIP,
            stack_num=1,
            noop_max=0,
            use_fire_reset=False,
            reward_clipping=False,
            repeat_action_probability=sticky_probability,
            max_episode_steps=FRAME_SKIP * max_steps,
        )
        self._num_actions = len(self._game.get_action_set())
        self._seeds = np.random.default_rng(seed)
        self._needs_reset = True
        self.episode_seed = -1

    def reset(self) -> dm_env.TimeStep:
        return self.reset_with(int(self._seeds.integers(2**31)))

    def reset_with(self, episode_seed: int) -> dm_env.TimeStep:
        """Begins the episode of a seed, whatever was played before."""
        self.episode_seed = episode_seed
        self._needs_reset = False
        observation, _ = self._game.reset(_ONLY_GAME, np.array([episode_seed]))
        return dm_env.restart(_frame(observation))

    def step(self, action: int | np.integer) -> dm_env.TimeStep:
        if self._needs_reset:
            return self.reset()
        if not 0 <= action < self._num_actions:  # ale-py would wait for ever.
            raise ValueError(f"an action must be in 0..{self._num_actions - 1}, got {action}")
        self._game.send(np.array([action]), _FULL_STRENGTH)
        observations, rewards, is_over, is_truncated, _ = self._game.recv()
        observation, reward = _frame(observations), float(rewards[0])
        self._needs_reset = bool(is_over[0] or is_truncated[0])
        if is_over[0]:
            return dm_env.termination(reward, observation)
        if is_truncated[0]:
            return dm_env.truncation(reward, observation)
        return dm_env.transition(reward, observation)

    def observation_spec(self) -> specs.Array:
        return specs.Array(FRAME_SHAPE, np.uint8, "observation")

    def action_spec(self) -> specs.DiscreteArray:
        return specs.DiscreteArray(self._num_actions, np.int32, "action")


def _frame(observations: np.ndarray) -> np.ndarray:
    """[1, 1, 84, 84] -> [84, 84, 1]."""
    return observations.reshape(FRAME_SHAPE)
