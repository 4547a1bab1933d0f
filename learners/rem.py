"""REM: DQN on a random mixture of many estimates of each value (Agarwal et al. 2020).

"An Optimistic Perspective on Offline Reinforcement Learning", arXiv:1907.04543.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from learners import value_based
from learners.checks import shaped
from learners.dqn import td_error
from learners.ensemble_dqn import HeadsConfig, make_with_heads
from learners.losses import huber
from learners.types import DiscreteSpec, Learner


@dataclasses.dataclass(frozen=True)
class Config(HeadsConfig):
    """As Ensemble-DQN's: defaults are the paper's and batch_rl's gin."""


# batch_rl's online agent, of four networks.
NETWORKS = Config(num_heads=4, are_networks=True, epsilon=0.001 / 32)


def mixture(key: jax.Array, num_heads: int) -> jax.Array:
    """Weights alpha [K] that sum to one: uniform numbers, divided by their sum."""
    weights = jax.random.uniform(key, (num_heads,))
    return weights / jnp.sum(weights)


@shaped(alpha="K", q_tm1="A K", a_tm1="", r_t="", discount_t="", q_t="A K")
def rem_loss(
    alpha: jax.Array,
    q_tm1: jax.Array,
    a_tm1: jax.Array,
    r_t: jax.Array,
    discount_t: jax.Array,
    q_t: jax.Array,
) -> jax.Array:
    """DQN's loss of the values sum_k alpha[k] q[a, k], of both networks.

    Args:
      alpha: [K] weights of the heads.
      q_tm1: [A, K], of the state in which the action was taken.
      a_tm1: the action.
      r_t: the reward.
      discount_t: of what follows.
      q_t: [A, K], of the state that followed, by the target network.
    """
    mixed_t = q_t @ alpha
    return huber(td_error(q_tm1 @ alpha, a_tm1, r_t, discount_t, mixed_t, mixed_t))


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy in the mean head."""

    def loss(sample: value_based.Sample) -> jax.Array:
        return rem_loss(
            mixture(sample.key, config.num_heads),
            sample.outputs_tm1,
            sample.a_tm1,
            sample.r_t,
            sample.discount_t,
            sample.outputs_t,
        )

    return make_with_heads(config, spec, loss)
