"""Discrete BCQ: double Q-learning among the actions that an imitator thinks likely enough.

Fujimoto et al. 2019, "Benchmarking batch deep reinforcement learning algorithms",
arXiv:1910.01708, and the authors' code (sfujim/BCQ, discrete_BCQ).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import value_based
from learners.action_values import ActionValues, target, values
from learners.checks import shaped
from learners.discrete_bc import imitation_loss
from learners.image_networks import check_style, styled_heads
from learners.networks import Network
from learners.ranges import Count, NotNegative, Positive, Share
from learners.types import DiscreteSpec, Learner, Params


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are the authors', whose code leaves frames as they are, from 0 to 255.

    Attributes:
      network: of `image_networks.STYLES`.
      shares_torso: the values and the imitator are two heads of one torso; else each has a network
        of its own.
      num_quantiles: of the return for each action; None for the value alone.
      threshold: how likely an action must be, as a share of the likeliest one's probability.
      penalty, penalizes_log_probs: of the imitator, see `discrete_bc.imitation_loss`.
      target_period: gradient steps.
      epsilon: of Adam.
    """

    network: str = "tianshou"
    shares_torso: bool = True
    num_quantiles: Count | None = None
    threshold: Share = 0.3
    penalty: NotNegative = 0.01
    penalizes_log_probs: bool = False
    discount: Share = 0.99
    target_period: Count = 8_000
    learning_rate: Positive = 6.25e-5
    epsilon: Positive = 1.5e-4

    def __post_init__(self) -> None:
        check_style(self.network)

    def choose(self, q: jax.Array, is_allowed: jax.Array) -> jax.Array:
        """The allowed action with the highest value: [..., A], [..., A] -> [...]."""
        return jnp.argmax(jnp.where(is_allowed, q, -jnp.inf), axis=-1)


# examples/offline/atari_bcq.py of Tianshou 2.0.1.
TIANSHOU = Config(epsilon=1e-8)

# d3rlpy-benchmarks at 1771c9b.
D3RLPY = Config(
    network="d3rlpy",
    shares_torso=False,
    num_quantiles=200,
    penalizes_log_probs=True,
    target_period=2_000,
    learning_rate=5e-5,
    epsilon=0.01 / 32,
)


@shaped(logits="... A")
def allowed(logits: jax.Array, threshold: float) -> jax.Array:
    """Which actions are likelier than a share of the likeliest one's probability: [..., A] bool."""
    return logits - jnp.max(logits, axis=-1, keepdims=True) > jnp.log(threshold)


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`."""
    of_action = ActionValues(config.num_quantiles)
    network = styled_heads(
        config.network,
        {"q": spec.num_actions * of_action.outputs, "imitator": spec.num_actions},
        config.shares_torso,
    )

    def outputs(params: Params, observation: jax.Array) -> dict[str, jax.Array]:
        flat = network.apply(params, observation)
        return {**flat, "q": of_action.split(flat["q"])}

    def choose(outputs: dict[str, jax.Array]) -> jax.Array:
        is_allowed = allowed(outputs["imitator"], config.threshold)
        return config.choose(values(outputs["q"]), is_allowed)

    def loss(sample: value_based.Sample) -> jax.Array:
        target_tm1 = target(
            sample.r_t, sample.discount_t, sample.outputs_t["q"], choose(sample.online_t)
        )
        td_loss = of_action.loss(sample.outputs_tm1["q"][sample.a_tm1], target_tm1)
        return td_loss + imitation_loss(
            sample.outputs_tm1["imitator"],
            sample.a_tm1,
            config.penalty,
            config.penalizes_log_probs,
        )

    algorithm = value_based.Algorithm(
        network=Network(network.init, outputs),
        optimizer=optax.adam(config.learning_rate, eps=config.epsilon),
        loss=loss,
        values=lambda outputs: values(outputs["q"]),
        policies={"act": lambda outputs, key: choose(outputs)},
    )
    return value_based.make(config, spec, algorithm)
