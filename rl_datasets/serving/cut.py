"""How episodes are cut into transitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_datasets.errors import DatasetError

if TYPE_CHECKING:
    from rl_datasets.episode import EpisodeSpec

REWARD = "reward"


@dataclasses.dataclass(frozen=True)
class Cut:
    """How episodes are cut into transitions; `transitions.step_windows` says what each part means.

    Two cuts that give the same transitions are equal: one step has no gamma.

    Attributes:
      n_step: number of rewards in a window, at least 1.
      gamma: discount factor within a window, from 0 to 1; 1 if a window has one reward.
      frame_stack: number of observations in a stack, at least 1.
      next_action: whether the extras have the next action, as `next_action`.
      reward_field: the field of the steps that has the rewards. In `rl_unplugged_atari`,
        `stored_reward` has them in the same rows as the files. In a replayed dataset, `raw_reward`
        has the game's own rewards.
      observed: if an observation is several arrays, the names of those that make its vector, in
        this order. If empty, all of them do, in the order of their names.

    Raises:
      ValueError: a number is out of its range.
    """

    n_step: int = 1
    gamma: float = 1.0
    frame_stack: int = 1
    next_action: bool = False
    reward_field: str = REWARD
    observed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_step < 1 or self.frame_stack < 1:
            raise ValueError(
                f"n_step and frame_stack must be at least 1, got {self.n_step}, {self.frame_stack}"
            )
        if not 0 <= self.gamma <= 1:  # This also refuses nan.
            raise ValueError(f"gamma must be from 0 to 1, got {self.gamma}")
        if self.n_step == 1:
            object.__setattr__(self, "gamma", 1.0)
        object.__setattr__(self, "observed", tuple(self.observed))


ONE_STEP = Cut()


def flattened(observation: Any, cut: Cut) -> Any:
    """Returns observations of one array as they are, and of several arrays as vectors.

    Args:
      observation: [T, ...], or a mapping from names to such arrays.
      cut: names those that make the vector.

    Returns:
      [T, ...], or [T, the sizes of the arrays together], of a dtype that holds them all.

    Raises:
      DatasetError: the cut names an array that an observation does not have, or one is images.
    """
    if not isinstance(observation, Mapping):
        if cut.observed:
            raise DatasetError(
                f"an observation is one array, which has no {cut.observed[0]!r}: leave out the "
                "names of its arrays"
            )
        return observation
    names = cut.observed or sorted(observation)
    for name in names:
        if name not in observation:
            raise DatasetError(
                f"an observation has no array {name!r}: name some of {', '.join(observation)}"
            )
        if not isinstance(observation[name], np.ndarray):
            raise DatasetError(
                f"the array {name!r} of an observation is images, which cannot be part of a "
                "vector: name others"
            )
    arrays = [observation[name] for name in names]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def observation_bytes(spec: EpisodeSpec) -> int:
    """The size of one whole observation in bytes; a cut takes at most this."""
    observation = spec.observation
    arrays = observation.values() if isinstance(observation, Mapping) else [observation]
    return sum(array.generate_value().nbytes for array in arrays)
