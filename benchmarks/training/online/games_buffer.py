"""The replay buffer of an agent that plays several games at once."""

from __future__ import annotations

import numpy as np

from rl_datasets.collection.atari import GameSteps
from rl_datasets.serving.transitions import Transition
from rl_datasets.sources.atari import FRAME_SHAPE, clipped
from rl_datasets.sources.dqn_replay import STACK_SIZE


class GamesBuffer:
    """The last rows of N games that are stepped together; each frame is kept once.

    A row is a frame, the action taken in it, and what followed. A lost life ends an episode, as the
    end of a game does: nothing bootstraps from what follows. Stacks hold zeros in the place of what
    was before the episode.

    Attributes:
      arrays: all that it holds, by name.
      count: rows that were ever added, of each game.
    """

    def __init__(self, rows: int, games: int, n_step: int, discount: float):
        """Makes an empty buffer.

        Args:
          rows: that are kept of each game.
          games: N.
          n_step: rewards in a transition; they end where an episode does.
          discount: by which they are summed.
        """
        self.count = 0
        self._n_step, self._discount = n_step, discount
        shape = rows, games
        self.arrays: dict[str, np.ndarray] = {
            "frame": np.zeros((*shape, *FRAME_SHAPE[:2]), np.uint8),
            "action": np.zeros(shape, np.int32),
            "reward": np.zeros(shape, np.float32),
            "is_end": np.zeros(shape, bool),
            "age": np.zeros(shape, np.int64),
            "next_age": np.zeros(games, np.int64),
        }
        self._frames, self._action, self._reward, self._is_end, self._age, self._next_age = (
            self.arrays.values()
        )

    def stacks(self, frames: np.ndarray) -> np.ndarray:
        """What an agent sees, [N, 84, 84, 4], in frames [N, 84, 84, 1] that are not added yet."""
        seen = np.zeros((*frames.shape[:-1], STACK_SIZE), np.uint8)
        seen[..., -1] = frames[..., 0]
        for back in range(1, STACK_SIZE):
            known = self._next_age >= back
            rows = (self.count - back) % len(self._frames)
            seen[known, ..., -1 - back] = self._frames[rows, known]
        return seen

    def add(self, frames: np.ndarray, actions: np.ndarray, taken: GameSteps) -> None:
        """Adds a row of each game: the frames [N, 84, 84, 1], the actions [N], what followed.

        Rewards are clipped to [-1, 1].
        """
        row = self.count % len(self._frames)
        self._frames[row] = frames[..., 0]
        self._action[row] = actions
        self._reward[row] = clipped(taken.reward)
        self._is_end[row] = taken.is_over | taken.is_truncated | taken.is_life_lost
        self._age[row] = self._next_age
        self._next_age[:] = np.where(self._is_end[row], 0, self._next_age + 1)
        self.count += 1

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        """A batch [1, B, ...] of n-step transitions, each row equally likely.

        Its discount is the buffer's to the power of n_step - 1, by the learner's own to n_step.
        Rows whose stack or successor is not in the buffer are left out.
        """
        overwritten = self.count - len(self._frames)
        oldest = overwritten + STACK_SIZE - 1 if overwritten > 0 else 0
        row = rng.integers(oldest, self.count - self._n_step, batch_size)
        game = rng.integers(self._frames.shape[1], size=batch_size)
        reward = np.zeros(batch_size, np.float32)
        going_on = np.ones(batch_size, np.float32)
        for step in range(self._n_step):
            place = (row + step) % len(self._frames), game
            reward += self._discount**step * going_on * self._reward[place]
            going_on *= ~self._is_end[place]
        return Transition(
            observation=self._stacks_at(row, game)[None],
            action=self._action[row % len(self._frames), game][None],
            reward=reward[None],
            discount=(self._discount ** (self._n_step - 1) * going_on)[None].astype(np.float32),
            next_observation=self._stacks_at(row + self._n_step, game)[None],
            extras={},
        )

    def _stacks_at(self, row: np.ndarray, game: np.ndarray) -> np.ndarray:
        """[B, 84, 84, 4]."""
        back = np.arange(STACK_SIZE)[::-1]
        frames = self._frames[(row[:, None] - back) % len(self._frames), game[:, None]]
        frames[back > self._age[row % len(self._frames), game][:, None]] = 0
        return np.ascontiguousarray(np.moveaxis(frames, 1, -1))
