"""BRAC with a discriminator in place of a behaviour policy (Wu, Tucker & Nachum 2019).

The divergence, kl or w, is that of the paper's dual forms (arXiv:1911.11361, section 4.2): a
discriminator c(s, a) learns to tell the policy's actions from the data's.

A step takes `discriminator_steps` minibatches. Everything learns from the first, the discriminator
last; only the discriminator learns from the others. The minibatches are the rows of one batch, in
order: for minibatches of 256, as in BRAC, draw batches of 768.

`brac.py` has the rest of the algorithm, and says how it differs from the authors' code.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import brac, training
from learners.checks import shaped
from learners.networks import TanhGaussian, mlp
from learners.ranges import Count, NotNegative, Positive, Sizes
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config(brac.Config):
    """Defaults are those of BRAC's code and its run_dual.sh."""

    divergence: str = "kl"  # run_dual.sh; or w
    policy_learning_rate: Positive = 3e-6  # run_dual.sh, PLR
    value_penalty: bool = False  # run_dual.sh
    alpha: NotNegative = 10.0  # run_dual.sh
    discriminator_sizes: Sizes = (300, 300)  # run_dual.sh, model_params
    discriminator_learning_rate: Positive = 1e-3  # run_dual.sh, optimizers
    discriminator_steps: Count = 3  # run_dual.sh, c_iter
    gradient_penalty: NotNegative = 5.0  # divergences.py, gamma

    def __post_init__(self) -> None:
        if self.divergence not in DIVERGENCES:
            raise ValueError(f"divergence must be kl or w, got {self.divergence!r}")

    def extras(self) -> tuple[str, ...]:
        """Names of a batch's extras that an update reads."""
        return ("next_action",) if self.value_penalty else ()


@shaped(c_policy="...", c_data="...")
def kl_divergence(c_policy: jax.Array, c_data: jax.Array) -> jax.Array:
    """log softplus(c(s, a~)) - softplus(c(s, a)) + 1, a~ ~ pi and a from the data (section 4.2).

    BRAC adds 1e-8 within the logarithm (`brac/divergences.py`, EPS).
    """
    return jnp.log(jax.nn.softplus(c_policy) + 1e-8) - jax.nn.softplus(c_data) + 1.0


@shaped(c_policy="...", c_data="...")
def wasserstein_distance(c_policy: jax.Array, c_data: jax.Array) -> jax.Array:
    """c(s, a~) - c(s, a), a~ ~ pi and a from the data (section 4.2)."""
    return c_policy - c_data


DIVERGENCES = {"kl": kl_divergence, "w": wasserstein_distance}


@shaped(divergence="...", action_gradient="... A")
def discriminator_loss(
    divergence: jax.Array, action_gradient: jax.Array, gradient_penalty: float
) -> jax.Array:
    """-divergence + gradient_penalty max(|grad_a c(s, a)| - 1, 0)^2.

    The gradient [B, A] is taken between the policy's action and the data's (Gulrajani et al. 2017,
    section 4); the penalty is one-sided (`brac/divergences.py`).
    """
    slope = jnp.sqrt(1e-8 + jnp.sum(jnp.square(action_gradient), axis=-1))
    return -divergence + gradient_penalty * jnp.square(jnp.maximum(slope - 1.0, 0.0))


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`.

    With `value_penalty`, an update reads the extra `next_action`. An update raises a ValueError if
    that is missing, or if a batch does not consist of whole minibatches.
    """
    network = mlp([*config.discriminator_sizes, 1])
    optimizer = optax.adam(config.discriminator_learning_rate, eps=config.adam_epsilon)

    def discriminator(params: Params, observation: jax.Array, action: jax.Array) -> jax.Array:
        return network.apply(params, observation, action)[..., 0]

    def estimate(
        params: Params, observation: jax.Array, action: jax.Array, data_action: jax.Array
    ) -> jax.Array:
        return DIVERGENCES[config.divergence](
            discriminator(params, observation, action),
            discriminator(params, observation, data_action),
        )

    def divergence(params: Params, key: jax.Array, samples: brac.Samples) -> jax.Array:
        del key
        if samples.data_action is None:
            raise ValueError(
                "a value penalty needs the data's next actions: give batches with the extra "
                "next_action"
            )
        return estimate(params, samples.observation, samples.action, samples.data_action)

    core = brac.actor_critic(config, spec, divergence)

    def batch_discriminator_loss(
        params: Params, key: jax.Array, pi: TanhGaussian, batch: Transition
    ) -> jax.Array:
        sample_key, between_key = jax.random.split(key)
        action, _ = pi.draw(sample_key)
        fraction = jax.random.uniform(between_key, (len(action), 1))
        between = action + fraction * (batch.action - action)
        action_gradient = jax.grad(lambda a: jnp.sum(discriminator(params, batch.observation, a)))(
            between
        )
        estimates = estimate(params, batch.observation, action, batch.action)
        return jnp.mean(discriminator_loss(estimates, action_gradient, config.gradient_penalty))

    def init(key: jax.Array) -> TrainingState:
        core_key, discriminator_key = jax.random.split(key)
        params = network.init(
            discriminator_key,
            jnp.zeros((1, spec.observation_size)),
            jnp.zeros((1, spec.action_size)),
        )
        return core.init(core_key, params, optimizer.init(params))

    def minibatches(batch: Transition) -> list[Transition]:
        rows, steps = len(batch.action), config.discriminator_steps
        if rows % steps:
            raise ValueError(
                f"a batch holds discriminator_steps={steps} minibatches, got {rows} transitions"
            )
        size = rows // steps
        parts = [slice(start, start + size) for start in range(0, rows, size)]
        return [jax.tree.map(lambda x, part=part: x[part], batch) for part in parts]

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        batches = minibatches(batch)
        core_key, *keys = jax.random.split(
            jax.random.fold_in(state.key, state.steps), 1 + len(batches)
        )
        state, metrics = core.step(state, batches[0], core_key)
        params, optimizer_state = state.params.divergence, state.optimizer_state.divergence
        losses = []
        for key, minibatch in zip(keys, batches, strict=True):
            pi = core.policy(state.params.policy, minibatch.observation)
            loss, gradients = jax.value_and_grad(batch_discriminator_loss)(
                params, key, pi, minibatch
            )
            params, optimizer_state = training.descend(
                optimizer, gradients, optimizer_state, params
            )
            losses.append(loss)
        state = state._replace(
            params=state.params._replace(divergence=params),
            optimizer_state=state.optimizer_state._replace(divergence=optimizer_state),
        )
        return state, {**metrics, "discriminator_loss": jnp.mean(jnp.stack(losses))}

    return core.learner(init, step)
