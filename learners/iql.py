"""Implicit Q-learning: only actions of the data are ever evaluated (Kostrikov et al. 2021).

Equations are those of arXiv:2110.06169; what the paper leaves open follows the authors' code
(ikostrikov/implicit_q_learning). As in the code, a step moves the value, then the policy and the
critics by the new value, then the targets of the critics. In the paper's algorithm 1 the policy
learns afterwards, which is the same because nothing depends on it.

The policy is a Gaussian around a squashed mean; its deviations do not depend on the observation.
The authors rescale rewards beforehand, which is not part of the learner: the code multiplies those
of HalfCheetah, Hopper and Walker2d by 1000 / (highest - lowest return of the data), and subtracts 1
from AntMaze's (`train_offline.py`).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from learners import training
from learners.checks import shaped
from learners.losses import critic_loss
from learners.networks import mlp, orthogonal_initializers, twin
from learners.ranges import Count, NotNegative, Positive, Share, Sizes
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition

LOG_STD_MIN = -5.0  # the code's policy.py and learner.py
LOG_STD_MAX = 2.0


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of the code for MuJoCo (`configs/mujoco_config.py`, `learner.py`).

    There the decay lasts as long as the run, a million steps (`train_offline.py`). The code's
    policies for Kitchen and Adroit also have dropout, which is left out here.
    """

    hidden_sizes: Sizes = (256, 256)
    learning_rate: Positive = 3e-4  # of value, critics and policy
    policy_decay_steps: Count | None = (
        1_000_000  # of the policy's rate, by a cosine to 0; None means no decay
    )
    discount: Share = 0.99
    target_rate: Share = 0.005
    expectile: Share = 0.7  # tau; AntMaze 0.9
    inverse_temperature: NotNegative = 3.0  # beta; AntMaze 10, Kitchen and Adroit 0.5
    max_weight: Positive = 100.0  # the code's actor.py
    deterministic: bool = (
        False  # a policy without deviations, by squared error; CORL, for some of Hopper
    )


class PolicyParams(NamedTuple):
    mean: Params
    log_std: jax.Array  # [action_size], of actions in units of half their range


class IQLParams(NamedTuple):
    policy: PolicyParams
    critics: Params  # stacked, leading axis 2
    value: Params


class OptimizerState(NamedTuple):
    policy: optax.OptState
    critics: optax.OptState
    value: optax.OptState


@shaped(q_tm1="...", v_tm1="...")
def value_loss(q_tm1: jax.Array, v_tm1: jax.Array, expectile: float) -> jax.Array:
    """|expectile - 1(u < 0)| u^2 of u = q_tm1 - v_tm1 (eq. 5)."""
    u = jax.lax.stop_gradient(q_tm1) - v_tm1
    return jnp.where(u < 0, 1.0 - expectile, expectile) * jnp.square(u)


@shaped(r_t="...", discount_t="...", v_t="...")
def critic_target(r_t: jax.Array, discount_t: jax.Array, v_t: jax.Array) -> jax.Array:
    """r_t + discount_t v_t (eq. 6)."""
    return r_t + discount_t * v_t


@shaped(q_tm1="...", v_tm1="...")
def policy_weight(
    q_tm1: jax.Array, v_tm1: jax.Array, inverse_temperature: float, maximum: float
) -> jax.Array:
    """exp(inverse_temperature (q_tm1 - v_tm1)), at most `maximum` (eq. 7 and the code)."""
    return jnp.minimum(jnp.exp(inverse_temperature * (q_tm1 - v_tm1)), maximum)


@shaped(log_pi_tm1="...", weight="...")
def policy_loss(log_pi_tm1: jax.Array, weight: jax.Array) -> jax.Array:
    """-weight log pi(a_tm1|s_tm1) (eq. 7)."""
    return -jax.lax.stop_gradient(weight) * log_pi_tm1


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`."""
    policy_network = mlp([*config.hidden_sizes, spec.action_size], orthogonal_initializers)
    value_network = mlp([*config.hidden_sizes, 1], orthogonal_initializers)
    critics = twin(value_network)
    optimizer = optax.adam(config.learning_rate)
    policy_optimizer = optimizer
    if config.policy_decay_steps is not None:
        policy_optimizer = optax.adam(
            optax.cosine_decay_schedule(config.learning_rate, config.policy_decay_steps)
        )
    centre, magnitude = spec.action_centre, spec.action_magnitude

    def policy(params: PolicyParams, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean [B, A] and log of the standard deviation [A] of actions scaled into [-1, 1]."""
        mean = jnp.tanh(policy_network.apply(params.mean, observation))
        return mean, jnp.clip(params.log_std, LOG_STD_MIN, LOG_STD_MAX)

    def log_prob(params: PolicyParams, observation: jax.Array, action: jax.Array) -> jax.Array:
        mean, log_std = policy(params, observation)
        error = (action - centre) / magnitude - mean
        if config.deterministic:  # as if all deviations were 2^-1/2, but for a constant
            return -jnp.sum(jnp.square(error), axis=-1)
        standard = error * jnp.exp(-log_std)
        normal = -0.5 * (jnp.square(standard) + jnp.log(2.0 * jnp.pi)) - log_std
        return jnp.sum(normal - jnp.log(magnitude), axis=-1)

    def value(params: Params, observation: jax.Array) -> jax.Array:
        return value_network.apply(params, observation)[..., 0]

    def batch_value_loss(params: Params, s_tm1: jax.Array, q_tm1: jax.Array) -> jax.Array:
        return jnp.mean(value_loss(q_tm1, value(params, s_tm1), config.expectile))

    def batch_critic_loss(
        params: Params, s_tm1: jax.Array, a_tm1: jax.Array, target_tm1: jax.Array
    ) -> jax.Array:
        return jnp.mean(critic_loss(critics.apply(params, s_tm1, a_tm1), target_tm1))

    def batch_policy_loss(
        params: PolicyParams, s_tm1: jax.Array, a_tm1: jax.Array, weight: jax.Array
    ) -> jax.Array:
        return jnp.mean(policy_loss(log_prob(params, s_tm1, a_tm1), weight))

    def init(key: jax.Array) -> TrainingState:
        policy_key, critic_key, value_key, run_key = jax.random.split(key, 4)
        observation = jnp.zeros((1, spec.observation_size))
        params = IQLParams(
            policy=PolicyParams(
                mean=policy_network.init(policy_key, observation),
                log_std=jnp.zeros(spec.action_size),
            ),
            critics=critics.init(critic_key, observation, jnp.zeros((1, spec.action_size))),
            value=value_network.init(value_key, observation),
        )
        optimizer_state = OptimizerState(
            policy=policy_optimizer.init(params.policy),
            critics=optimizer.init(params.critics),
            value=optimizer.init(params.value),
        )
        steps = jnp.zeros((), jnp.int32)
        return TrainingState(params, params.critics, optimizer_state, run_key, steps)

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        params, targets, optimizers = state.params, state.target_params, state.optimizer_state
        s_tm1, a_tm1 = batch.observation, batch.action

        q_tm1 = jnp.min(critics.apply(targets, s_tm1, a_tm1), axis=0)
        v_loss, gradients = jax.value_and_grad(batch_value_loss)(params.value, s_tm1, q_tm1)
        new_value, value_state = training.descend(
            optimizer, gradients, optimizers.value, params.value
        )
        v_tm1, v_t = jnp.split(
            value(new_value, jnp.concatenate([s_tm1, batch.next_observation])), 2
        )

        weight = policy_weight(q_tm1, v_tm1, config.inverse_temperature, config.max_weight)
        pi_loss, gradients = jax.value_and_grad(batch_policy_loss)(
            params.policy, s_tm1, a_tm1, weight
        )
        new_policy, policy_state = training.descend(
            policy_optimizer, gradients, optimizers.policy, params.policy
        )

        target_tm1 = critic_target(batch.reward, config.discount * batch.discount, v_t)
        q_loss, gradients = jax.value_and_grad(batch_critic_loss)(
            params.critics, s_tm1, a_tm1, target_tm1
        )
        new_critics, critics_state = training.descend(
            optimizer, gradients, optimizers.critics, params.critics
        )

        new_state = TrainingState(
            params=IQLParams(new_policy, new_critics, new_value),
            target_params=optax.incremental_update(new_critics, targets, config.target_rate),
            optimizer_state=OptimizerState(policy_state, critics_state, value_state),
            key=state.key,
            steps=state.steps + 1,
        )
        metrics = {
            "value_loss": v_loss,
            "policy_loss": pi_loss,
            "critic_loss": q_loss,
            "q": jnp.mean(q_tm1),
            "v": jnp.mean(v_tm1),
        }
        return new_state, metrics

    def act(state: TrainingState, observation: jax.Array) -> jax.Array:
        return policy(state.params.policy, observation)[0] * magnitude + centre

    def sample(state: TrainingState, key: jax.Array, observation: jax.Array) -> jax.Array:
        mean, log_std = policy(state.params.policy, observation)
        action = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        return jnp.clip(action, -1.0, 1.0) * magnitude + centre

    return training.make_learner(
        spec,
        init,
        training.scan(step, spec),
        {"act": act},
        None if config.deterministic else sample,
    )
