"""What BRAC's learners share: an actor-critic that a divergence keeps near the behaviour policy.

Wu, Tucker & Nachum 2019, "Behavior Regularized Offline Reinforcement Learning" (arXiv:1911.11361).
What the paper leaves open is taken from its code (google-research,
behavior_regularized_offline_rl, `brac/brac_primal_agent.py` and `brac/brac_dual_agent.py`). Above
all, targets move before the gradients of a step, and the policy follows the divergence alone for
the first `warm_start` steps.

`brac_primal.py` and `brac_dual.py` each provide an estimate of the divergence.

There are three deviations from the code, as in `sac.py`. Target critics begin as copies of the
critics (BRAC initialises them separately). The two alphas learn from the samples drawn in the
policy's step (BRAC draws new ones after that step). Adam's epsilon is added where Adam's paper has
it, not where Keras adds it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from learners import candidates, training
from learners.checks import shaped
from learners.losses import critic_loss, entropy_loss, first_critic, target_entropy
from learners.networks import TanhGaussian, ensemble, mlp, mode_and_sample, twin
from learners.ranges import Count, NotNegative, Positive, Share, Sizes, Steps
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """What both learners share; defaults are those of BRAC's code and its run_primal.sh."""

    policy_sizes: Sizes = (200, 200)  # run_primal.sh, model_params
    critic_sizes: Sizes = (300, 300)  # likewise
    policy_learning_rate: Positive = 3e-4  # run_primal.sh, PLR
    critic_learning_rate: Positive = 1e-3  # run_primal.sh, optimizers
    alpha_learning_rate: Positive = 1e-3  # likewise; of both alphas
    adam_epsilon: Positive = 1e-7  # Keras' default
    discount: Share = 0.99  # agent.py
    target_rate: Share = 0.005  # agent.py, update_rate
    value_penalty: bool = True  # run_primal.sh; False means policy regularisation
    alpha: NotNegative = 0.1  # run_primal.sh; weight of the divergence
    train_alpha: bool = False  # brac_primal_agent.py, as are all that follow
    max_alpha: Positive = 500.0
    target_divergence: float = 0.0  # read where alpha is trained
    entropy_alpha: NotNegative = 0.0  # weight of the entropy
    train_entropy_alpha: bool = False
    target_entropy: float | None = None  # None means -action_size
    ensemble_weight: Share = 1.0  # of the least Q; the greatest has the rest
    warm_start: Steps = 20_000  # steps in which the policy does not follow Q
    max_q_samples: Count = 10  # policies.py, MaxQSoftPolicy


class BRACParams(NamedTuple):
    policy: Params
    critics: Params  # stacked, leading axis 2
    alpha: jax.Array  # scalar; used through `one_sided_clip`
    entropy_alpha: jax.Array  # scalar; used through `one_sided_relu`
    divergence: Params  # of what estimates it: the behaviour policy, or a discriminator


class OptimizerState(NamedTuple):
    critics: optax.OptState
    policy: optax.OptState
    alphas: optax.OptState
    divergence: optax.OptState


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def one_sided_clip(x: jax.Array, low: float, high: float) -> jax.Array:
    """x within [low, high], with its gradient blocked only where descent would lead further out.

    So x can come back after it has crossed a bound (BRAC, `brac/utils.py`, clip_v2).
    """
    return jnp.clip(x, low, high)


def _one_sided_clip_forward(x: jax.Array, low: float, high: float) -> tuple[jax.Array, jax.Array]:
    return one_sided_clip(x, low, high), x


def _one_sided_clip_backward(
    low: float, high: float, x: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array]:
    leads_out = jnp.where(cotangent > 0, x <= low, x >= high)
    return (jnp.where(leads_out, 0.0, cotangent),)


one_sided_clip.defvjp(_one_sided_clip_forward, _one_sided_clip_backward)


def one_sided_relu(x: jax.Array) -> jax.Array:
    """max(x, 0), with the gradient of `one_sided_clip` (BRAC, `brac/utils.py`, relu_v2)."""
    return one_sided_clip(x, 0.0, jnp.inf)


def within_bounds(action: jax.Array, spec: Spec, margin: float = 1e-3) -> jax.Array:
    """Actions [..., A] clipped to a margin within the bounds, where densities are finite.

    The margin is BRAC's (`brac/divergences.py`, CLIP_EPS; `brac/bc_agent.py`).
    """
    reach = spec.action_magnitude - margin
    return jnp.clip(action, spec.action_centre - reach, spec.action_centre + reach)


@shaped(r_t="...", discount_t="...", q_t="...", log_pi_t="...")
def critic_target(
    r_t: jax.Array,
    discount_t: jax.Array,
    q_t: jax.Array,
    log_pi_t: jax.Array,
    divergence_t: jax.Array | float,
    alpha: jax.Array | float,
    entropy_alpha: jax.Array | float,
) -> jax.Array:
    """r_t + discount_t (q_t - entropy_alpha log pi(a_t|s_t) - alpha D(s_t)), a_t ~ pi (section 4).

    q_t is the ensemble's, of a_t. Policy regularisation has no D here: its divergence_t is 0.
    """
    return r_t + discount_t * (q_t - entropy_alpha * log_pi_t - alpha * divergence_t)


@shaped(q_tm1="...", log_pi_tm1="...", divergence_tm1="...")
def policy_loss(
    q_tm1: jax.Array,
    log_pi_tm1: jax.Array,
    divergence_tm1: jax.Array,
    alpha: jax.Array | float,
    entropy_alpha: jax.Array | float,
) -> jax.Array:
    """entropy_alpha log pi(a~|s_tm1) + alpha D(s_tm1) - q_tm1, the ensemble's of a~ (section 4)."""
    return entropy_alpha * log_pi_tm1 + alpha * divergence_tm1 - q_tm1


def alpha_loss(alpha: jax.Array, divergence_tm1: jax.Array, target_divergence: float) -> jax.Array:
    """-alpha (D(s_tm1) - target_divergence): alpha grows while the divergence is too large."""
    return -alpha * (divergence_tm1 - target_divergence)


class Samples(NamedTuple):
    """What a divergence is estimated from, for the states of one batch.

    Attributes:
      observation: [B, obs].
      policy: the policy there.
      action: [B, A], one sample from the policy.
      data_action: [B, A], the actions of the data; None where the batch has none.
    """

    observation: jax.Array
    policy: TanhGaussian
    action: jax.Array
    data_action: jax.Array | None


Divergence = Callable[[Params, jax.Array, Samples], jax.Array]  # (params, key, samples) -> [B]


class ActorCritic(NamedTuple):
    """The parts of a learner that do not depend on how the divergence is estimated.

    Attributes:
      policy: (params of a policy's network, observation) -> distribution.
      init: (key, params of the divergence, state of their optimiser) -> state.
      step: (state, batch, key) -> (state, metrics), on everything but the divergence's params.
      learner: (init, step) -> the learner of these two, with the policies of all.
    """

    policy: Callable[[Params, jax.Array], TanhGaussian]
    init: Callable[[jax.Array, Params, optax.OptState], TrainingState]
    step: Callable[[TrainingState, Transition, jax.Array], tuple[TrainingState, Metrics]]
    learner: Callable[[Callable[[jax.Array], TrainingState], training.Step], Learner]


def actor_critic(config: Config, spec: Spec, divergence: Divergence) -> ActorCritic:
    """Everything in both learners except the estimate of the divergence."""
    policy_network = mlp([*config.policy_sizes, 2 * spec.action_size])
    critic = mlp([*config.critic_sizes, 1])
    critics = twin(critic)
    critic_optimizer, policy_optimizer, alpha_optimizer = (
        optax.adam(rate, eps=config.adam_epsilon)
        for rate in (
            config.critic_learning_rate,
            config.policy_learning_rate,
            config.alpha_learning_rate,
        )
    )

    def policy(params: Params, observation: jax.Array) -> TanhGaussian:
        return TanhGaussian.from_head(policy_network.apply(params, observation), spec)

    def sampled(
        params: Params, key: jax.Array, observation: jax.Array, data_action: jax.Array | None
    ) -> tuple[Samples, jax.Array]:
        """The samples, and log pi of their action."""
        pi = policy(params, observation)
        action, log_pi = pi.draw(key)
        return Samples(observation, pi, action, data_action), log_pi

    def alphas_of(params: BRACParams) -> tuple[jax.Array, jax.Array]:
        alpha = one_sided_clip(params.alpha, 0.0, config.max_alpha)
        return alpha, one_sided_relu(params.entropy_alpha)

    def batch_critic_target(
        params: BRACParams, target_params: Params, key: jax.Array, batch: Transition
    ) -> jax.Array:
        sample_key, divergence_key = jax.random.split(key)
        next_action = dict(batch.extras).get("next_action")
        samples, log_pi_t = sampled(params.policy, sample_key, batch.next_observation, next_action)
        q_t = ensemble(
            critics.apply(target_params, batch.next_observation, samples.action),
            config.ensemble_weight,
        )
        divergence_t: jax.Array | float = 0.0
        if config.value_penalty:
            divergence_t = divergence(params.divergence, divergence_key, samples)
        discount_t = config.discount * batch.discount
        return critic_target(
            batch.reward, discount_t, q_t, log_pi_t, divergence_t, *alphas_of(params)
        )

    def batch_critic_loss(params: Params, target_tm1: jax.Array, batch: Transition) -> jax.Array:
        return jnp.mean(
            critic_loss(critics.apply(params, batch.observation, batch.action), target_tm1)
        )

    def batch_policy_loss(
        trained: tuple[Params, tuple[jax.Array, jax.Array]],
        params: BRACParams,
        key: jax.Array,
        follows_q: jax.Array,
        batch: Transition,
    ) -> tuple[jax.Array, Metrics]:
        """Of the policy and of both alphas; `params` has the critics that were just updated."""
        policy_params, (alpha, entropy_alpha) = trained
        alpha, entropy_alpha = alphas_of(params._replace(alpha=alpha, entropy_alpha=entropy_alpha))
        sample_key, divergence_key = jax.random.split(key)
        samples, log_pi_tm1 = sampled(policy_params, sample_key, batch.observation, batch.action)
        divergence_tm1 = divergence(params.divergence, divergence_key, samples)
        q_tm1 = ensemble(
            critics.apply(params.critics, batch.observation, samples.action),
            config.ensemble_weight,
        )
        stop = jax.lax.stop_gradient
        policy_losses = policy_loss(
            follows_q * q_tm1, log_pi_tm1, divergence_tm1, stop(alpha), stop(entropy_alpha)
        )
        loss = jnp.mean(policy_losses)
        metrics = {
            "policy_loss": loss,
            "q": jnp.mean(q_tm1),
            "divergence": jnp.mean(divergence_tm1),
            "entropy": -jnp.mean(log_pi_tm1),
            "alpha": alpha,
            "entropy_alpha": entropy_alpha,
        }
        if config.train_alpha:
            loss += jnp.mean(alpha_loss(alpha, stop(divergence_tm1), config.target_divergence))
        if config.train_entropy_alpha:
            wanted = target_entropy(config.target_entropy, spec)
            loss += jnp.mean(entropy_loss(entropy_alpha, stop(log_pi_tm1), wanted))
        return loss, metrics

    def init(
        key: jax.Array, divergence_params: Params, divergence_state: optax.OptState
    ) -> TrainingState:
        policy_key, critic_key, run_key = jax.random.split(key, 3)
        observation = jnp.zeros((1, spec.observation_size))
        params = BRACParams(
            policy=policy_network.init(policy_key, observation),
            critics=critics.init(critic_key, observation, jnp.zeros((1, spec.action_size))),
            alpha=jnp.asarray(config.alpha, jnp.float32),
            entropy_alpha=jnp.asarray(config.entropy_alpha, jnp.float32),
            divergence=divergence_params,
        )
        optimizer_state = OptimizerState(
            critics=critic_optimizer.init(params.critics),
            policy=policy_optimizer.init(params.policy),
            alphas=alpha_optimizer.init((params.alpha, params.entropy_alpha)),
            divergence=divergence_state,
        )
        steps = jnp.zeros((), jnp.int32)
        return TrainingState(params, params.critics, optimizer_state, run_key, steps)

    def step(
        state: TrainingState, batch: Transition, key: jax.Array
    ) -> tuple[TrainingState, Metrics]:
        key_tm1, key_t = jax.random.split(key)
        params, optimizer_state = state.params, state.optimizer_state
        target_params = optax.incremental_update(
            params.critics, state.target_params, config.target_rate
        )

        target_tm1 = batch_critic_target(params, target_params, key_t, batch)
        loss, gradients = jax.value_and_grad(batch_critic_loss)(params.critics, target_tm1, batch)
        new_critics, critics_state = training.descend(
            critic_optimizer, gradients, optimizer_state.critics, params.critics
        )
        params = params._replace(critics=new_critics)

        trained = params.policy, (params.alpha, params.entropy_alpha)
        follows_q = (state.steps > config.warm_start).astype(jnp.float32)
        gradients, metrics = jax.grad(batch_policy_loss, has_aux=True)(
            trained, params, key_tm1, follows_q, batch
        )
        new_policy, policy_state = training.descend(
            policy_optimizer, gradients[0], optimizer_state.policy, trained[0]
        )
        # An alpha that is not trained has no gradient, and keeps every bit.
        (alpha, entropy_alpha), alphas_state = training.descend(
            alpha_optimizer, gradients[1], optimizer_state.alphas, trained[1]
        )

        new_state = TrainingState(
            params=params._replace(policy=new_policy, alpha=alpha, entropy_alpha=entropy_alpha),
            target_params=target_params,
            optimizer_state=OptimizerState(
                critics_state, policy_state, alphas_state, optimizer_state.divergence
            ),
            key=state.key,
            steps=state.steps + 1,
        )
        return new_state, {"critic_loss": loss, **metrics}

    def max_q(state: TrainingState, observation: jax.Array) -> jax.Array:
        noise = candidates.noise(state.key, observation, config.max_q_samples, spec.action_size)
        actions, _ = policy(state.params.policy, observation).sample(noise)
        observations = jnp.broadcast_to(observation, (config.max_q_samples, *observation.shape))
        values = critic.apply(first_critic(state.params.critics), observations, actions)[..., 0]
        return candidates.best(actions, values)

    def learner(init: Callable[[jax.Array], TrainingState], step: training.Step) -> Learner:
        act, sample = mode_and_sample(policy)
        policies = {"act": act, "max_q": max_q}
        return training.make_learner(spec, init, training.scan(step, spec), policies, sample)

    return ActorCritic(policy, init, step, learner)
