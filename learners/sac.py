"""Soft actor-critic with two critics and a learnt temperature (Haarnoja et al. 2018).

The algorithm is that of arXiv:1812.05905, equations 5 to 7 and 18. What the paper leaves open
follows BRAC's code (google-research, behavior_regularized_offline_rl, `brac/sac_agent.py`), which
trained the policies that collected BRAC's data: networks, one learning rate for Adam, and a target
update before the gradients of a step.

There are three deviations from BRAC. Target critics begin as copies of the critics, as in the paper
(BRAC initialises them separately). The temperature learns from the sample drawn in the policy's
step (BRAC draws another after that step). Adam's epsilon is added where Adam's paper has it, not
where Keras adds it.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from learners import losses, training
from learners.checks import shaped
from learners.losses import critic_loss, entropy_loss
from learners.networks import TanhGaussian, mlp, mode_and_sample, twin
from learners.ranges import Positive, Share, Sizes
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of BRAC's code and its README."""

    policy_sizes: Sizes = (200, 200)  # README, model_params
    critic_sizes: Sizes = (300, 300)  # README; the shipped agents have (200, 200)
    learning_rate: Positive = 5e-4  # README, optimizers; for critics, policy and temperature
    adam_epsilon: Positive = 1e-7  # Keras' default
    discount: Share = 0.99  # agent.py
    target_rate: Share = 0.005  # agent.py, update_rate
    log_alpha: float = 0.0  # initial log of the temperature; sac_agent.py
    target_entropy: float | None = None  # None means -action_size; sac_agent.py


class SACParams(NamedTuple):
    policy: Params
    critics: Params  # stacked, leading axis 2
    log_alpha: jax.Array  # scalar


class OptimizerState(NamedTuple):
    critics: optax.OptState
    policy: optax.OptState  # of the policy and of log_alpha


@shaped(r_t="...", discount_t="...", q_t="2 ...", log_pi_t="...")
def critic_target(
    r_t: jax.Array,
    discount_t: jax.Array,
    q_t: jax.Array,
    log_pi_t: jax.Array,
    log_alpha: jax.Array,
) -> jax.Array:
    """r_t + discount_t (min_k q_t[k] - alpha log pi(a_t|s_t)), a_t ~ pi (eqs. 3 and 5)."""
    return r_t + discount_t * (jnp.min(q_t, axis=0) - jnp.exp(log_alpha) * log_pi_t)


@shaped(q_tm1="2 ...", log_pi_tm1="...")
def policy_loss(q_tm1: jax.Array, log_pi_tm1: jax.Array, log_alpha: jax.Array) -> jax.Array:
    """alpha log pi(a~|s_tm1) - min_k q_tm1[k] of that a~ (eq. 7)."""
    return jnp.exp(log_alpha) * log_pi_tm1 - jnp.min(q_tm1, axis=0)


def policy_and_alpha_loss(
    policy_losses: jax.Array,
    q_tm1: jax.Array,
    log_pi_tm1: jax.Array,
    log_alpha: jax.Array,
    target_entropy: float,
) -> tuple[jax.Array, Metrics]:
    """The loss that the policy and the temperature descend together, and its metrics.

    Args:
      policy_losses: of the samples, [B], with no gradient for the temperature.
      q_tm1: of the policy's actions, [2, B].
      log_pi_tm1: of these actions, [B].
      log_alpha: of the temperature.
      target_entropy: of the policy.
    """
    alpha = jnp.exp(log_alpha)
    alpha_losses = entropy_loss(alpha, jax.lax.stop_gradient(log_pi_tm1), target_entropy)
    metrics = {
        "policy_loss": jnp.mean(policy_losses),
        "alpha_loss": jnp.mean(alpha_losses),
        "alpha": alpha,
        "entropy": -jnp.mean(log_pi_tm1),
        "q": jnp.mean(q_tm1),
    }
    return metrics["policy_loss"] + metrics["alpha_loss"], metrics


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`."""
    policy_network = mlp([*config.policy_sizes, 2 * spec.action_size])
    critics = twin(mlp([*config.critic_sizes, 1]))
    optimizer = optax.adam(config.learning_rate, eps=config.adam_epsilon)
    target_entropy = losses.target_entropy(config.target_entropy, spec)

    def policy(params: Params, observation: jax.Array) -> TanhGaussian:
        return TanhGaussian.from_head(policy_network.apply(params, observation), spec)

    def batch_critic_loss(
        critic_params: Params,
        params: SACParams,
        target_params: Params,
        noise: jax.Array,
        batch: Transition,
    ) -> jax.Array:
        a_t, log_pi_t = policy(params.policy, batch.next_observation).sample(noise)
        q_t = critics.apply(target_params, batch.next_observation, a_t)
        discount_t = config.discount * batch.discount
        target_tm1 = critic_target(batch.reward, discount_t, q_t, log_pi_t, params.log_alpha)
        q_tm1 = critics.apply(critic_params, batch.observation, batch.action)
        return jnp.mean(critic_loss(q_tm1, target_tm1))

    def batch_policy_loss(
        policy_params: tuple[Params, jax.Array],
        critic_params: Params,
        noise: jax.Array,
        batch: Transition,
    ) -> tuple[jax.Array, Metrics]:
        network_params, log_alpha = policy_params
        a_tm1, log_pi_tm1 = policy(network_params, batch.observation).sample(noise)
        q_tm1 = critics.apply(critic_params, batch.observation, a_tm1)
        policy_losses = policy_loss(q_tm1, log_pi_tm1, jax.lax.stop_gradient(log_alpha))
        return policy_and_alpha_loss(policy_losses, q_tm1, log_pi_tm1, log_alpha, target_entropy)

    def init(key: jax.Array) -> TrainingState:
        policy_key, critic_key, run_key = jax.random.split(key, 3)
        observation = jnp.zeros((1, spec.observation_size))
        params = SACParams(
            policy=policy_network.init(policy_key, observation),
            critics=critics.init(critic_key, observation, jnp.zeros((1, spec.action_size))),
            log_alpha=jnp.asarray(config.log_alpha, jnp.float32),
        )
        optimizer_state = OptimizerState(
            critics=optimizer.init(params.critics),
            policy=optimizer.init((params.policy, params.log_alpha)),
        )
        steps = jnp.zeros((), jnp.int32)
        return TrainingState(params, params.critics, optimizer_state, run_key, steps)

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        key = jax.random.fold_in(state.key, state.steps)
        noise_tm1, noise_t = jax.random.normal(key, (2, *batch.action.shape))
        params = state.params
        target_params = optax.incremental_update(
            params.critics, state.target_params, config.target_rate
        )

        loss, gradients = jax.value_and_grad(batch_critic_loss)(
            params.critics, params, target_params, noise_t, batch
        )
        new_critics, critics_state = training.descend(
            optimizer, gradients, state.optimizer_state.critics, params.critics
        )

        policy_params = (params.policy, params.log_alpha)
        policy_gradients, metrics = jax.grad(batch_policy_loss, has_aux=True)(
            policy_params, new_critics, noise_tm1, batch
        )
        (new_policy, new_log_alpha), policy_state = training.descend(
            optimizer, policy_gradients, state.optimizer_state.policy, policy_params
        )

        new_state = TrainingState(
            params=SACParams(new_policy, new_critics, new_log_alpha),
            target_params=target_params,
            optimizer_state=OptimizerState(critics_state, policy_state),
            key=state.key,
            steps=state.steps + 1,
        )
        return new_state, {"critic_loss": loss, **metrics}

    act, sample = mode_and_sample(policy)
    return training.make_learner(spec, init, training.scan(step, spec), {"act": act}, sample)
