"""C51: DQN on a distribution of the return over fixed atoms (Bellemare et al. 2017).

Equations are that paper's, "A Distributional Perspective on Reinforcement Learning",
arXiv:1707.06887. Numbers are those of Dopamine (Castro et al. 2018, arXiv:1812.06110).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learners import value_based
from learners.checks import shaped
from learners.image_networks import nature_dqn
from learners.networks import fan_in_initializers
from learners.ranges import Count, Positive, Share
from learners.types import DiscreteSpec, Learner, Params


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of Dopamine's and batch_rl's c51.gin.

    Attributes:
      num_atoms: of the distribution, two or more.
      vmax: the largest return that it can have; the smallest is -vmax.
      is_double: the network that learns chooses the next action, and the target network gives its
        distribution.
    """

    num_atoms: Count = 51
    vmax: Positive = 10.0
    discount: Share = 0.99
    target_period: Count = 2_000  # gradient steps; 8,000 agent steps, four an update
    learning_rate: Positive = 2.5e-4
    epsilon: Positive = 0.01 / 32  # of Adam
    is_double: bool = False

    def __post_init__(self) -> None:
        if self.num_atoms < 2:
            raise ValueError(f"num_atoms must be 2 or more, got {self.num_atoms}")

    def support(self) -> np.ndarray:
        """The atoms, float32 [N], in equal steps from -vmax to vmax."""
        return np.linspace(-self.vmax, self.vmax, self.num_atoms, dtype=np.float32)


@shaped(z="M", p="M", support="N")
def project(z: jax.Array, p: jax.Array, support: jax.Array) -> jax.Array:
    """A distribution on other atoms, projected onto the support (equation 7): [N].

    The mass of an atom goes to its two neighbours on the support, in proportion to how near it is
    to each; an atom beyond an end counts as that end.

    Args:
      z: [M] atoms.
      p: [M] their probabilities.
      support: [N] atoms in equal and rising steps.
    """
    low, high = support[0], support[-1]
    step = (high - low) / (support.shape[0] - 1)
    distance = jnp.abs(jnp.clip(z, low, high)[None, :] - support[:, None]) / step
    return jnp.sum(jnp.maximum(1 - distance, 0) * p[None, :], axis=1)


@shaped(r_t="", discount_t="", logits_t="A N", judged_t="A N", support="N")
def target(
    r_t: jax.Array,
    discount_t: jax.Array,
    logits_t: jax.Array,
    judged_t: jax.Array,
    support: jax.Array,
) -> jax.Array:
    """The distribution of r_t + discount_t Z(a), projected; a has the highest mean: [N].

    Args:
      r_t: the reward.
      discount_t: of what follows.
      logits_t: [A, N] of the state that followed, by the target network.
      judged_t: [A, N] of the same state, which choose a: `logits_t`, or those of the network that
        learns (double Q-learning).
      support: [N] atoms.
    """
    greedy = jnp.argmax(means(judged_t, support))
    moved = r_t + discount_t * support
    return jax.lax.stop_gradient(project(moved, jax.nn.softmax(logits_t[greedy]), support))


def means(logits: jax.Array, support: jax.Array) -> jax.Array:
    """Means of distributions [..., N] over the support [N]: [...]."""
    return jax.nn.softmax(logits) @ support


@shaped(logits_tm1="N", target_tm1="N")
def cross_entropy(logits_tm1: jax.Array, target_tm1: jax.Array) -> jax.Array:
    """-sum_i target_tm1[i] log softmax(logits_tm1)[i], which algorithm 1 minimises.

    Args:
      logits_tm1: [N] of the action taken.
      target_tm1: [N] probabilities that they should have.
    """
    return -jnp.sum(target_tm1 * jax.nn.log_softmax(logits_tm1))


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy in the mean."""
    network = nature_dqn(spec.num_actions * config.num_atoms, fan_in_initializers)
    support = jnp.asarray(config.support())

    def logits(params: Params, observation: jax.Array) -> jax.Array:
        flat = network.apply(params, observation)
        return flat.reshape(-1, spec.num_actions, config.num_atoms)

    def loss(sample: value_based.Sample) -> jax.Array:
        judged_t = sample.online_t if config.is_double else sample.outputs_t
        target_tm1 = target(sample.r_t, sample.discount_t, sample.outputs_t, judged_t, support)
        return cross_entropy(sample.outputs_tm1[sample.a_tm1], target_tm1)

    algorithm = value_based.Algorithm(
        network=network._replace(apply=logits),
        optimizer=optax.adam(config.learning_rate, eps=config.epsilon),
        loss=loss,
        values=lambda logits: means(logits, support),
    )
    return value_based.make(config, spec, algorithm)
