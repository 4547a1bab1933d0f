"""How episodes are cut into transitions."""

from __future__ import annotations

import dataclasses

REWARD = "reward"


@dataclasses.dataclass(frozen=True)
class Cut:
    """How episodes are cut into transitions; `transitions.step_windows` says what each part means.

    Two cuts that give the same transitions are equal: one step has no gamma.

    Attributes:
      n_step: rewards in a window, at least 1.
      gamma: discount factor within a window, from 0 to 1; 1 where a window has one reward.
      frame_stack: observations in a stack, at least 1.
      next_action: whether the extras are to have the next action, as `next_action`.
      reward_field: the field of the steps that has the rewards. `stored_reward` of
        `rl_unplugged_atari` gives them where its files have them, and `raw_reward` of what was
        replayed gives the game's own.

    Raises:
      ValueError: a number is out of its range.
    """

    n_step: int = 1
    gamma: float = 1.0
    frame_stack: int = 1
    next_action: bool = False
    reward_field: str = REWARD

    def __post_init__(self) -> None:
        if self.n_step < 1 or self.frame_stack < 1:
            raise ValueError(
                f"n_step and frame_stack must be at least 1, got {self.n_step}, {self.frame_stack}"
            )
        if not 0 <= self.gamma <= 1:  # nor nan
            raise ValueError(f"gamma must be from 0 to 1, got {self.gamma}")
        if self.n_step == 1:
            object.__setattr__(self, "gamma", 1.0)


ONE_STEP = Cut()
