"""TD3+BC: TD3 whose policy is also regressed on the data (Fujimoto & Gu 2021, arXiv:2106.06860).

Equations are that paper's. Initial weights are those of the authors' code (sfujim/TD3_BC), which
are PyTorch's defaults.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import td3
from learners.checks import shaped
from learners.losses import first_critic, squared_error
from learners.networks import mlp, torch_initializers, twin
from learners.ranges import Count, NotNegative, Positive, Share, Sizes
from learners.types import Learner, Params, Spec, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of the paper's table 3, which are also its code's."""

    hidden_sizes: Sizes = (256, 256)
    learning_rate: Positive = 3e-4  # of critics and policy
    discount: Share = 0.99
    target_rate: Share = 0.005
    policy_noise: NotNegative = 0.2  # in units of half the action range
    noise_clip: NotNegative = 0.5  # likewise
    policy_delay: Count = 2
    alpha: NotNegative = 2.5
    normalize_observations: bool = True  # section 5, eq. 6
    normalization_epsilon: NotNegative = 1e-3  # added to the standard deviation; eq. 6

    def act_on(self, observation: jax.Array) -> jax.Array:
        """What the policy is given of a normalised observation when it acts."""
        return observation

    def clip_smoothed(self, action: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        """The target policy's smoothed actions, within their bounds (TD3, eq. 14)."""
        return jnp.clip(action, low, high)


@shaped(r_t="...", discount_t="...", q_t="2 ...")
def critic_target(r_t: jax.Array, discount_t: jax.Array, q_t: jax.Array) -> jax.Array:
    """r_t + discount_t min_k q_t[k] (TD3, algorithm 1)."""
    return r_t + discount_t * jnp.min(q_t, axis=0)


@shaped(q_tm1="...", pi_tm1="... A", a_tm1="... A")
def policy_loss(
    q_tm1: jax.Array, pi_tm1: jax.Array, a_tm1: jax.Array, weight: jax.Array
) -> jax.Array:
    """-weight q_tm1 + mean over entries of (pi_tm1 - a_tm1)^2 (eq. 3; q_tm1 is of pi_tm1)."""
    return -weight * q_tm1 + squared_error(pi_tm1, a_tm1)


def q_weight(q_tm1: jax.Array, alpha: float) -> jax.Array:
    """alpha / mean |q_tm1| over the batch, without a gradient (eq. 4)."""
    return alpha / jax.lax.stop_gradient(jnp.mean(jnp.abs(q_tm1)))


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`.

    An update raises a ValueError if its K is no multiple of `policy_delay`.
    """
    critic = mlp([*config.hidden_sizes, 1], torch_initializers)

    def normalize(observation: jax.Array) -> jax.Array:
        if not config.normalize_observations:
            return observation
        scale = spec.observation_std + config.normalization_epsilon
        return (observation - spec.observation_mean) / scale

    def target_of_batches(
        batches: Transition, discount_t: jax.Array, q_t: jax.Array, pi_t: jax.Array
    ) -> jax.Array:
        del pi_t
        return critic_target(batches.reward, discount_t, q_t)

    def value_by_first(critic_params: Params, s_tm1: jax.Array, pi_tm1: jax.Array) -> jax.Array:
        return critic.apply(first_critic(critic_params), s_tm1, pi_tm1)[..., 0]

    def weighted_policy_loss(q_tm1: jax.Array, pi_tm1: jax.Array, a_tm1: jax.Array) -> jax.Array:
        return policy_loss(q_tm1, pi_tm1, a_tm1, q_weight(q_tm1, config.alpha))

    algorithm = td3.Algorithm(
        policy=mlp([*config.hidden_sizes, spec.action_size], torch_initializers),
        critics=twin(critic),
        policy_optimizer=optax.adam(config.learning_rate),
        critic_optimizer=optax.adam(config.learning_rate),
        critic_target=target_of_batches,
        policy_value=value_by_first,
        policy_loss=weighted_policy_loss,
        normalize=normalize,
        act_on=config.act_on,
        clip_smoothed=config.clip_smoothed,
    )
    return td3.make(config, spec, algorithm)
