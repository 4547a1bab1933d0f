"""A logged episode, and whether a step agrees with it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rl_datasets.replaying.emulator import Start, observe
from rl_datasets.replaying.step import Outcome
from rl_datasets.sources.atari import clipped


class LoggedEpisode(NamedTuple):
    """A logged episode of T rows.

    Attributes:
      observations: [T, 84, 84] or [T, 84, 84, 1] uint8, each seen before its row's action; T + 1
        of them where the observation after the last action is known.
      actions: [T] indices into the game's minimal action set.
      rewards: [T] rewards of the rows' actions, clipped to -1..1; NaN where not known.
      is_terminal: whether the game ended after the last action.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    is_terminal: bool


class Log:
    """An episode that steps are compared with."""

    def __init__(self, logged: LoggedEpisode):
        """Takes an episode.

        Raises:
          ValueError: the numbers of 84x84 frames, actions and rewards do not match, or it has no
            row.
        """
        observations = np.asarray(logged.observations)
        self.actions = [int(action) for action in logged.actions]
        self.last_row = len(self.actions) - 1
        self._rewards = [float(reward) for reward in logged.rewards]
        self._is_terminal = logged.is_terminal
        rows = len(self.actions)
        is_final_known = len(observations) == rows + 1
        lengths = {len(observations) - is_final_known, rows, len(self._rewards)}
        if observations.shape[1:3] != (84, 84) or len(lengths) > 1 or not rows:
            raise ValueError(
                "an episode must have as many frames of 84x84 as actions and rewards, or one more, "
                f"and at least one; got {observations.shape}, {rows} and {len(self._rewards)}"
            )
        self._observations = observations.reshape(-1, 84, 84)

    @property
    def num_frames(self) -> int:
        return len(self._observations)

    def begins_with(self, start: Start) -> bool:
        """Whether the log's first row shows this start."""
        return np.array_equal(observe(start.screen), self._observations[0])

    def objection(self, outcome: Outcome) -> str:
        """Why an outcome of a row's action contradicts the log; empty where it agrees with it."""
        row = outcome.way.before.row
        if row < self.last_row and outcome.is_over:
            return f"the game ends after row {row}, and the log continues"
        if row + 1 < self.num_frames and not outcome.shows(self._observations[row + 1]):
            return f"row {row}'s action does not lead to row {row + 1}'s frame"
        if row == self.last_row and outcome.is_over != self._is_terminal:
            return (
                f"the game {'ends' if outcome.is_over else 'continues'} after the last row, {row}"
            )
        reward, logged = outcome.way.reward, self._rewards[row]
        if not math.isnan(logged) and clipped(reward) != logged:
            return f"row {row} has the reward {logged:g}, and its action earns {reward:g}"
        return ""
