"""Critic-regularised regression for numbered actions, with or without CQL's penalty.

Wang et al. 2020, "Critic regularized regression", arXiv:2006.15134; the critic's penalty is Kumar
et al.'s (2020, arXiv:2006.04779), which Tianshou's examples add for Atari.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import value_based
from learners.checks import shaped
from learners.discrete_cql import value_gap
from learners.image_networks import check_style, styled_heads
from learners.losses import log_likelihood
from learners.ranges import Count, NotNegative, Positive, Share
from learners.types import DiscreteSpec, Learner


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of Tianshou's examples (examples/offline/atari_crr.py of 2.0.1).

    Attributes:
      network: of `image_networks.STYLES`; policy and values are two heads of one torso.
      is_binary: an action counts 1 where its advantage is above 0, and else 0 (equation 3); else it
        counts exp(advantage / beta), at most `max_weight` (equation 4).
      cql_weight: of the penalty on values.
      target_period: gradient steps.
      epsilon: of Adam.
    """

    network: str = "tianshou"
    is_binary: bool = False
    beta: Positive = 1.0
    max_weight: Positive = 20.0
    cql_weight: NotNegative = 0.0
    discount: Share = 0.99
    target_period: Count = 500
    learning_rate: Positive = 1e-4
    epsilon: Positive = 1e-8

    def __post_init__(self) -> None:
        check_style(self.network)

    def weight(self, advantage: jax.Array) -> jax.Array:
        """How much an action of this advantage counts, a constant to the gradient."""
        if self.is_binary:
            return (advantage > 0).astype(jnp.float32)
        return jax.lax.stop_gradient(jnp.minimum(jnp.exp(advantage / self.beta), self.max_weight))


@shaped(q="A", logits="A")
def expected_value(q: jax.Array, logits: jax.Array) -> jax.Array:
    """sum_a softmax(logits)[a] q[a]."""
    return jnp.sum(jax.nn.softmax(logits) * q)


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`.

    Its policy `act` takes the likeliest action, and `sample` draws one.
    """
    network = styled_heads(
        config.network, {"policy": spec.num_actions, "q": spec.num_actions}, shares_torso=True
    )

    def loss(sample: value_based.Sample) -> jax.Array:
        q_tm1, logits_tm1 = sample.outputs_tm1["q"], sample.outputs_tm1["policy"]
        v_t = expected_value(sample.outputs_t["q"], sample.outputs_t["policy"])
        target_tm1 = jax.lax.stop_gradient(sample.r_t + sample.discount_t * v_t)
        critic_loss = 0.5 * jnp.square(q_tm1[sample.a_tm1] - target_tm1)
        advantage = q_tm1[sample.a_tm1] - expected_value(q_tm1, logits_tm1)
        policy_loss = -config.weight(advantage) * log_likelihood(logits_tm1, sample.a_tm1)
        penalty = config.cql_weight * value_gap(q_tm1, sample.a_tm1)
        return policy_loss + critic_loss + penalty

    algorithm = value_based.Algorithm(
        network=network,
        optimizer=optax.adam(config.learning_rate, eps=config.epsilon),
        loss=loss,
        values=lambda outputs: outputs["q"],
        policies={
            "act": lambda outputs, key: jnp.argmax(outputs["policy"], axis=-1),
            "sample": lambda outputs, key: jax.random.categorical(key, outputs["policy"]),
        },
    )
    return value_based.make(config, spec, algorithm)
