"""BRAC's behaviour cloning: maximum likelihood with an entropy term (Wu, Tucker & Nachum 2019).

The paper is "Behavior Regularized Offline Reinforcement Learning" (arXiv:1911.11361); what it
leaves open is taken from its code (google-research, behavior_regularized_offline_rl,
`brac/bc_agent.py`).

There are two deviations. BRAC takes the policy's step first, and then a step of alpha with a new
sample from the new policy; here both gradients come from one sample of one forward pass. And Adam's
epsilon is added where algorithm 1 of Adam's paper has it, not where Keras adds it.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from learners import losses, training
from learners.brac import one_sided_relu, within_bounds
from learners.networks import TanhGaussian, mlp, mode_and_sample
from learners.ranges import NotNegative, Positive, Sizes
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of BRAC's code and README, by which its published agents were trained."""

    hidden_sizes: Sizes = (200, 200)  # README, model_params
    learning_rate: Positive = 5e-4  # README, optimizers; for the policy and for alpha
    adam_epsilon: Positive = 1e-7  # Keras' default
    alpha: NotNegative = 1.0  # initial weight of the entropy term; bc_agent.py
    train_alpha: bool = True  # bc_agent.py
    target_entropy: float | None = None  # None means -action_size; bc_agent.py
    clip_margin: NotNegative = 1e-3  # data actions keep this far from the bounds; bc_agent.py


class BCParams(NamedTuple):
    policy: Params
    alpha: jax.Array  # scalar; used through `brac.one_sided_relu`


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`."""
    network = mlp([*config.hidden_sizes, 2 * spec.action_size])
    optimizer = optax.adam(config.learning_rate, eps=config.adam_epsilon)
    target_entropy = losses.target_entropy(config.target_entropy, spec)

    def policy(params: Params, observation: jax.Array) -> TanhGaussian:
        return TanhGaussian.from_head(network.apply(params, observation), spec)

    def loss(params: BCParams, noise: jax.Array, batch: Transition) -> tuple[jax.Array, Metrics]:
        pi = policy(params.policy, batch.observation)
        _, log_pi = pi.sample(noise)
        log_pi_data = pi.log_prob(within_bounds(batch.action, spec, config.clip_margin))
        alpha = one_sided_relu(params.alpha)
        stop = jax.lax.stop_gradient
        policy_losses = losses.cloning_loss(stop(alpha), log_pi, log_pi_data)
        alpha_losses = losses.entropy_loss(alpha, stop(log_pi), target_entropy)
        metrics = {
            "policy_loss": jnp.mean(policy_losses),
            "alpha_loss": jnp.mean(alpha_losses),
            "alpha": alpha,
            "entropy": -jnp.mean(log_pi),
            "log_likelihood": jnp.mean(log_pi_data),
        }
        total = metrics["policy_loss"]
        return total + metrics["alpha_loss"] if config.train_alpha else total, metrics

    def init(key: jax.Array) -> TrainingState:
        network_key, run_key = jax.random.split(key)
        params = BCParams(
            policy=network.init(network_key, jnp.zeros((1, spec.observation_size))),
            alpha=jnp.asarray(config.alpha, jnp.float32),
        )
        return TrainingState(params, (), optimizer.init(params), run_key, jnp.zeros((), jnp.int32))

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        key = jax.random.fold_in(state.key, state.steps)
        noise = jax.random.normal(key, batch.action.shape)
        gradients, metrics = jax.grad(loss, has_aux=True)(state.params, noise, batch)
        params, optimizer_state = training.descend(
            optimizer, gradients, state.optimizer_state, state.params
        )
        return TrainingState(params, (), optimizer_state, state.key, state.steps + 1), metrics

    act, sample = mode_and_sample(policy)
    return training.make_learner(spec, init, training.scan(step, spec), {"act": act}, sample)
