"""A transition without its episode, with stacked frames, as a learner takes it.

Some sources have shuffled their transitions and stored with each the frames that it needs. No
episode can be made of them, because the beginnings and the ends of episodes are not known. So a
transition is a record of its own kind.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

import dm_env.specs

from rl_datasets.episode import EpisodeError
from rl_datasets.episode_check import MUST_BE_FINITE, OUT_OF_BOUNDS
from rl_datasets.frames import EncodedFrames

TRANSITION_DISCOUNT = "the discount of a transition must be in [0, 1]"


@dataclasses.dataclass(frozen=True)
class TransitionSpec:
    """Shape, dtype and bounds of a transition.

    Attributes:
      frame: spec of one frame, uint8 [H, W, 1 or 3].
      stack: number of frames in an observation, the oldest first.
      action: spec of an action, a scalar int64 within bounds.
    """

    frame: dm_env.specs.Array
    stack: int
    action: dm_env.specs.BoundedArray

    # These are cached because every transition needs them, and reading them from NumPy's arrays
    # would cost more than all other checks.
    @functools.cached_property
    def observation_shape(self) -> tuple[int, ...]:
        """[stack, H, W, C]."""
        return (self.stack, *self.frame.shape)

    @functools.cached_property
    def action_bounds(self) -> tuple[int, int]:
        """The smallest and the largest action."""
        return int(self.action.minimum), int(self.action.maximum)


class StackedTransition(NamedTuple):
    """One transition.

    Attributes:
      observation: [stack, H, W, C] frames; the action was taken in the last of them.
      action: the action taken in `observation`.
      reward: the reward that `action` earned.
      discount: the discount that `action` earned; 0 if it ended the episode.
      next_observation: [stack, H, W, C] frames.
      next_action: the action taken in `next_observation`.
      episode_id: the id of the source's episode.
      episode_return: the return of the source's episode.
    """

    observation: EncodedFrames
    action: int
    reward: float
    discount: float
    next_observation: EncodedFrames
    next_action: int
    episode_id: int
    episode_return: float


def check_transition(transition: StackedTransition, spec: TransitionSpec) -> None:
    """Raises `EpisodeError` unless the transition obeys its spec; no frame is decoded."""
    shape, (least, greatest) = spec.observation_shape, spec.action_bounds
    for name, frames in (
        ("observation", transition.observation),
        ("next_observation", transition.next_observation),
    ):
        if frames.shape != shape:
            raise EpisodeError(f"{name} must be of shape {shape}, got {frames.shape}")
        try:
            frames.check()
        except ValueError as error:
            raise EpisodeError(f"{error} (field {name!r})") from error
    for name, action in (("action", transition.action), ("next_action", transition.next_action)):
        if not least <= action <= greatest:
            raise EpisodeError(f"{OUT_OF_BOUNDS} (field {name!r})")
    for name, value in (
        ("reward", transition.reward),
        ("episode_return", transition.episode_return),
    ):
        if not math.isfinite(value):
            raise EpisodeError(f"{MUST_BE_FINITE} (field {name!r})")
    if not 0 <= transition.discount <= 1:
        raise EpisodeError(f"{TRANSITION_DISCOUNT} (field 'discount')")
