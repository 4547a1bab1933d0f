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
from collections.abc import Sequence
from typing import Any, NamedTuple

import ale_py
import dm_env
import numpy as np
from dm_env import specs

from rl_datasets import roms

FRAME_SHAPE = (84, 84, 1)
STICKY_PROBABILITY = 0.25
MAX_STEPS = 27_000  # 108,000 frames
FRAME_SKIP = 4


class GameSteps(NamedTuple):
    """What N games gave in one step.

    Attributes:
      frame: [N, 84, 84, 1] uint8.
      reward: [N] float32, the game's own score, not clipped.
      is_over, is_truncated: [N] bool; a game of which either is true must be begun again.
    """

    frame: np.ndarray
    reward: np.ndarray
    is_over: np.ndarray
    is_truncated: np.ndarray


class AtariGames:
    """N games of one ROM, stepped together in as many threads as there are cores.

    Each is what `AtariEnvironment` plays, and its episode follows from its seed and its actions.

    Attributes:
      count: N.
      num_actions: of the game's minimal set.
    """

    def __init__(
        self,
        rom: str | os.PathLike[str],
        count: int,
        *,
        sticky_probability: float = STICKY_PROBABILITY,
        max_steps: int = MAX_STEPS,
        most_no_ops: int = 0,
        presses_fire: bool = False,
    ):
        """Loads the games.

        Args:
          rom: file of the game's ROM, under ALE's name of the game, such as `ms_pacman.bin`.
          count: N.
          sticky_probability: that a frame keeps the action before.
          max_steps: after which an episode is truncated.
          most_no_ops: an episode begins with a random number of no-ops up to it, at least one
            (Mnih et al. 2015).
          presses_fire: whether an episode begins with FIRE where the game has it.

        Raises:
          DatasetError: there is no such file, or ALE has no game of its name.
        """
        rom = pathlib.Path(rom)
        roms.check_is_game(rom)
        # It would greet on stderr, and warn of every ROM that is not its own.
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._games = ale_py.ALEVectorInterface(  # type: ignore[call-arg]  # Its stub has no defaults.
            rom,
            num_envs=count,
            num_threads=min(count, os.cpu_count() or 1),
            frame_skip=FRAME_SKIP,
            stack_num=1,
            noop_max=most_no_ops,
            use_fire_reset=presses_fire,
            reward_clipping=False,
            repeat_action_probability=sticky_probability,
            max_episode_steps=FRAME_SKIP * max_steps,
        )
        self.count = count
        self.num_actions = len(self._games.get_action_set())
        self._strengths = np.ones(count, np.float32)

    def begin(self, games: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        """Begins episodes of the seeds [K] in these of the games [K]: frames [K, 84, 84, 1]."""
        observations, _ = self._games.reset(np.asarray(games), np.asarray(seeds))
        return _frames(observations)[np.asarray(games)]  # It gives those of all games.

    def step(self, actions: np.ndarray) -> GameSteps:
        """Takes an action in each game, [N] indices into the minimal action set."""
        if not np.all((actions >= 0) & (actions < self.num_actions)):  # ale-py would wait for ever.
            raise ValueError(f"an action must be in 0..{self.num_actions - 1}, got {actions}")
        self._games.send(np.asarray(actions), self._strengths)
        observations, rewards, is_over, is_truncated, _ = self._games.recv()
        return GameSteps(
            _frames(observations),
            np.array(rewards, np.float32),
            np.array(is_over, bool),
            np.array(is_truncated, bool),
        )


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
        self._game = AtariGames(rom, 1, sticky_probability=sticky_probability, max_steps=max_steps)
        self._seeds = np.random.default_rng(seed)
        self._needs_reset = True
        self.episode_seed = -1

    def reset(self) -> dm_env.TimeStep:
        return self.reset_with(int(self._seeds.integers(2**31)))

    def reset_with(self, episode_seed: int) -> dm_env.TimeStep:
        """Begins the episode of a seed, whatever was played before."""
        self.episode_seed = episode_seed
        self._needs_reset = False
        return dm_env.restart(self._game.begin([0], [episode_seed])[0])

    def step(self, action: int | np.integer) -> dm_env.TimeStep:
        if self._needs_reset:
            return self.reset()
        of_games = self._game.step(np.array([action]))
        observation, reward = of_games.frame[0], float(of_games.reward[0])
        self._needs_reset = bool(of_games.is_over[0] or of_games.is_truncated[0])
        if of_games.is_over[0]:
            return dm_env.termination(reward, observation)
        if of_games.is_truncated[0]:
            return dm_env.truncation(reward, observation)
        return dm_env.transition(reward, observation)

    def observation_spec(self) -> specs.Array:
        return specs.Array(FRAME_SHAPE, np.uint8, "observation")

    def action_spec(self) -> specs.DiscreteArray:
        return specs.DiscreteArray(self._game.num_actions, np.int32, "action")


def _frames(observations: np.ndarray) -> np.ndarray:
    """[N, 1, 84, 84] -> [N, 84, 84, 1]."""
    return observations.reshape(-1, *FRAME_SHAPE)
