"""QR-DQN: DQN on the quantiles of the return (Dabney et al. 2018, arXiv:1710.10044).

Equations are that paper's. Numbers are those of REM's paper (Agarwal et al. 2020, arXiv:1907.04543)
and of Dopamine (Castro et al. 2018, arXiv:1812.06110).
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
from learners.types import DiscreteSpec, Learner, Params


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are REM's paper's (table 2 and appendix A.4) and batch_rl's quantile.gin.

    Attributes:
      network: of `image_networks.STYLES`.
    """

    num_quantiles: Count = 200
    kappa: Positive = 1.0  # of the Huber loss
    discount: Share = 0.99
    target_period: Count = 2_000  # gradient steps; 8,000 agent steps, four an update
    learning_rate: Positive = 5e-5
    epsilon: Positive = 0.01 / 32  # of Adam
    is_double: bool = False
    network: str = "dopamine_quantiles"

    def __post_init__(self) -> None:
        check_style(self.network)


# examples/atari/atari_qrdqn.py of thu-ml/tianshou, commit 3592f45.
TIANSHOU = Config(
    target_period=500, learning_rate=1e-4, epsilon=1e-8, is_double=True, network="tianshou"
)


@shaped(r_t="", discount_t="", theta_t="A N", judged_t="A N")
def target(
    r_t: jax.Array, discount_t: jax.Array, theta_t: jax.Array, judged_t: jax.Array
) -> jax.Array:
    """r_t + discount_t theta_t[a], a being the action of the highest mean (algorithm 1): [N].

    Args:
      r_t: the reward.
      discount_t: of what follows.
      theta_t: [A, N] quantiles of the state that followed, by the target network.
      judged_t: [A, N] quantiles of the same state, whose means choose the action: `theta_t`, or
        those of the network that learns (double Q-learning, van Hasselt et al. 2016).
    """
    greedy = jnp.argmax(jnp.mean(judged_t, axis=-1))
    return jax.lax.stop_gradient(r_t + discount_t * theta_t[greedy])


@shaped(theta_tm1="N", target_tm1="M")
def quantile_huber_loss(theta_tm1: jax.Array, target_tm1: jax.Array, kappa: float) -> jax.Array:
    """sum_i mean_j |tau_i - 1{u_ij < 0}| huber(u_ij) / kappa, u_ij = target_j - theta_i (eq. 10).

    Args:
      theta_tm1: [N] quantiles of the action taken, at the midpoints tau_i = (i + 1/2) / N.
      target_tm1: [M] samples of the distribution whose quantiles they should be.
      kappa: where the Huber loss turns linear.
    """
    n = theta_tm1.shape[0]
    tau = (jnp.arange(n) + 0.5) / n
    u = target_tm1[None, :] - theta_tm1[:, None]
    weight = jnp.abs(tau[:, None] - (u < 0))
    return jnp.sum(jnp.mean(weight * huber(u, kappa) / kappa, axis=1))


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy in the mean."""
    network = styled(config.network, spec.num_actions * config.num_quantiles)

    def quantiles(params: Params, observation: jax.Array) -> jax.Array:
        flat = network.apply(params, observation)
        return flat.reshape(-1, spec.num_actions, config.num_quantiles)

    def loss(sample: value_based.Sample) -> jax.Array:
        judged_t = sample.online_t if config.is_double else sample.outputs_t
        target_tm1 = target(sample.r_t, sample.discount_t, sample.outputs_t, judged_t)
        return quantile_huber_loss(sample.outputs_tm1[sample.a_tm1], target_tm1, config.kappa)

    algorithm = value_based.Algorithm(
        network=network._replace(apply=quantiles),
        optimizer=optax.adam(config.learning_rate, eps=config.epsilon),
        loss=loss,
        values=lambda theta: jnp.mean(theta, axis=-1),
    )
    return value_based.make(config, spec, algorithm)
