"""Behaviour cloning of numbered actions: a softmax policy fitted by maximum likelihood.

RL Unplugged has it for Atari (Gulcehre et al. 2020, arXiv:2006.13888), Tianshou as `il`, and d3rlpy
as DiscreteBC.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from learners import training
from learners.checks import shaped
from learners.image_networks import check_style, styled
from learners.losses import log_likelihood
from learners.ranges import NotNegative, Positive
from learners.types import DiscreteSpec, Learner, Metrics, Params, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config:
    """Defaults are RL Unplugged's (table 6), whose batches are of 256.

    Attributes:
      network: of `image_networks.STYLES`.
      epsilon: of Adam; TensorFlow 2's.
      penalty: weight of the mean square of the logits.
      penalizes_log_probs: the penalty is of the logits minus their log-sum-exp.
    """

    network: str = "dopamine"
    learning_rate: Positive = 3e-5
    epsilon: Positive = 1e-7
    penalty: NotNegative = 0.0
    penalizes_log_probs: bool = False

    def __post_init__(self) -> None:
        check_style(self.network)


# examples/offline/atari_il.py of Tianshou 2.0.1.
TIANSHOU = Config(network="tianshou", learning_rate=1e-4, epsilon=1e-8)

# DiscreteBCConfig of d3rlpy 2.8.1, whose batches are of 100.
D3RLPY = Config(
    network="d3rlpy", learning_rate=1e-3, epsilon=1e-8, penalty=0.5, penalizes_log_probs=True
)


@shaped(logits="A", a_tm1="")
def imitation_loss(
    logits: jax.Array, a_tm1: jax.Array, penalty: float, penalizes_log_probs: bool = False
) -> jax.Array:
    """-log softmax(logits)[a_tm1] + penalty mean_a(logits[a]^2).

    The part of discrete BCQ's loss that is of the imitator (Fujimoto et al. 2019, "Benchmarking
    batch deep reinforcement learning algorithms", arXiv:1910.01708, and the authors' code).

    Args:
      logits: [A].
      a_tm1: the action taken.
      penalty: weight of the second term.
      penalizes_log_probs: the second term is of log softmax(logits), as in d3rlpy.
    """
    penalized = jax.nn.log_softmax(logits) if penalizes_log_probs else logits
    return -log_likelihood(logits, a_tm1) + penalty * jnp.mean(jnp.square(penalized))


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy takes the likeliest action."""
    network = styled(config.network, spec.num_actions)
    optimizer = optax.adam(config.learning_rate, eps=config.epsilon)

    def batch_loss(params: Params, batch: Transition) -> jax.Array:
        logits = network.apply(params, batch.observation)
        losses = jax.vmap(imitation_loss, (0, 0, None, None))(
            logits, batch.action, config.penalty, config.penalizes_log_probs
        )
        return jnp.mean(losses)

    def init(key: jax.Array) -> TrainingState:
        network_key, run_key = jax.random.split(key)
        params = network.init(network_key, jnp.zeros((1, *spec.observation_shape), jnp.uint8))
        return TrainingState(params, (), optimizer.init(params), run_key, jnp.zeros((), jnp.int32))

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        loss, gradients = jax.value_and_grad(batch_loss)(state.params, batch)
        params, optimizer_state = training.descend(
            optimizer, gradients, state.optimizer_state, state.params
        )
        return TrainingState(params, (), optimizer_state, state.key, state.steps + 1), {
            "loss": loss
        }

    def act(state: TrainingState, observation: jax.Array) -> jax.Array:
        return jnp.argmax(network.apply(state.params, observation), axis=-1)

    return training.make_learner(
        spec, init, training.steps_with_convolutions(step, spec), {"act": act}
    )
