"""Transitions across time limits: a defect of Tianshou's buffer, kept to reproduce its results."""

from __future__ import annotations

import numpy as np

from rl_datasets.serving.cut import Cut
from rl_datasets.serving.transitions import Transition


def across_time_limits(transitions: Transition, n_step: int, gamma: float) -> Transition:
    """n-step transitions as Tianshou's buffer cuts them.

    Where a time limit truncated an episode, a window continues into the rewards and the observation
    of the episode that is stored next, because `ReplayBuffer.from_data` was given only the
    terminals (github.com/thu-ml/tianshou, examples/offline/utils.py;
    `BasePolicy.compute_nstep_return`). The buffer also takes row 0 for the last row that was
    written. So

        the window of row 0 holds its own reward n_step times, unless it is a terminal
        a window that reaches the last row, if that is not a terminal, correctly ends there; but if
            it would go further, it takes its next observation and discount from row 0

    Args:
      transitions: [N, ...] of one step each, in the order in which they are stored.
      n_step: rewards in a window, at least 1.
      gamma: discount factor within a window.

    Returns:
      Transition of [N, ...] arrays, as `step_windows` defines them except at the windows' ends.

    Raises:
      ValueError: n_step is below 1, or gamma is not from 0 to 1.
    """
    cut = Cut(n_step, gamma)
    n_step, gamma = cut.n_step, cut.gamma
    length = len(transitions.reward)
    is_terminal = np.asarray(transitions.discount) == 0
    row = np.arange(length)
    is_within, window = np.ones(length, np.bool_), np.zeros(length, np.int64)
    reward = np.zeros(length, np.float64)
    for k in range(n_step):
        if k:
            is_held = is_terminal[row] | (row == 0)
            row = np.where(is_held, row, (row + 1) % length)
        reward += gamma**k * is_within * transitions.reward[row]
        window += is_within
        is_within = is_within & ~is_terminal[row] & (row < length - 1)
    return transitions._replace(
        reward=reward.astype(np.float32),
        discount=(gamma ** (window - 1.0) * transitions.discount[row]).astype(np.float32),
        next_observation=transitions.next_observation[row],
    )
