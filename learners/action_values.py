"""What a network says of each action: its value, or quantiles of its return.

Algorithms that learn either share this: QR-DQN's loss (Dabney et al. 2018, arXiv:1710.10044) of
quantiles, or DQN's (Mnih et al. 2015) of a value, which is treated as the only one of its kind.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from learners.checks import shaped
from learners.losses import huber
from learners.qr_dqn import quantile_huber_loss


@dataclasses.dataclass(frozen=True)
class ActionValues:
    """The form of a network's outputs for each action.

    Attributes:
      num_quantiles: of the return, or None for the value alone.
      squared: the loss of a value is the squared error and not Huber's.
    """

    num_quantiles: int | None = None
    squared: bool = False

    def __post_init__(self) -> None:
        if self.squared and self.num_quantiles is not None:
            raise ValueError("quantiles have no squared loss: set num_quantiles or squared")

    @property
    def outputs(self) -> int:
        """Number of outputs for each action, N."""
        return 1 if self.num_quantiles is None else self.num_quantiles

    def split(self, flat: jax.Array) -> jax.Array:
        """A network's outputs [B, A N] by action: [B, A, N]."""
        return flat.reshape(flat.shape[0], -1, self.outputs)

    def loss(self, theta_tm1: jax.Array, target_tm1: jax.Array) -> jax.Array:
        """The loss of one action's outputs [N], of which the target is [N]."""
        if self.num_quantiles is not None:
            return quantile_huber_loss(theta_tm1, target_tm1, 1.0)
        error = (target_tm1 - theta_tm1)[0]
        return jnp.square(error) if self.squared else huber(error)


def values(theta: jax.Array) -> jax.Array:
    """Means of the quantiles, [..., A, N] -> [..., A]."""
    return jnp.mean(theta, axis=-1)


@shaped(r_t="", discount_t="", theta_t="A N", a_t="")
def target(r_t: jax.Array, discount_t: jax.Array, theta_t: jax.Array, a_t: jax.Array) -> jax.Array:
    """r_t + discount_t theta_t[a_t], [N]: double Q-learning's where another network chose a_t.

    Van Hasselt et al. 2016, arXiv:1509.06461.

    Args:
      r_t: the reward.
      discount_t: of what follows.
      theta_t: [A, N] of the next state, by the target network.
      a_t: the action there.
    """
    return jax.lax.stop_gradient(r_t + discount_t * theta_t[a_t])
