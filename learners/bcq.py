"""BCQ for continuous actions: batch-constrained deep Q-learning (Fujimoto, Meger & Precup 2019).

This is algorithm 1 of arXiv:1812.02900; what the paper leaves open follows its authors' code
(sfujim/BCQ, continuous_BCQ). A variational autoencoder proposes actions like those of the data, a
network perturbs them slightly, and the critics choose among them. In each step the autoencoder
learns first, then the critics, then the perturbation; each uses the new weights of the one before.
The targets move last.
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
from learners.losses import critic_loss, first_critic, squared_error
from learners.networks import ensemble, mlp, torch_initializers, twin
from learners.ranges import Count, NotNegative, Positive, Share, Sizes
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of the paper's section 5 and appendix, and of its authors' code."""

    critic_sizes: Sizes = (400, 300)
    perturbation_sizes: Sizes = (400, 300)
    autoencoder_sizes: Sizes = (750, 750)  # of the encoder, and of the decoder
    latent_size: Count | None = None  # None means twice action_size
    critic_learning_rate: Positive = 1e-3
    perturbation_learning_rate: Positive = 1e-3
    autoencoder_learning_rate: Positive = 1e-3
    adam_epsilon: Positive = 1e-8
    discount: Share = 0.99
    target_rate: Share = 0.005
    max_perturbation: NotNegative = 0.05  # Phi, in units of half the action range
    ensemble_weight: Share = 0.75  # lambda, of the smaller Q
    kl_weight: NotNegative = 0.5  # of the autoencoder's loss
    log_std_bounds: tuple[float, float] = (-4.0, 15.0)  # of the encoder
    latent_clip: NotNegative = 0.5  # of the latents from which actions are proposed
    target_samples: Count = 10  # actions compared at the next state
    act_samples: Count = 100  # actions compared where the policy acts

    def perturbs_target(self) -> bool:
        """Whether the actions compared at the next state are perturbed (algorithm 1)."""
        return True

    def change(self, outputs: jax.Array) -> jax.Array:
        """Perturbations [..., B, A] of proposals, as shares of the largest one."""
        return jnp.tanh(outputs)


class BCQParams(NamedTuple):
    encoder: Params
    decoder: Params
    critics: Params  # stacked, leading axis 2
    perturbation: Params


class Targets(NamedTuple):
    critics: Params
    perturbation: Params


class OptimizerState(NamedTuple):
    autoencoder: optax.OptState
    critics: optax.OptState
    perturbation: optax.OptState


@shaped(reconstruction="... A", a_tm1="... A", mean="... Z", log_std="... Z")
def autoencoder_loss(
    reconstruction: jax.Array,
    a_tm1: jax.Array,
    mean: jax.Array,
    log_std: jax.Array,
    kl_weight: float,
) -> jax.Array:
    """Mean squared error, and kl_weight times the latents' mean KL(N(mean, std^2) || N(0, 1)).

    Section 4 and appendix, with the code's means over entries in place of sums.
    """
    kl = 0.5 * (jnp.square(mean) + jnp.exp(2.0 * log_std) - 1.0) - log_std
    return squared_error(reconstruction, a_tm1) + kl_weight * jnp.mean(kl, axis=-1)


@shaped(r_t="...", discount_t="...", q_t="2 N ...")
def critic_target(
    r_t: jax.Array, discount_t: jax.Array, q_t: jax.Array, weight: float
) -> jax.Array:
    """r_t + discount_t max_i (weight min_k q_t[k, i] + (1 - weight) max_k q_t[k, i]).

    q_t [2, N, B] are of N perturbed proposals a_i each (algorithm 1).
    """
    return r_t + discount_t * jnp.max(ensemble(q_t, weight), axis=0)


def each(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """The function, mapped over a leading axis of proposals.

    On a CPU, activations should stay in the caches: one core takes the proposals one after another,
    and several cores take ten at once. An accelerator takes all of them at once.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(function)
    return functools.partial(
        jax.lax.map, function, batch_size=None if training.num_cores() == 1 else 10
    )


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`."""
    latent_size = config.latent_size or 2 * spec.action_size
    centre, magnitude = spec.action_centre, spec.action_magnitude
    encoder = mlp([*config.autoencoder_sizes, 2 * latent_size], torch_initializers)
    decoder = mlp([*config.autoencoder_sizes, spec.action_size], torch_initializers)
    perturbation = mlp([*config.perturbation_sizes, spec.action_size], torch_initializers)
    critic = mlp([*config.critic_sizes, 1], torch_initializers)
    critics = twin(critic)
    optimizers = OptimizerState(
        autoencoder=optax.adam(config.autoencoder_learning_rate, eps=config.adam_epsilon),
        critics=optax.adam(config.critic_learning_rate, eps=config.adam_epsilon),
        perturbation=optax.adam(config.perturbation_learning_rate, eps=config.adam_epsilon),
    )

    def decode(params: Params, observation: jax.Array, latent: jax.Array) -> jax.Array:
        return jnp.tanh(decoder.apply(params, observation, latent)) * magnitude + centre

    def propose(params: Params, observation: jax.Array, noise: jax.Array) -> jax.Array:
        """Actions like those of the data, from standard normal noise."""
        return decode(params, observation, jnp.clip(noise, -config.latent_clip, config.latent_clip))

    def perturbed(params: Params, observation: jax.Array, action: jax.Array) -> jax.Array:
        change = config.change(perturbation.apply(params, observation, action))
        action = action + config.max_perturbation * magnitude * change
        return jnp.clip(action, centre - magnitude, centre + magnitude)

    def batch_autoencoder_loss(
        params: tuple[Params, Params], noise: jax.Array, batch: Transition
    ) -> jax.Array:
        encoder_params, decoder_params = params
        latent = encoder.apply(encoder_params, batch.observation, batch.action)
        mean, log_std = jnp.split(latent, 2, axis=-1)
        log_std = jnp.clip(log_std, *config.log_std_bounds)
        latent = mean + jnp.exp(log_std) * noise
        reconstruction = decode(decoder_params, batch.observation, latent)
        return jnp.mean(
            autoencoder_loss(reconstruction, batch.action, mean, log_std, config.kl_weight)
        )

    def batch_critic_loss(params: Params, target_tm1: jax.Array, batch: Transition) -> jax.Array:
        q_tm1 = critics.apply(params, batch.observation, batch.action)
        return jnp.mean(critic_loss(q_tm1, target_tm1))

    def batch_perturbation_loss(
        params: Params, critic_params: Params, s_tm1: jax.Array, proposal: jax.Array
    ) -> jax.Array:
        """-Q_1 of the perturbed proposal (algorithm 1)."""
        a_tm1 = perturbed(params, s_tm1, proposal)
        return -jnp.mean(critic.apply(first_critic(critic_params), s_tm1, a_tm1))

    def init(key: jax.Array) -> TrainingState:
        *keys, run_key = jax.random.split(key, 5)
        observation = jnp.zeros((1, spec.observation_size))
        action, latent = jnp.zeros((1, spec.action_size)), jnp.zeros((1, latent_size))
        params = BCQParams(
            encoder=encoder.init(keys[0], observation, action),
            decoder=decoder.init(keys[1], observation, latent),
            critics=critics.init(keys[2], observation, action),
            perturbation=perturbation.init(keys[3], observation, action),
        )
        optimizer_state = OptimizerState(
            autoencoder=optimizers.autoencoder.init((params.encoder, params.decoder)),
            critics=optimizers.critics.init(params.critics),
            perturbation=optimizers.perturbation.init(params.perturbation),
        )
        targets = Targets(params.critics, params.perturbation)
        return TrainingState(params, targets, optimizer_state, run_key, jnp.zeros((), jnp.int32))

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        params, targets, states = state.params, state.target_params, state.optimizer_state
        s_tm1, s_t = batch.observation, batch.next_observation
        # Of the reconstruction, of the proposal at s_tm1, and of those at s_t.
        shape = (2 + config.target_samples, len(s_tm1), latent_size)
        noise = jax.random.normal(jax.random.fold_in(state.key, state.steps), shape)

        metrics: Metrics = {}
        autoencoder = params.encoder, params.decoder
        metrics["autoencoder_loss"], gradients = jax.value_and_grad(batch_autoencoder_loss)(
            autoencoder, noise[0], batch
        )
        (new_encoder, new_decoder), autoencoder_state = training.descend(
            optimizers.autoencoder, gradients, states.autoencoder, autoencoder
        )

        def next_q(noise: jax.Array) -> jax.Array:
            a_t = propose(new_decoder, s_t, noise)
            if config.perturbs_target():
                a_t = perturbed(targets.perturbation, s_t, a_t)
            return critics.apply(targets.critics, s_t, a_t)

        q_t = jnp.swapaxes(each(next_q)(noise[2:]), 0, 1)
        discount_t = config.discount * batch.discount
        target_tm1 = critic_target(batch.reward, discount_t, q_t, config.ensemble_weight)
        metrics["target"] = jnp.mean(target_tm1)
        metrics["critic_loss"], gradients = jax.value_and_grad(batch_critic_loss)(
            params.critics, target_tm1, batch
        )
        new_critics, critics_state = training.descend(
            optimizers.critics, gradients, states.critics, params.critics
        )

        metrics["perturbation_loss"], gradients = jax.value_and_grad(batch_perturbation_loss)(
            params.perturbation, new_critics, s_tm1, propose(new_decoder, s_tm1, noise[1])
        )
        new_perturbation, perturbation_state = training.descend(
            optimizers.perturbation, gradients, states.perturbation, params.perturbation
        )

        new_state = TrainingState(
            params=BCQParams(new_encoder, new_decoder, new_critics, new_perturbation),
            target_params=optax.incremental_update(
                Targets(new_critics, new_perturbation), targets, config.target_rate
            ),
            optimizer_state=OptimizerState(autoencoder_state, critics_state, perturbation_state),
            key=state.key,
            steps=state.steps + 1,
        )
        return new_state, metrics

    def act(state: TrainingState, observation: jax.Array) -> jax.Array:
        params = state.params
        noise = candidates.noise(state.key, observation, config.act_samples, latent_size)
        observations = jnp.broadcast_to(observation, (config.act_samples, *observation.shape))
        proposals = propose(params.decoder, observations, noise)
        actions = perturbed(params.perturbation, observations, proposals)
        values = critic.apply(first_critic(params.critics), observations, actions)[..., 0]
        return candidates.best(actions, values)

    return training.make_learner(spec, init, training.scan(step, spec), {"act": act})
