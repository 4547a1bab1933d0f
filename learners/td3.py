"""TD3 on data, which TD3+BC and ReBRAC share (Fujimoto et al. 2018, arXiv:1802.09477).

One round is `policy_delay` steps of the critics, each on its own batch, and then one step of the
policy and of all targets, on the last of those batches. Targets do not move within a round, so the
critics' targets for a round are computed at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from learners import training
from learners.checks import check_batches
from learners.losses import critic_loss
from learners.networks import Network
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


class Config(Protocol):
    """What TD3 itself needs; noise and its clipping are in units of half the action range."""

    @property
    def discount(self) -> float: ...
    @property
    def target_rate(self) -> float: ...
    @property
    def policy_noise(self) -> float: ...
    @property
    def noise_clip(self) -> float: ...
    @property
    def policy_delay(self) -> int: ...


class TD3Params(NamedTuple):
    policy: Params
    critics: Params  # stacked, leading axis 2


class OptimizerState(NamedTuple):
    policy: optax.OptState
    critics: optax.OptState


class Algorithm(NamedTuple):
    """What an algorithm adds to TD3.

    Attributes:
      policy: network of observations -> actions, before the tanh that bounds them.
      critics: two networks, stacked.
      policy_optimizer: of the policy.
      critic_optimizer: of the critics.
      critic_target: (batches [K, B], discount_t [K, B], q_t [2, K, B], pi_t [K, B, A]) ->
        target_tm1 [K, B], pi_t of the smoothed target policy and q_t of pi_t.
      policy_value: (params of the critics, s_tm1, pi_tm1) -> q_tm1 [B], what the policy maximises.
      policy_loss: (q_tm1 [B], pi_tm1 [B, A], a_tm1 [B, A]) -> the loss of each sample, [B].
      normalize: observations -> normalised observations.
      act_on: normalised observations -> what the policy is given when it acts.
      clip_smoothed: (action, low, high) -> the target policy's smoothed action within its bounds.
    """

    policy: Network
    critics: Network
    policy_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation
    critic_target: Callable[[Transition, jax.Array, jax.Array, jax.Array], jax.Array]
    policy_value: Callable[[Params, jax.Array, jax.Array], jax.Array]
    policy_loss: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    normalize: Callable[[jax.Array], jax.Array] = lambda observation: observation
    act_on: Callable[[jax.Array], jax.Array] = lambda observation: observation
    clip_smoothed: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] = jnp.clip


def make(config: Config, spec: Spec, algorithm: Algorithm) -> Learner:
    """The learner of an algorithm for a task of `spec`.

    An update raises a ValueError if its K is no multiple of `policy_delay`.
    """
    critics, normalize = algorithm.critics, algorithm.normalize
    policy_optimizer, critic_optimizer = algorithm.policy_optimizer, algorithm.critic_optimizer
    centre, magnitude = spec.action_centre, spec.action_magnitude

    def policy(params: Params, observation: jax.Array) -> jax.Array:
        return jnp.tanh(algorithm.policy.apply(params, observation)) * magnitude + centre

    def smoothed_policy(params: Params, observation: jax.Array, noise: jax.Array) -> jax.Array:
        """Target policy smoothing (eq. 14)."""
        noise = jnp.clip(config.policy_noise * noise, -config.noise_clip, config.noise_clip)
        action = policy(params, observation) + magnitude * noise
        return algorithm.clip_smoothed(action, centre - magnitude, centre + magnitude)

    def batch_critic_loss(
        params: Params, s_tm1: jax.Array, a_tm1: jax.Array, target_tm1: jax.Array
    ) -> jax.Array:
        return jnp.mean(critic_loss(critics.apply(params, s_tm1, a_tm1), target_tm1))

    def batch_policy_loss(
        params: Params, critic_params: Params, s_tm1: jax.Array, a_tm1: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        pi_tm1 = policy(params, s_tm1)
        q_tm1 = algorithm.policy_value(critic_params, s_tm1, pi_tm1)
        return jnp.mean(algorithm.policy_loss(q_tm1, pi_tm1, a_tm1)), jnp.mean(q_tm1)

    def init(key: jax.Array) -> TrainingState:
        policy_key, critic_key, run_key = jax.random.split(key, 3)
        observation = jnp.zeros((1, spec.observation_size))
        params = TD3Params(
            policy=algorithm.policy.init(policy_key, observation),
            critics=critics.init(critic_key, observation, jnp.zeros((1, spec.action_size))),
        )
        optimizer_state = OptimizerState(
            policy=policy_optimizer.init(params.policy),
            critics=critic_optimizer.init(params.critics),
        )
        return TrainingState(params, params, optimizer_state, run_key, jnp.zeros((), jnp.int32))

    def round_(state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
        delay, batch_size, _ = batches.action.shape
        s_tm1, s_t = normalize(batches.observation), normalize(batches.next_observation)
        keys = jax.vmap(functools.partial(jax.random.fold_in, state.key))(
            state.steps + jnp.arange(delay)
        )
        noise = jax.vmap(lambda key: jax.random.normal(key, batches.action.shape[1:]))(keys)

        targets = state.target_params
        pi_t = smoothed_policy(targets.policy, s_t, noise)

        def flat(x: jax.Array) -> jax.Array:
            return x.reshape(delay * batch_size, -1)

        q_t = critics.apply(targets.critics, flat(s_t), flat(pi_t)).reshape(2, delay, batch_size)
        target_tm1 = algorithm.critic_target(batches, config.discount * batches.discount, q_t, pi_t)

        critic_params, critic_state = state.params.critics, state.optimizer_state.critics
        critic_losses = []
        for i in range(delay):
            loss, gradients = jax.value_and_grad(batch_critic_loss)(
                critic_params, s_tm1[i], batches.action[i], target_tm1[i]
            )
            critic_params, critic_state = training.descend(
                critic_optimizer, gradients, critic_state, critic_params
            )
            critic_losses.append(loss)

        (loss, q), gradients = jax.value_and_grad(batch_policy_loss, has_aux=True)(
            state.params.policy, critic_params, s_tm1[-1], batches.action[-1]
        )
        policy_params, policy_state = training.descend(
            policy_optimizer, gradients, state.optimizer_state.policy, state.params.policy
        )
        params = TD3Params(policy_params, critic_params)

        new_state = TrainingState(
            params=params,
            target_params=optax.incremental_update(params, targets, config.target_rate),
            optimizer_state=OptimizerState(policy_state, critic_state),
            key=state.key,
            steps=state.steps + delay,
        )
        metrics = {"critic_loss": sum(critic_losses) / delay, "policy_loss": loss, "q": q}
        return new_state, metrics

    @training.jit_update
    def update(state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
        check_batches(batches, spec)
        steps = batches.action.shape[0]
        if steps % config.policy_delay:
            raise ValueError(
                f"an update takes a multiple of policy_delay={config.policy_delay} batches, "
                f"got {steps}"
            )

        def in_rounds(x: jax.Array) -> jax.Array:
            return x.reshape(-1, config.policy_delay, *x.shape[1:])

        return training.steps(round_, state, jax.tree.map(in_rounds, batches))

    def act(state: TrainingState, observation: jax.Array) -> jax.Array:
        return policy(state.params.policy, algorithm.act_on(normalize(observation)))

    return training.make_learner(spec, init, update, {"act": act})
