"""Discrete CQL(H): Q-learning that lowers the values of actions which the data do not have.

Kumar et al. 2020, "Conservative Q-learning for offline reinforcement learning", arXiv:2006.04779:
on QR-DQN, as in the authors' code for Atari, Tianshou and d3rlpy; or on DQN, as in slimCQL and in
the pretraining of "Reincarnating reinforcement learning" (Agarwal et al. 2022, arXiv:2206.01626).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import value_based
from learners.action_values import ActionValues, target, values
from learners.checks import shaped
from learners.image_networks import check_style, styled
from learners.ranges import Count, NotNegative, Positive, Share
from learners.types import DiscreteSpec, Learner, Params


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are the authors' for 1 % of the data (appendix F); 10 % have a weight of 1.

    Attributes:
      network: of `image_networks.STYLES`.
      weight: of the penalty, alpha.
      temperature: by which the penalty divides values.
      num_quantiles: of the return for each action; None for the value alone.
      is_squared: the loss of a value is the squared error, not Huber's.
      is_double: the network that learns chooses the next action, and the target network values it.
      target_period: gradient steps.
      epsilon: of Adam.
    """

    network: str = "dopamine_quantiles"
    weight: NotNegative = 4.0
    temperature: Positive = 1.0
    num_quantiles: Count | None = 200
    is_squared: bool = False
    is_double: bool = False
    discount: Share = 0.99
    target_period: Count = 2_000
    learning_rate: Positive = 5e-5
    epsilon: Positive = 0.01 / 32

    def __post_init__(self) -> None:
        check_style(self.network)


# examples/offline/atari_cql.py of Tianshou 2.0.1, for Pong; Breakout has a weight of 50.
TIANSHOU = Config(
    network="tianshou",
    weight=10.0,
    is_double=True,
    target_period=500,
    learning_rate=1e-4,
    epsilon=1e-8,
)

# d3rlpy-benchmarks at 1771c9b.
D3RLPY = Config(network="d3rlpy", is_double=True)

# The pretraining that the paper on reincarnation compares with, pretrained_dqn.gin of
# google-research/reincarnating_rl at 3eb419c; the run then goes on as DQN with a new optimiser.
PRETRAINING = Config(
    network="dopamine",
    weight=1.0,
    temperature=0.1,
    num_quantiles=None,
    learning_rate=1e-4,
    epsilon=1.5e-4,
)


@shaped(q_tm1="A", a_tm1="")
def value_gap(q_tm1: jax.Array, a_tm1: jax.Array) -> jax.Array:
    """log sum_a exp(q_tm1[a]) - q_tm1[a_tm1], which equation 4 keeps small.

    Args:
      q_tm1: [A] values of the state in which the action was taken.
      a_tm1: the action.
    """
    return jax.nn.logsumexp(q_tm1) - q_tm1[a_tm1]


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy in the values."""
    of_action = ActionValues(config.num_quantiles, config.is_squared)
    network = styled(config.network, spec.num_actions * of_action.outputs)

    def outputs(params: Params, observation: jax.Array) -> jax.Array:
        return of_action.split(network.apply(params, observation))

    def loss(sample: value_based.Sample) -> jax.Array:
        judged_t = sample.online_t if config.is_double else sample.outputs_t
        a_t = jnp.argmax(values(judged_t))
        target_tm1 = target(sample.r_t, sample.discount_t, sample.outputs_t, a_t)
        td_loss = of_action.loss(sample.outputs_tm1[sample.a_tm1], target_tm1)
        scaled_tm1 = values(sample.outputs_tm1) / config.temperature
        return td_loss + config.weight * value_gap(scaled_tm1, sample.a_tm1)

    algorithm = value_based.Algorithm(
        network=network._replace(apply=outputs),
        optimizer=optax.adam(config.learning_rate, eps=config.epsilon),
        loss=loss,
        values=values,
    )
    return value_based.make(config, spec, algorithm)
