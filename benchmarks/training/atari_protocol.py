"""The protocol by which a game's policy is scored: the table `[atari]` of a recipe."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from benchmarks.training.row import Count


@dataclasses.dataclass(frozen=True)
class AtariProtocol:
    """How games are scored; the defaults are those of Agarwal et al. 2020, arXiv:1907.04543.

    Rewards are never clipped, and the loss of a life never ends an episode.

    Attributes:
      evaluation_epsilon: probability of a random action.
      max_episode_steps: number of agent steps, of four frames, after which an episode is truncated.
      evaluation_steps: an evaluation plays whole episodes until they have this many agent steps
        together, 125,000 in Dopamine; with 0, it plays the recipe's number of episodes.
      sticky_probability: probability that a frame keeps the previous action; by default that of the
        data.
      most_no_ops: an episode begins with a random number of no-ops from one to this; with 0, it
        begins without no-ops.
      presses_fire: whether an episode begins with FIRE if the game has that action.
    """

    evaluation_epsilon: Annotated[float, "[0, 1]"] = 0.001
    max_episode_steps: Count = 27_000
    evaluation_steps: Annotated[int, "[0, inf)"] = 0
    sticky_probability: Annotated[float, "[0, 1]"] | None = None
    most_no_ops: Annotated[int, "[0, inf)"] = 0
    presses_fire: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """The fields for a line of results; the newer ones only if they are not zero."""
        always = ("sticky_probability", "evaluation_epsilon", "max_episode_steps")
        every = {name: getattr(self, name) for name in always} | dataclasses.asdict(self)
        return {name: value for name, value in every.items() if name in always or value}
