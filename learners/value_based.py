"""Q-learning on images, which DQN and QR-DQN share (Mnih et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from learners import training
from learners.networks import Network
from learners.types import DiscreteSpec, Learner, Metrics, Params, TrainingState, Transition


class Config(Protocol):
    """What Q-learning itself has to know."""

    @property
    def discount(self) -> float: ...
    @property
    def target_period(self) -> int: ...


class Algorithm(NamedTuple):
    """What an algorithm brings to it.

    Attributes:
      network: of observations [B, H, W, C] -> outputs [B, A, ...], an action's at its number.
      optimizer: of the network.
      loss: (outputs_tm1 [A, ...], a_tm1, r_t, discount_t, outputs_t [A, ...]) -> the loss of one
        sample, outputs_t by the target network.
      values: outputs [B, A, ...] -> values [B, A], by which the policy is greedy.
    """

    network: Network
    optimizer: optax.GradientTransformation
    loss: Callable[[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
    values: Callable[[jax.Array], jax.Array]


def make(config: Config, spec: DiscreteSpec, algorithm: Algorithm) -> Learner:
    """The learner of an algorithm for a game of `spec`; its policy is greedy."""
    network, optimizer, values = algorithm.network, algorithm.optimizer, algorithm.values

    def batch_loss(
        params: Params, target_params: Params, batch: Transition
    ) -> tuple[jax.Array, jax.Array]:
        outputs_tm1 = network.apply(params, batch.observation)
        outputs_t = network.apply(target_params, batch.next_observation)
        discount_t = config.discount * batch.discount
        losses = jax.vmap(algorithm.loss)(
            outputs_tm1, batch.action, batch.reward, discount_t, outputs_t
        )
        return jnp.mean(losses), jnp.mean(jnp.max(values(outputs_tm1), axis=-1))

    def init(key: jax.Array) -> TrainingState:
        network_key, run_key = jax.random.split(key)
        params = network.init(network_key, jnp.zeros((1, *spec.observation_shape), jnp.uint8))
        return TrainingState(
            params, params, optimizer.init(params), run_key, jnp.zeros((), jnp.int32)
        )

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        (loss, q), gradients = jax.value_and_grad(batch_loss, has_aux=True)(
            state.params, state.target_params, batch
        )
        params, optimizer_state = training.descend(
            optimizer, gradients, state.optimizer_state, state.params
        )
        steps = state.steps + 1
        target_params = training.copy_every(
            config.target_period, steps, params, state.target_params
        )
        new_state = TrainingState(params, target_params, optimizer_state, state.key, steps)
        return new_state, {"loss": loss, "q": q}

    def act(state: TrainingState, observation: jax.Array) -> jax.Array:
        return jnp.argmax(values(network.apply(state.params, observation)), axis=-1)

    return training.make_learner(
        spec, init, training.steps_with_convolutions(step, spec), {"act": act}
    )
