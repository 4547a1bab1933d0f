"""TD3+BC: TD3 whose policy is also regressed on the data (Fujimoto & Gu 2021, arXiv:2106.06860).

Equations are that paper's; what it takes over from TD3 is Fujimoto et al. 2018 (arXiv:1802.09477,
algorithm 1). Initial weights are as in the authors' code (sfujim/TD3_BC), PyTorch's default.

One round is `policy_delay` steps of the critics, on a batch each, and then one step of the policy
and of all targets, on the last of those batches. Targets stand still within a round, so its
critic targets are computed at once.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from learners import training
from learners.networks import mlp, torch_initializers, twin
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of the paper's table 3, which are also its code's."""

    hidden_sizes: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4  # of critics and policy
    discount: float = 0.99
    target_rate: float = 0.005
    policy_noise: float = 0.2  # in units of half the action range
    noise_clip: float = 0.5  # likewise
    policy_delay: int = 2
    alpha: float = 2.5
    normalize_observations: bool = True  # section 5, eq. 6
    normalization_epsilon: float = 1e-3  # added to the standard deviation; eq. 6


class TD3Params(NamedTuple):
    policy: Params
    critics: Params  # stacked, leading axis 2


class OptimizerState(NamedTuple):
    policy: optax.OptState
    critics: optax.OptState


def critic_target(r_t: jax.Array, discount_t: jax.Array, q_t: jax.Array) -> jax.Array:
    """r_t + discount_t min_k q_t[k] (TD3, algorithm 1)."""
    return r_t + discount_t * jnp.min(q_t, axis=0)


def critic_loss(q_tm1: jax.Array, target_tm1: jax.Array) -> jax.Array:
    """sum_k (q_tm1[k] - target_tm1)^2 (TD3, algorithm 1)."""
    return jnp.sum(jnp.square(q_tm1 - jax.lax.stop_gradient(target_tm1)), axis=0)


def policy_loss(
    q_tm1: jax.Array, pi_tm1: jax.Array, a_tm1: jax.Array, weight: jax.Array
) -> jax.Array:
    """-weight q_tm1 + mean over entries of (pi_tm1 - a_tm1)^2 (eq. 3; q_tm1 is of pi_tm1)."""
    return -weight * q_tm1 + jnp.mean(jnp.square(pi_tm1 - a_tm1), axis=-1)


def q_weight(q_tm1: jax.Array, alpha: float) -> jax.Array:
    """alpha / mean |q_tm1| over the batch, without a gradient (eq. 4)."""
    return alpha / jax.lax.stop_gradient(jnp.mean(jnp.abs(q_tm1)))


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`.

    An update's K must be a multiple of `policy_delay`; a ValueError says so otherwise.
    """
    policy_network = mlp([*config.hidden_sizes, spec.action_size], torch_initializers)
    critic = mlp([*config.hidden_sizes, 1], torch_initializers)
    critics = twin(critic)
    optimizer = optax.adam(config.learning_rate)
    centre, magnitude = spec.action_centre, spec.action_magnitude

    def normalize(observation: jax.Array) -> jax.Array:
        if not config.normalize_observations:
            return observation
        scale = spec.observation_std + config.normalization_epsilon
        return (observation - spec.observation_mean) / scale

    def policy(params: Params, observation: jax.Array) -> jax.Array:
        return jnp.tanh(policy_network.apply(params, observation)) * magnitude + centre

    def smoothed_policy(params: Params, observation: jax.Array, noise: jax.Array) -> jax.Array:
        """TD3's target policy smoothing (its eq. 14)."""
        noise = jnp.clip(config.policy_noise * noise, -config.noise_clip, config.noise_clip)
        action = policy(params, observation) + magnitude * noise
        return jnp.clip(action, centre - magnitude, centre + magnitude)

    def batch_critic_loss(params: Params, s_tm1, a_tm1, target_tm1) -> jax.Array:
        return jnp.mean(critic_loss(critics.apply(params, s_tm1, a_tm1), target_tm1))

    def batch_policy_loss(
        params: Params, critic_params: Params, s_tm1, a_tm1
    ) -> tuple[jax.Array, jax.Array]:
        first_critic = jax.tree.map(lambda p: p[0], critic_params)
        pi_tm1 = policy(params, s_tm1)
        q_tm1 = critic.apply(first_critic, s_tm1, pi_tm1)[..., 0]
        losses = policy_loss(q_tm1, pi_tm1, a_tm1, q_weight(q_tm1, config.alpha))
        return jnp.mean(losses), jnp.mean(q_tm1)

    @jax.jit
    def init(key: jax.Array) -> TrainingState:
        policy_key, critic_key, run_key = jax.random.split(key, 3)
        observation = jnp.zeros((1, spec.observation_size))
        params = TD3Params(
            policy=policy_network.init(policy_key, observation),
            critics=critics.init(critic_key, observation, jnp.zeros((1, spec.action_size))),
        )
        optimizer_state = OptimizerState(*map(optimizer.init, params))
        return TrainingState(params, params, optimizer_state, run_key, jnp.zeros((), jnp.int32))

    def round_(state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
        delay, batch_size, _ = batches.action.shape
        s_tm1, s_t = normalize(batches.observation), normalize(batches.next_observation)
        keys = jax.vmap(functools.partial(jax.random.fold_in, state.key))(
            state.steps + jnp.arange(delay)
        )
        noise = jax.vmap(lambda key: jax.random.normal(key, batches.action.shape[1:]))(keys)

        targets = state.target_params
        a_t = smoothed_policy(targets.policy, s_t, noise)

        def flat(x: jax.Array) -> jax.Array:
            return x.reshape(delay * batch_size, -1)

        q_t = critics.apply(targets.critics, flat(s_t), flat(a_t)).reshape(2, delay, batch_size)
        target_tm1 = critic_target(batches.reward, config.discount * batches.discount, q_t)

        critic_params, critic_state = state.params.critics, state.optimizer_state.critics
        critic_losses = []
        for i in range(delay):
            loss, gradients = jax.value_and_grad(batch_critic_loss)(
                critic_params, s_tm1[i], batches.action[i], target_tm1[i]
            )
            updates, critic_state = optimizer.update(gradients, critic_state)
            critic_params = optax.apply_updates(critic_params, updates)
            critic_losses.append(loss)

        (loss, q), gradients = jax.value_and_grad(batch_policy_loss, has_aux=True)(
            state.params.policy, critic_params, s_tm1[-1], batches.action[-1]
        )
        updates, policy_state = optimizer.update(gradients, state.optimizer_state.policy)
        params = TD3Params(optax.apply_updates(state.params.policy, updates), critic_params)

        new_state = TrainingState(
            params=params,
            target_params=optax.incremental_update(params, targets, config.target_rate),
            optimizer_state=OptimizerState(policy_state, critic_state),
            key=state.key,
            steps=state.steps + delay,
        )
        metrics = {"critic_loss": sum(critic_losses) / delay, "policy_loss": loss, "q": q}
        return new_state, metrics

    scan_rounds = training.scan(round_)

    @training.jit_update
    def update(state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
        steps = batches.action.shape[0]
        if steps % config.policy_delay:
            raise ValueError(
                f"an update takes a multiple of policy_delay={config.policy_delay} batches, "
                f"got {steps}"
            )

        def in_rounds(x: jax.Array) -> jax.Array:
            return x.reshape(-1, config.policy_delay, *x.shape[1:])

        return scan_rounds(state, jax.tree.map(in_rounds, batches))

    @jax.jit
    def act(state: TrainingState, observation: jax.Array) -> jax.Array:
        return policy(state.params.policy, normalize(observation))

    return Learner(init, update, act)
