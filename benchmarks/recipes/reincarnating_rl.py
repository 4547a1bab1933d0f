"""What google-research/reincarnating_rl does otherwise than its paper, as learners of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax

from learners import dqfd, registry


@dataclasses.dataclass(frozen=True)
class DQfD(dqfd.Config):
    """margin_dqn_agent.py at 3eb419c, dqfd_dqn_agent.py later.

    Attributes:
      squares_weight: lambda is multiplied twice, once with the coefficient and once with the loss.
    """

    squares_weight: bool = False

    def factor(self, weight: jax.Array) -> jax.Array:
        return super().factor(weight * weight if self.squares_weight else weight)


LEARNERS: Mapping[str, registry.Entry] = {
    "dqfd_reincarnating_rl": dataclasses.replace(registry.LEARNERS["dqfd"], config=DQfD),
}
