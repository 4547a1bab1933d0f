"""Rescales rewards before a learner sees them, as the recipes of some algorithms require.

IQL multiplies Gym-MuJoCo's rewards by 1000 / (highest - lowest return of the data) and subtracts 1
from AntMaze's (Kostrikov et al. 2021; ikostrikov/implicit_q_learning, `train_offline.py`). ReBRAC
multiplies AntMaze's by 100 (Tarasov et al. 2023; tinkoff-ai/ReBRAC, `src/utils/buffer.py`). Neither
scales the returns that a policy is scored by.

Needs NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.serving.transitions import Transition

SAME_OBSERVATION = 1e-6  # Euclidean; IQL's dataset_utils.py


def return_range(pieces: Iterable[Transition]) -> float:
    """The highest minus the lowest undiscounted return of the trajectories in transitions.

    By IQL's rule, a trajectory ends where the discount is 0, or where the next row's observation is
    not the next observation. So rows must be in the order in which they were taken.

    Args:
      pieces: Transition of [N, ...] arrays of one step each, observations [N, obs], all together or
        some at a time; a trajectory may continue in the next piece.

    Raises:
      DatasetError: all returns are the same, for example because there is one trajectory.
    """
    returns: list[float] = []
    before = None
    for piece in pieces:
        is_last = _is_last(piece.next_observation[:-1], piece.discount[:-1], piece.observation[1:])
        starts = np.concatenate([[0], np.flatnonzero(is_last) + 1])
        of_piece = np.add.reduceat(piece.reward.astype(np.float64), starts)
        if before is not None:
            ends = before.next_observation[-1:], before.discount[-1:]
            if not _is_last(*ends, piece.observation[:1])[0]:
                of_piece[0] += returns.pop()
        returns += of_piece.tolist()
        before = piece
    if max(returns) == min(returns):
        raise DatasetError(
            f"all {len(returns)} trajectories of the data return {returns[0]:g}, so rewards "
            "cannot be scaled by the range of their returns: give reward_scale a number"
        )
    return max(returns) - min(returns)


def _is_last(
    next_observation: np.ndarray, discount: np.ndarray, following: np.ndarray
) -> np.ndarray:
    """Whether rows end a trajectory, [N] bool, by the observations of the rows that follow them."""
    jump = np.linalg.norm(following - next_observation, axis=1)
    return (jump > SAME_OBSERVATION) | (discount == 0)


def rescaled(transitions: Transition, scale: float, bias: float) -> Transition:
    """The transitions with scale * reward + bias, in float32, in place of each reward [...]."""
    if (scale, bias) == (1.0, 0.0):
        return transitions
    reward = transitions.reward * np.float32(scale) + np.float32(bias)
    return transitions._replace(reward=reward)
