"""Q-learning on images, which several algorithms share (Mnih et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from learners import training
from learners.networks import Network
from learners.types import DiscreteSpec, Learner, Metrics, Params, Policy, TrainingState, Transition

BATCH = "batch"  # the name of the axis over which a loss is mapped, for collectives

Outputs = Any  # of a network: an array, or a pytree of arrays


class Config(Protocol):
    """What Q-learning itself needs."""

    @property
    def discount(self) -> float: ...
    @property
    def target_period(self) -> int: ...


class Sample(NamedTuple):
    """A transition, and what the networks give for its two states; without the batch's axis.

    Attributes:
      outputs_tm1: of the state in which the action was taken; the only field with a gradient.
      a_tm1: the action.
      r_t: the reward.
      discount_t: of what follows.
      outputs_t: of the next state, by the target network.
      online_t: of the next state, by the network that learns; costs nothing if a loss ignores it.
      extras: the transition's.
      key: a PRNG key of this step, the same for all samples of its batch.
      optimizer_state: before this step, likewise the same for all samples.
    """

    outputs_tm1: Outputs
    a_tm1: jax.Array
    r_t: jax.Array
    discount_t: jax.Array
    outputs_t: Outputs
    online_t: Outputs
    extras: Mapping[str, jax.Array]
    key: jax.Array
    optimizer_state: optax.OptState

    def extra(self, name: str) -> jax.Array:
        """One of the extras.

        Raises:
          ValueError: batches lack it.
        """
        if name not in self.extras:
            raise ValueError(f"an update needs extras[{name!r}]: give batches with it")
        return self.extras[name]


class Algorithm(NamedTuple):
    """What an algorithm adds to Q-learning.

    Attributes:
      network: of observations [B, H, W, C] -> outputs [B, ...].
      optimizer: of the network.
      loss: of one sample.
      values: outputs -> values [B, A].
      policies: (outputs, key) -> actions [B], by name; None stands for `act` alone, greedy in the
        values.
      priority: of one sample, for a buffer that draws by priorities; the metric `priority`, [B].
        None for an algorithm that gives none.
      augment: (key, frames [B, H, W, C]) -> frames from which an update learns; None for these.
    """

    network: Network
    optimizer: optax.GradientTransformation
    loss: Callable[[Sample], jax.Array]
    values: Callable[[Outputs], jax.Array]
    policies: Mapping[str, Callable[[Outputs, jax.Array], jax.Array]] | None = None
    priority: Callable[[Sample], jax.Array] | None = None
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None


def make(config: Config, spec: DiscreteSpec, algorithm: Algorithm) -> Learner:
    """The learner of an algorithm for a game of `spec`."""
    network, optimizer, values = algorithm.network, algorithm.optimizer, algorithm.values

    def batch_loss(
        params: Params, state: TrainingState, batch: Transition
    ) -> tuple[jax.Array, Metrics]:
        key = jax.random.fold_in(state.key, state.steps)

        def of_sample(*fields: Any) -> tuple[jax.Array, Metrics]:
            sample = Sample._make((*fields, key, state.optimizer_state))
            priority = {"priority": algorithm.priority(sample)} if algorithm.priority else {}
            return algorithm.loss(sample), priority

        observation, next_observation = batch.observation, batch.next_observation
        if algorithm.augment:
            keys = jax.random.split(key)
            observation = algorithm.augment(keys[0], observation)
            next_observation = algorithm.augment(keys[1], next_observation)
        outputs_tm1 = network.apply(params, observation)
        losses, priority = jax.vmap(of_sample, axis_name=BATCH)(
            outputs_tm1,
            batch.action,
            batch.reward,
            config.discount * batch.discount,
            network.apply(state.target_params, next_observation),
            network.apply(jax.lax.stop_gradient(params), next_observation),
            dict(batch.extras),
        )
        return jnp.mean(losses), {"q": jnp.mean(jnp.max(values(outputs_tm1), axis=-1)), **priority}

    def init(key: jax.Array) -> TrainingState:
        network_key, run_key = jax.random.split(key)
        params = network.init(network_key, jnp.zeros((1, *spec.observation_shape), jnp.uint8))
        return TrainingState(
            params, params, optimizer.init(params), run_key, jnp.zeros((), jnp.int32)
        )

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        (loss, metrics), gradients = jax.value_and_grad(batch_loss, has_aux=True)(
            state.params, state, batch
        )
        params, optimizer_state = training.descend(
            optimizer, gradients, state.optimizer_state, state.params
        )
        steps = state.steps + 1
        target_params = training.copy_every(
            config.target_period, steps, params, state.target_params
        )
        new_state = TrainingState(params, target_params, optimizer_state, state.key, steps)
        return new_state, {"loss": loss, **metrics}

    def policy(choose: Callable[[Outputs, jax.Array], jax.Array]) -> Policy:
        return lambda state, observation: choose(
            network.apply(state.params, observation), state.key
        )

    chosen = algorithm.policies or {"act": lambda outputs, key: greedy(values(outputs))}
    return training.make_learner(
        spec,
        init,
        training.steps_with_convolutions(step, spec),
        {name: policy(choose) for name, choose in chosen.items()},
        values=lambda state, observation: values(network.apply(state.params, observation)),
    )


def greedy(values: jax.Array) -> jax.Array:
    """The first of the actions with the highest value: [..., A] -> [...]."""
    return jnp.argmax(values, axis=-1)
