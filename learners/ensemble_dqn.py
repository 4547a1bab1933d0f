"""Ensemble-DQN and Averaged Ensemble-DQN: DQN with many estimates of each value.

As REM's paper compares with them (Agarwal et al. 2020, "An Optimistic Perspective on Offline
Reinforcement Learning", arXiv:1907.04543); the average is Anschel et al.'s (2017,
arXiv:1611.01929). batch_rl has the first of the two, as `multi_head_dqn` with the transform
IDENTITY.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from learners import value_based
from learners.checks import shaped
from learners.dqn import td_error
from learners.image_networks import nature_dqn
from learners.losses import huber
from learners.networks import Network, fan_in_initializers, side_by_side
from learners.ranges import Count, Positive, Share
from learners.types import DiscreteSpec, Learner, Params


@dataclasses.dataclass(frozen=True)
class HeadsConfig:
    """What REM has too. Defaults are REM's paper's (table 2 and appendix A.4) and batch_rl's gin.

    Attributes:
      num_heads: estimates of each value, K.
      are_networks: each estimate has a network of its own; else all are outputs of one network.
    """

    num_heads: Count = 200
    are_networks: bool = False
    discount: Share = 0.99
    target_period: Count = 2_000  # gradient steps; 8,000 agent steps, four an update
    learning_rate: Positive = 5e-5
    epsilon: Positive = 0.01 / 32  # of Adam


@dataclasses.dataclass(frozen=True)
class Config(HeadsConfig):
    """As `HeadsConfig`.

    Attributes:
      is_averaged: all heads have one target, of the mean of the target network's heads (Averaged
        Ensemble-DQN); else each has its own.
    """

    is_averaged: bool = False


@shaped(q_tm1="A K", a_tm1="", r_t="", discount_t="", q_t="A K")
def ensemble_loss(
    q_tm1: jax.Array, a_tm1: jax.Array, r_t: jax.Array, discount_t: jax.Array, q_t: jax.Array
) -> jax.Array:
    """Mean over the heads of DQN's loss, each head with its own target.

    Args:
      q_tm1: [A, K], of the state in which the action was taken.
      a_tm1: the action.
      r_t: the reward.
      discount_t: of what follows.
      q_t: [A, K], of the state that followed, by the target network.
    """
    errors = jax.vmap(td_error, (1, None, None, None, 1, 1))(
        q_tm1, a_tm1, r_t, discount_t, q_t, q_t
    )
    return jnp.mean(huber(errors))


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy in the mean head."""

    def loss(sample: value_based.Sample) -> jax.Array:
        q_t = sample.outputs_t
        if config.is_averaged:
            q_t = jnp.broadcast_to(jnp.mean(q_t, axis=-1, keepdims=True), q_t.shape)
        return ensemble_loss(sample.outputs_tm1, sample.a_tm1, sample.r_t, sample.discount_t, q_t)

    return make_with_heads(config, spec, loss)


def make_with_heads(
    config: HeadsConfig, spec: DiscreteSpec, loss: Callable[[value_based.Sample], jax.Array]
) -> Learner:
    """A learner whose outputs are [B, A, K], with a loss of one sample and the mean head to act."""
    algorithm = value_based.Algorithm(
        network=heads(spec.num_actions, config.num_heads, config.are_networks),
        optimizer=optax.adam(config.learning_rate, eps=config.epsilon),
        loss=loss,
        values=lambda q: jnp.mean(q, axis=-1),
    )
    return value_based.make(config, spec, algorithm)


def heads(num_actions: int, num_heads: int, are_networks: bool) -> Network:
    """A network of `num_heads` estimates of each action's value: frames -> [B, A, K].

    Args:
      num_actions: A.
      num_heads: K.
      are_networks: whether each head is a network of its own.
    """
    if are_networks:
        return side_by_side([nature_dqn(num_actions)] * num_heads)
    network = nature_dqn(num_actions * num_heads, fan_in_initializers)

    def apply(params: Params, observation: jax.Array) -> jax.Array:
        return network.apply(params, observation).reshape(-1, num_actions, num_heads)

    return network._replace(apply=apply)
