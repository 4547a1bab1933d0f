"""Losses of one sample, and their parts, that several algorithms share."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from learners.checks import shaped
from learners.types import Params, Spec


@shaped(q_tm1="k ...", target_tm1="...")
def critic_loss(q_tm1: jax.Array, target_tm1: jax.Array) -> jax.Array:
    """sum_k (q_tm1[k] - target_tm1)^2, of critics [K, ...] and their one target [...].

    TD3's and BCQ's algorithm 1, IQL's equation 6, and SAC's 5 without its factor of a half.
    """
    return jnp.sum(jnp.square(q_tm1 - jax.lax.stop_gradient(target_tm1)), axis=0)


@shaped(pi_tm1="... A", a_tm1="... A")
def squared_error(pi_tm1: jax.Array, a_tm1: jax.Array) -> jax.Array:
    """Mean over the entries of (pi_tm1 - a_tm1)^2: [..., A] -> [...]."""
    return jnp.mean(jnp.square(pi_tm1 - a_tm1), axis=-1)


@shaped(log_pi="...", log_pi_data="...")
def cloning_loss(alpha: jax.Array | float, log_pi: jax.Array, log_pi_data: jax.Array) -> jax.Array:
    """alpha log pi(a~|s) - log pi(a|s), a~ ~ pi and a the data's.

    This is maximum likelihood with a reward for entropy, as in BRAC and the code of CQL.
    """
    return alpha * log_pi - log_pi_data


def entropy_loss(alpha: jax.Array, log_pi: jax.Array, target_entropy: float) -> jax.Array:
    """alpha (-log pi(a~|s) - target_entropy): alpha grows while the entropy is too low.

    SAC's equation 18 (Haarnoja et al. 2018, arXiv:1812.05905).
    """
    return alpha * (-log_pi - target_entropy)


def target_entropy(given: float | None, spec: Spec) -> float:
    """The given entropy, or -action_size, the choice of SAC's authors."""
    return -float(spec.action_size) if given is None else given


def huber(error: jax.Array, kappa: float = 1.0) -> jax.Array:
    """error^2 / 2 within kappa of zero, and linear beyond (Huber 1964)."""
    within = jnp.minimum(jnp.abs(error), kappa)
    return within * (jnp.abs(error) - 0.5 * within)


@shaped(logits="A", a_tm1="")
def log_likelihood(logits: jax.Array, a_tm1: jax.Array) -> jax.Array:
    """log softmax(logits)[a_tm1]."""
    return jax.nn.log_softmax(logits)[a_tm1]


def first_critic(critics: Params) -> Params:
    """The params of the first of several critics, which are stacked."""
    return jax.tree.map(lambda p: p[0], critics)
