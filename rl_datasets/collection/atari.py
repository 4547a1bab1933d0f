"""Atari games by Dopamine's protocol (Castro et al. 2018, arXiv:1812.06110), as a dm_env.

An action of the game's minimal set is repeated for four frames. Each of them, the first included,
keeps the previous action with probability 0.25 (sticky actions, Machado et al. 2018, section 5).
The observation is the pixel-wise maximum of the last two frames in ALE's grey, resized to 84 by 84
by OpenCV's area interpolation; after a reset it is a single frame. An episode begins without no-ops
and without FIRE, and ends when the game is over, not when a life is lost. It is truncated after
27,000 steps.

ale-py's own vector environment plays the games, with all of its defaults switched off. It differs
from Dopamine in one place, which no log holds: where a game is over in the fourth frame of a step,
ale-py includes that frame, and Dopamine does not.
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
from rl_datasets.sources.atari import FRAME_SHAPE, FRAME_SKIP, STICKY_PROBABILITY

MAX_STEPS = 27_000  # 108,000 frames


class GameSteps(NamedTuple):
    """The result of one step of N games.

    Attributes:
      frame: [N, 84, 84, 1] uint8.
      reward: [N] float32, the game's own score, not clipped.
      is_over, is_truncated: [N] bool; if either is True, the game must begin a new episode.
      is_life_lost: [N] bool, whether the game continues with fewer lives than before; never in a
        game without lives, such as Pong.
    """

    frame: np.ndarray
    reward: np.ndarray
    is_over: np.ndarray
    is_truncated: np.ndarray
    is_life_lost: np.ndarray


class AtariGames:
    """N games of one ROM, which step together in as many threads as there are cores.

    Each is the game of `AtariEnvironment`; its seed and its actions determine its episode.

    Attributes:
      count: N.
      num_actions: size of the game's minimal action set.
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
          rom: file of the game's ROM, named as in ALE, such as `ms_pacman.bin`.
          count: N.
          sticky_probability: probability that a frame keeps the previous action.
          max_steps: number of steps after which an episode is truncated.
          most_no_ops: an episode begins with a random number of no-ops from one to this (Mnih et
            al. 2015); with 0, it begins without no-ops.
          presses_fire: whether an episode begins with FIRE if the game has that action.

        Raises:
          DatasetError: there is no such file, or ALE has no game of its name.
        """
        rom = pathlib.Path(rom)
        roms.check_is_game(rom)
        # ALE would print a greeting, and a warning for every ROM that is not its own.
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
        self._lives = np.zeros(count, np.int32)

    def begin(self, games: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        """Begins episodes with seeds [K] in K of the games, and returns frames [K, 84, 84, 1]."""
        observations, info = self._games.reset(np.asarray(games), np.asarray(seeds))
        self._lives = np.array(info["lives"])
        return _frames(observations)[np.asarray(games)]  # `reset` returns those of all games.

    def step(self, actions: np.ndarray) -> GameSteps:
        """Takes an action in each game, [N] indices into the minimal action set."""
        if not np.all((actions >= 0) & (actions < self.num_actions)):  # ale-py would wait forever.
            raise ValueError(f"an action must be in 0..{self.num_actions - 1}, got {actions}")
        self._games.send(np.asarray(actions), self._strengths)
        observations, rewards, is_over, is_truncated, info = self._games.recv()
        # ale-py's `episodic_life` would begin another game where a life is lost.
        before, self._lives = self._lives, np.array(info["lives"])
        return GameSteps(
            _frames(observations),
            np.array(rewards, np.float32),
            np.array(is_over, bool),
            np.array(is_truncated, bool),
            (self._lives > 0) & (self._lives < before),
        )


class AtariEnvironment(dm_env.Environment):
    """One game of the Arcade Learning Environment, by the module's protocol.

    Observations are [84, 84, 1] uint8, actions are indices into the game's minimal action set, and
    rewards are the game's own score, not clipped. Every reset draws a new seed for the emulator, so
    that each episode can be replayed on its own: `reset_with(environment.episode_seed)`.

    Attributes:
      episode_seed: seed of the current episode; -1 before the first.
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
          rom: file of the game's ROM, named as in ALE, such as `ms_pacman.bin`.
          seed: draws the seeds of the resets; anything that `np.random.default_rng` takes.
          sticky_probability: probability that a frame keeps the previous action.
          max_steps: number of steps after which an episode is truncated.

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
        """Begins the episode with this seed, whatever was played before."""
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
