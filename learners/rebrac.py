"""ReBRAC: TD3+BC that is also cautious in its targets (Tarasov et al. 2023, arXiv:2305.09836).

What the paper leaves open follows the authors' code (tinkoff-ai/ReBRAC). Batches must have the
data's next action, as `extras["next_action"]`; the code's batches have 1,024 transitions for
Gym-MuJoCo, and 256 for Adroit and AntMaze. The code multiplies AntMaze's rewards by 100 beforehand
(`src/utils/buffer.py`).

There are two deviations from the code. In the code the first step of a round moves the policy and
the targets; here the last does, as in TD3. And there the policy's target follows the policy as it
was before its step.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import td3, td3_bc
from learners.checks import shaped
from learners.networks import biased_initializers, mlp, small_initializers, twin
from learners.ranges import Count, NotNegative, Positive, Share, Sizes
from learners.types import Learner, Params, Spec, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of the code for HalfCheetah's medium data (`configs/rebrac`).

    The paper chooses the two weights for each dataset; the code has a file for each.
    """

    hidden_sizes: Sizes = (256, 256, 256)
    policy_learning_rate: Positive = 1e-3  # Adroit and AntMaze 3e-4
    critic_learning_rate: Positive = 1e-3  # Adroit 3e-4, AntMaze 5e-5
    discount: Share = 0.99  # AntMaze 0.999
    target_rate: Share = 0.005
    policy_noise: NotNegative = 0.2  # in units of half the action range
    noise_clip: NotNegative = 0.5  # likewise
    policy_delay: Count = 2
    policy_penalty: NotNegative = 0.001  # beta_1, actor_bc_coef
    critic_penalty: NotNegative = 0.01  # beta_2, critic_bc_coef
    normalize_q: bool = True


@shaped(r_t="...", discount_t="...", q_t="2 ...", pi_t="... A", a_t="... A")
def critic_target(
    r_t: jax.Array,
    discount_t: jax.Array,
    q_t: jax.Array,
    pi_t: jax.Array,
    a_t: jax.Array,
    penalty: float,
) -> jax.Array:
    """r_t + discount_t (min_k q_t[k] - penalty |pi_t - a_t|^2), q_t of pi_t, a_t the data's."""
    distance = jnp.sum(jnp.square(pi_t - a_t), axis=-1)
    return r_t + discount_t * (jnp.min(q_t, axis=0) - penalty * distance)


@shaped(q_tm1="...", pi_tm1="... A", a_tm1="... A")
def policy_loss(
    q_tm1: jax.Array,
    pi_tm1: jax.Array,
    a_tm1: jax.Array,
    q_weight: jax.Array | float,
    penalty: float,
) -> jax.Array:
    """penalty |pi_tm1 - a_tm1|^2 - q_weight q_tm1, q_tm1 of pi_tm1."""
    return penalty * jnp.sum(jnp.square(pi_tm1 - a_tm1), axis=-1) - q_weight * q_tm1


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`.

    An update raises a ValueError if its K is no multiple of `policy_delay`, or if batches lack the
    next action.
    """
    critics = twin(
        mlp([*config.hidden_sizes, 1], biased_initializers, small_initializers(3e-3), True)
    )

    def target_of_batches(
        batches: Transition, discount_t: jax.Array, q_t: jax.Array, pi_t: jax.Array
    ) -> jax.Array:
        if "next_action" not in batches.extras:
            raise ValueError("ReBRAC needs extras['next_action']; serve the data with next_action")
        a_t = batches.extras["next_action"]
        return critic_target(batches.reward, discount_t, q_t, pi_t, a_t, config.critic_penalty)

    def lower_critic(critic_params: Params, s_tm1: jax.Array, pi_tm1: jax.Array) -> jax.Array:
        return jnp.min(critics.apply(critic_params, s_tm1, pi_tm1), axis=0)

    def weighted_policy_loss(q_tm1: jax.Array, pi_tm1: jax.Array, a_tm1: jax.Array) -> jax.Array:
        weight = td3_bc.q_weight(q_tm1, 1.0) if config.normalize_q else 1.0
        return policy_loss(q_tm1, pi_tm1, a_tm1, weight, config.policy_penalty)

    algorithm = td3.Algorithm(
        policy=mlp(
            [*config.hidden_sizes, spec.action_size], biased_initializers, small_initializers(1e-3)
        ),
        critics=critics,
        policy_optimizer=optax.adam(config.policy_learning_rate),
        critic_optimizer=optax.adam(config.critic_learning_rate),
        critic_target=target_of_batches,
        policy_value=lower_critic,
        policy_loss=weighted_policy_loss,
    )
    return td3.make(config, spec, algorithm)
