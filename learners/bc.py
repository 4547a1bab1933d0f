"""Behaviour cloning by regression: a deterministic policy fitted to the data's actions.

This is the plain baseline of TD3+BC's paper (Fujimoto & Gu 2021, arXiv:2106.06860, section 7): the
policy loss of its eq. 3 without the Q term. d3rlpy's BC is the same.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import training
from learners.losses import squared_error
from learners.networks import Network, mlp, torch_initializers
from learners.ranges import Positive, Sizes
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are TD3+BC's."""

    hidden_sizes: Sizes = (256, 256)  # Fujimoto & Gu 2021, table 3
    learning_rate: Positive = 3e-4  # likewise

    def network(self, spec: Spec) -> Network:
        """The network of observations -> actions, before the tanh that bounds them."""
        return mlp([*self.hidden_sizes, spec.action_size], torch_initializers)


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`."""
    network = config.network(spec)
    optimizer = optax.adam(config.learning_rate)

    def policy(params: Params, observation: jax.Array) -> jax.Array:
        head = network.apply(params, observation)
        return jnp.tanh(head) * spec.action_magnitude + spec.action_centre

    def batch_loss(params: Params, batch: Transition) -> jax.Array:
        return jnp.mean(squared_error(policy(params, batch.observation), batch.action))

    def init(key: jax.Array) -> TrainingState:
        network_key, run_key = jax.random.split(key)
        params = network.init(network_key, jnp.zeros((1, spec.observation_size)))
        return TrainingState(params, (), optimizer.init(params), run_key, jnp.zeros((), jnp.int32))

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        loss, gradients = jax.value_and_grad(batch_loss)(state.params, batch)
        params, optimizer_state = training.descend(
            optimizer, gradients, state.optimizer_state, state.params
        )
        new_state = TrainingState(params, (), optimizer_state, state.key, state.steps + 1)
        return new_state, {"policy_loss": loss}

    def act(state: TrainingState, observation: jax.Array) -> jax.Array:
        return policy(state.params, observation)

    return training.make_learner(spec, init, training.scan(step, spec), {"act": act})
