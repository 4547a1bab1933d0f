"""DQN (Mnih et al. 2015, "Human-level control through deep reinforcement learning").

It has the optimisers of Dopamine (Castro et al. 2018, arXiv:1812.06110) and of REM's paper (Agarwal
et al. 2020, arXiv:1907.04543), whose DQN Replay data an agent of this kind logged.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import value_based
from learners.checks import shaped
from learners.image_networks import check_style, styled
from learners.losses import huber
from learners.ranges import Count, Positive, Share
from learners.types import DiscreteSpec, Learner


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are those of the agent that logged DQN Replay (Dopamine's dqn.gin).

    Attributes:
      optimizer: "rmsprop", centred and without momentum, or "adam".
      is_double: the network that learns chooses the next action, and the target network values it
        (van Hasselt et al. 2016, arXiv:1509.06461).
      is_squared: the loss is the squared error, not Huber's.
      network: of `image_networks.STYLES`.
    """

    discount: Share = 0.99
    target_period: Count = 2_000  # gradient steps; dqn.gin has 8,000 agent steps, four an update
    optimizer: str = "rmsprop"
    learning_rate: Positive = 2.5e-4
    rmsprop_decay: Share = 0.95
    epsilon: Positive = 1e-5  # within the root
    is_double: bool = False
    is_squared: bool = False
    network: str = "dopamine"

    def __post_init__(self) -> None:
        check_style(self.network)
        if self.optimizer not in ("rmsprop", "adam"):
            raise ValueError(f"optimizer must be 'rmsprop' or 'adam', got {self.optimizer!r}")


# REM's paper, appendix A.4.
ADAM = Config(optimizer="adam", learning_rate=5e-5, epsilon=0.01 / 32)


@shaped(q_tm1="A", a_tm1="", r_t="", discount_t="", q_t="A", judged_t="A")
def td_error(
    q_tm1: jax.Array,
    a_tm1: jax.Array,
    r_t: jax.Array,
    discount_t: jax.Array,
    q_t: jax.Array,
    judged_t: jax.Array,
) -> jax.Array:
    """r_t + discount_t q_t[argmax judged_t] - q_tm1[a_tm1] (Mnih et al. 2015, equation 2).

    Args:
      q_tm1: [A], of the state in which the action was taken.
      a_tm1: the action.
      r_t: the reward.
      discount_t: of what follows.
      q_t: [A], of the state that followed, by the target network.
      judged_t: [A], of the same state: `q_t`, or by the network that learns (double Q-learning).
    """
    bootstrapped = q_t[jnp.argmax(judged_t)]
    return jax.lax.stop_gradient(r_t + discount_t * bootstrapped) - q_tm1[a_tm1]


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy."""

    def loss(sample: value_based.Sample) -> jax.Array:
        error = td_error(
            sample.outputs_tm1,
            sample.a_tm1,
            sample.r_t,
            sample.discount_t,
            sample.outputs_t,
            sample.online_t if config.is_double else sample.outputs_t,
        )
        return jnp.square(error) if config.is_squared else huber(error)

    algorithm = value_based.Algorithm(
        network=styled(config.network, spec.num_actions),
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
