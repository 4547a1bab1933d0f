"""Conservative Q-learning: SAC whose critics are low off the data (Kumar et al. 2020).

Equations are those of arXiv:2006.04779, and the variant is CQL(H). What the paper leaves open
follows the authors' code (aviralkumar2907/CQL, `d4rl/rlkit/torch/sac/cql.py`); its SAC is as in
`learners.sac`.

The log-sum-exp of eq. 4 is estimated by importance sampling (appendix F) from three sources, a
third each: uniform actions, the policy's actions, and its actions at the next observation, which
only the code has. The code leaves out the constant log of the number of samples, and so do we: a
Lagrange threshold includes it.

There is one deviation. A step moves the critics first, and then the policy and the temperature,
with the new critics and the old temperature. The code moves the temperature first, and takes the
policy's gradient partly from the critics before their step and partly from those after it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learners import losses, sac, training
from learners.checks import shaped
from learners.networks import (
    Initializer,
    Network,
    TanhGaussian,
    biased_initializers,
    mlp,
    mode_and_sample,
    small_initializers,
    twin,
)
from learners.ranges import Count, NotNegative, Positive, Share, Sizes, Steps
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition

LOG_STD_MAX = 2.0  # the code's policies.py
CLONING_MARGIN = 1e-6  # data actions keep this far from the bounds, in units of half their range
MAX_MULTIPLIER = 1e6  # cql.py


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of the code and its README for Gym-MuJoCo.

    The README says that they differ from the paper's because D4RL's data have changed since. Issue
    5 of the code quotes the paper's: a policy learning rate of 3e-5 and a Lagrange threshold of 10.
    """

    hidden_sizes: Sizes = (256, 256, 256)  # cql_mujoco_new.py; of policy and critics
    policy_learning_rate: Positive = 1e-4  # README; of policy and temperature
    critic_learning_rate: Positive = 3e-4  # cql_mujoco_new.py; of critics and multiplier
    discount: Share = 0.99
    target_rate: Share = 0.005  # cql_mujoco_new.py
    log_alpha: float = 0.0  # initial log of the temperature; cql.py
    target_entropy: float | None = None  # None means -action_size; cql.py
    entropy_backup: bool = False  # whether targets count the policy's entropy; cql_mujoco_new.py
    num_actions: Count = 10  # of each source; cql_mujoco_new.py, num_random
    weight: NotNegative = 5.0  # of the penalty, README: 5 or 10; min_q_weight
    lagrange_threshold: NotNegative | None = None  # tau of appendix F; README: none, AntMaze 5
    cloning_steps: Steps = 40_000  # in which the policy clones the data; policy_eval_start
    log_std_minimum: float = -5.0  # the code's policies.py

    def networks(self, spec: Spec) -> tuple[Network, Network]:
        """The policy's network, to means and log deviations, and a critic's, as in rlkit."""

        def hidden(fan_in: int) -> tuple[Initializer, Initializer]:
            del fan_in
            return biased_initializers(self.hidden_sizes[0])  # rlkit counts outputs as fan-in

        return (
            mlp([*self.hidden_sizes, 2 * spec.action_size], hidden, small_initializers(1e-3)),
            mlp([*self.hidden_sizes, 1], hidden, small_initializers(3e-3)),
        )

    def bounded(self, gradients: Params) -> Params:
        """The part of the stacked critics' gradients that is descended: all."""
        return gradients

    def num_draws(self) -> int:
        """The number of actions from each source for a state."""
        return self.num_actions

    def join(self, sources: Sequence[jax.Array]) -> jax.Array:
        """Joins the draws [B, N, ...] of each source: [B, M, ...]."""
        return jnp.concatenate(sources, axis=1)

    def gap(self, q_tm1: jax.Array, q_samples: jax.Array, log_density: jax.Array) -> jax.Array:
        """`gap` of q_tm1 [2, B] and of q_samples [2, B, M], the values of the joined draws."""
        return gap(q_tm1, q_samples, log_density)


class CQLParams(NamedTuple):
    policy: Params
    critics: Params  # stacked, leading axis 2
    log_alpha: jax.Array  # scalar, of SAC's temperature
    log_multiplier: jax.Array  # scalar, of the penalty; moves only with a Lagrange threshold


class OptimizerState(NamedTuple):
    critics: optax.OptState
    policy: optax.OptState  # of the policy and of log_alpha
    multiplier: optax.OptState


@shaped(q_tm1="2 ...", q_samples="2 ... M", log_density="... M")
def gap(q_tm1: jax.Array, q_samples: jax.Array, log_density: jax.Array) -> jax.Array:
    """log sum_j exp(q_samples[..., j]) / density[..., j], less q_tm1 (eq. 4, appendix F).

    Args:
      q_tm1: of the data's actions, [2, ...].
      q_samples: of actions drawn, [2, ..., M].
      log_density: of each draw in its own source, [..., M].

    Returns:
      [2, ...].
    """
    return jax.nn.logsumexp(q_samples - log_density, axis=-1) - q_tm1


def penalty(
    gap_tm1: jax.Array, multiplier: jax.Array, weight: float, threshold: float
) -> jax.Array:
    """sum_k multiplier (weight gap_tm1[k] - threshold) (eq. 4; appendix F with a threshold)."""
    return jnp.sum(multiplier * (weight * gap_tm1 - threshold), axis=0)


def penalty_multiplier(log_multiplier: jax.Array) -> jax.Array:
    """exp(log_multiplier), within bounds (the code)."""
    return jnp.minimum(jnp.exp(log_multiplier), MAX_MULTIPLIER)


def multiplier_loss(
    log_multiplier: jax.Array, gap_tm1: jax.Array, weight: float, threshold: float
) -> jax.Array:
    """-1/2 of the penalty: the multiplier grows while gaps exceed the threshold (appendix F)."""
    gap_tm1 = jax.lax.stop_gradient(gap_tm1)
    return -0.5 * penalty(gap_tm1, penalty_multiplier(log_multiplier), weight, threshold)


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`."""
    policy_network, critic = config.networks(spec)
    critics = twin(critic)
    policy_optimizer = optax.adam(config.policy_learning_rate)
    critic_optimizer = optax.adam(config.critic_learning_rate)
    target_entropy = losses.target_entropy(config.target_entropy, spec)
    threshold = config.lagrange_threshold or 0.0
    # With 31 actions each, the activations of 16 samples fit one core's cache; 64 suit several.
    states_at_once = 16 if training.num_cores() == 1 else 64
    centre, magnitude = spec.action_centre, spec.action_magnitude
    log_uniform = -float(np.sum(np.log(2.0 * magnitude)))
    margin = (1.0 - CLONING_MARGIN) * magnitude

    def policy(params: Params, observation: jax.Array) -> TanhGaussian:
        mean, log_std = jnp.split(policy_network.apply(params, observation), 2, axis=-1)
        log_std = jnp.clip(log_std, config.log_std_minimum, LOG_STD_MAX)
        return TanhGaussian(mean, log_std, jnp.asarray(centre), jnp.asarray(magnitude))

    def draw(
        params: Params, batch: Transition, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """For the penalty, actions [B, M, A] and log densities [B, M]; for the target, one."""
        normal_key, uniform_key = jax.random.split(key)
        batch_size, n = batch.action.shape[0], config.num_draws()
        noise = jax.random.normal(normal_key, (2, batch_size, n + 1, spec.action_size))
        uniform = jax.random.uniform(
            uniform_key, (batch_size, n, spec.action_size), minval=-1.0, maxval=1.0
        )
        observation = jnp.stack([batch.observation, batch.next_observation])
        action, log_pi = policy(params, observation[:, :, None]).sample(noise)
        actions = [uniform * magnitude + centre, action[0, :, :n], action[1, :, :n]]
        log_density = [jnp.full((batch_size, n), log_uniform), log_pi[0, :, :n], log_pi[1, :, :n]]
        joined = config.join(actions), config.join(log_density)
        return *joined, action[1, :, n], log_pi[1, :, n]

    def sum_critic_loss(
        params: Params,
        multiplier: jax.Array,
        s_tm1: jax.Array,
        a_tm1: jax.Array,
        actions: jax.Array,
        log_density: jax.Array,
        target_tm1: jax.Array,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """The loss, summed over samples; sums of the squared errors, and of the gaps [2]."""
        actions = jnp.concatenate([a_tm1[:, None], actions], axis=1)
        number = actions.shape[1]
        rows = jnp.repeat(s_tm1, number, axis=0), actions.reshape(-1, spec.action_size)
        q = critics.apply(params, *rows).reshape(2, -1, number)
        gap_tm1 = config.gap(q[..., 0], q[..., 1:], log_density)
        td_losses = losses.critic_loss(q[..., 0], target_tm1)
        penalties = penalty(gap_tm1, multiplier, config.weight, threshold)
        sums = jnp.sum(td_losses), jnp.sum(gap_tm1, axis=-1)
        return jnp.sum(td_losses + penalties), sums

    def batch_policy_loss(
        policy_params: tuple[Params, jax.Array],
        critic_params: Params,
        noise: jax.Array,
        steps: jax.Array,
        batch: Transition,
    ) -> tuple[jax.Array, Metrics]:
        network_params, log_alpha = policy_params
        pi = policy(network_params, batch.observation)
        a_tm1, log_pi_tm1 = pi.sample(noise)
        q_tm1 = critics.apply(critic_params, batch.observation, a_tm1)
        log_pi_data = pi.log_prob(jnp.clip(batch.action, centre - margin, centre + margin))
        fixed = jax.lax.stop_gradient(log_alpha)
        policy_losses = jnp.where(  # While it clones, the code bounds the means too.
            steps < config.cloning_steps,
            losses.cloning_loss(jnp.exp(fixed), log_pi_tm1, log_pi_data),
            sac.policy_loss(q_tm1, log_pi_tm1, fixed),
        )
        return sac.policy_and_alpha_loss(
            policy_losses, q_tm1, log_pi_tm1, log_alpha, target_entropy
        )

    def init(key: jax.Array) -> TrainingState:
        policy_key, critic_key, run_key = jax.random.split(key, 3)
        observation = jnp.zeros((1, spec.observation_size))
        params = CQLParams(
            policy=policy_network.init(policy_key, observation),
            critics=critics.init(critic_key, observation, jnp.zeros((1, spec.action_size))),
            log_alpha=jnp.asarray(config.log_alpha, jnp.float32),
            log_multiplier=jnp.zeros(()),
        )
        optimizer_state = OptimizerState(
            critics=critic_optimizer.init(params.critics),
            policy=policy_optimizer.init((params.policy, params.log_alpha)),
            multiplier=critic_optimizer.init(params.log_multiplier),
        )
        steps = jnp.zeros((), jnp.int32)
        return TrainingState(params, params.critics, optimizer_state, run_key, steps)

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        params, targets, optimizers = state.params, state.target_params, state.optimizer_state
        batch_size = batch.action.shape[0]
        critic_key, policy_key = jax.random.split(jax.random.fold_in(state.key, state.steps))

        actions, log_density, a_t, log_pi_t = draw(params.policy, batch, critic_key)
        if not config.entropy_backup:
            log_pi_t = jnp.zeros_like(log_pi_t)
        q_t = critics.apply(targets, batch.next_observation, a_t)
        discount_t = config.discount * batch.discount
        target_tm1 = sac.critic_target(batch.reward, discount_t, q_t, log_pi_t, params.log_alpha)

        loss_and_gradients = functools.partial(
            jax.value_and_grad(sum_critic_loss, has_aux=True),
            params.critics,
            penalty_multiplier(params.log_multiplier),
        )
        samples = (batch.observation, batch.action, actions, log_density, target_tm1)
        sums = training.sum_in_pieces(loss_and_gradients, states_at_once, *samples)
        (critic_loss, (td_loss, gap_tm1)), gradients = jax.tree.map(lambda x: x / batch_size, sums)
        new_critics, critics_state = training.descend(
            critic_optimizer, config.bounded(gradients), optimizers.critics, params.critics
        )

        log_multiplier, multiplier_state = params.log_multiplier, optimizers.multiplier
        if config.lagrange_threshold is not None:
            gradient = jax.grad(multiplier_loss)(log_multiplier, gap_tm1, config.weight, threshold)
            log_multiplier, multiplier_state = training.descend(
                critic_optimizer, gradient, multiplier_state, log_multiplier
            )

        policy_params = (params.policy, params.log_alpha)
        noise = jax.random.normal(policy_key, batch.action.shape)
        policy_gradients, metrics = jax.grad(batch_policy_loss, has_aux=True)(
            policy_params, new_critics, noise, state.steps, batch
        )
        (new_policy, new_log_alpha), policy_state = training.descend(
            policy_optimizer, policy_gradients, optimizers.policy, policy_params
        )

        new_state = TrainingState(
            params=CQLParams(new_policy, new_critics, new_log_alpha, log_multiplier),
            target_params=optax.incremental_update(new_critics, targets, config.target_rate),
            optimizer_state=OptimizerState(critics_state, policy_state, multiplier_state),
            key=state.key,
            steps=state.steps + 1,
        )
        metrics |= {
            "critic_loss": critic_loss,
            "td_loss": td_loss,
            "gap": jnp.mean(gap_tm1),
            "multiplier": penalty_multiplier(params.log_multiplier),
        }
        return new_state, metrics

    act, sample = mode_and_sample(policy)
    return training.make_learner(spec, init, training.scan(step, spec), {"act": act}, sample)
