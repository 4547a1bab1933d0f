"""By which protocol the policy of a game is scored, as a recipe's `[atari]` gives it."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from benchmarks.training.row import Count


@dataclasses.dataclass(frozen=True)
class AtariProtocol:
    """How games are scored; defaults are those of Agarwal et al. 2020, arXiv:1907.04543.

    Rewards are never clipped, and the loss of a life never ends an episode.

    Attributes:
      evaluation_epsilon: probability of a random action.
      max_episode_steps: after which an episode is truncated, in agent steps of four frames.
      evaluation_steps: an evaluation is of as many whole episodes as together have this many agent
        steps, 125,000 in Dopamine; 0 to play the recipe's number of episodes.
      sticky_probability: that a frame keeps the action before; the data's where it is left out.
      most_no_ops: an episode begins with a random number of no-ops up to this one, at least one;
        0 for none.
      presses_fire: whether an episode begins with FIRE where the game has it.
    """

    evaluation_epsilon: Annotated[float, "[0, 1]"] = 0.001
    max_episode_steps: Count = 27_000
    evaluation_steps: Annotated[int, "[0, inf)"] = 0
    sticky_probability: Annotated[float, "[0, 1]"] | None = None
    most_no_ops: Annotated[int, "[0, inf)"] = 0
    presses_fire: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that a line of results has; the newer ones only where they are not zero."""
        always = ("sticky_probability", "evaluation_epsilon", "max_episode_steps")
        every = {name: getattr(self, name) for name in always} | dataclasses.asdict(self)
        return {name: value for name, value in every.items() if name in always or value}
