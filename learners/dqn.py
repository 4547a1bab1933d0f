"""DQN (Mnih et al. 2015, "Human-level control through deep reinforcement learning").

With the optimisers of Dopamine (Castro et al. 2018, arXiv:1812.06110) and of REM's paper (Agarwal
et al. 2020, arXiv:1907.04543), whose DQN Replay data this algorithm logged.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import value_based
from learners.checks import shaped
from learners.image_networks import nature_dqn
from learners.losses import huber
from learners.ranges import Count, Positive, Share
from learners.types import DiscreteSpec, Learner


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of the agent that logged DQN Replay (Dopamine's dqn.gin).

    Attributes:
      optimizer: "rmsprop", which is centred and without momentum, or "adam".
    """

    discount: Share = 0.99
    target_period: Count = 2_000  # gradient steps; dqn.gin has 8,000 agent steps, four an update
    optimizer: str = "rmsprop"
    learning_rate: Positive = 2.5e-4
    rmsprop_decay: Share = 0.95
    epsilon: Positive = 1e-5  # within the root

    def __post_init__(self) -> None:
        if self.optimizer not in ("rmsprop", "adam"):
            raise ValueError(f"optimizer must be 'rmsprop' or 'adam', got {self.optimizer!r}")


# REM's paper, appendix A.4.
ADAM = Config(optimizer="adam", learning_rate=5e-5, epsilon=0.01 / 32)


@shaped(q_tm1="A", a_tm1="", r_t="", discount_t="", q_t="A")
def td_error(
    q_tm1: jax.Array, a_tm1: jax.Array, r_t: jax.Array, discount_t: jax.Array, q_t: jax.Array
) -> jax.Array:
    """r_t + discount_t max_a q_t[a] - q_tm1[a_tm1] (Mnih et al. 2015, equation 2).

    Args:
      q_tm1: [A], of the state in which the action was taken.
      a_tm1: the action.
      r_t: the reward.
      discount_t: of what follows.
      q_t: [A], of the state that followed, by the target network.
    """
    return jax.lax.stop_gradient(r_t + discount_t * jnp.max(q_t)) - q_tm1[a_tm1]


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy."""

    def loss(sample: value_based.Sample) -> jax.Array:
        q_tm1, a_tm1, r_t, discount_t, q_t, _ = sample
        return huber(td_error(q_tm1, a_tm1, r_t, discount_t, q_t))

    algorithm = value_based.Algorithm(
        network=nature_dqn(spec.num_actions),
        optimizer=_optimizer(config),
        loss=loss,
        values=lambda q: q,
    )
    return value_based.make(config, spec, algorithm)


def _optimizer(config: Config) -> optax.GradientTransformation:
    if config.optimizer == "adam":
        return optax.adam(config.learning_rate, eps=config.epsilon)
    # The mean of squares begins at 1, as in TensorFlow 1.
    return optax.rmsprop(
        config.learning_rate,
        config.rmsprop_decay,
        config.epsilon,
        initial_scale=1.0,
        centered=True,
    )
