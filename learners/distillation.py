"""What students of a teacher share (Agarwal et al. 2022, "Reincarnating reinforcement learning").

A student minimises the loss of Q-learning plus c lambda times a loss that compares its values with
a teacher's (arXiv:2206.01626). The weight lambda is 1 while the student learns from the teacher's
data, and later falls as its score nears the teacher's: whoever trains the student scores it, and
calls `with_weight`. Lambda is a part of the training state, so a checkpoint has it.

The teacher's values of the observations are the extra `teacher_values` of a batch: float32
[K, B, A]. Defaults are those of the authors' code, google-research/reincarnating_rl at 3eb419c.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from learners import value_based
from learners.checks import shaped
from learners.dqn import td_error
from learners.image_networks import check_style, styled
from learners.losses import huber, log_likelihood
from learners.ranges import Count, NotNegative, Positive, Share
from learners.types import DiscreteSpec, Learner, TrainingState

TeacherLoss = Callable[[jax.Array, jax.Array], jax.Array]  # of a student's values, and a teacher's


@dataclasses.dataclass(frozen=True)
class Config:
    """What every student has.

    Attributes:
      network: of `image_networks.STYLES`.
      coefficient: of the teacher's loss, c; with 0, an update reads no teacher's values.
      target_period: gradient steps.
      learning_rate: of Adam, where lambda is 1.
      final_learning_rate: where it is 0, if the rate decays.
      decays: the learning rate follows lambda; else it stays.
      epsilon: of Adam.
    """

    network: str = "dopamine"
    coefficient: NotNegative = 3.0
    discount: Share = 0.99
    target_period: Count = 2_000
    learning_rate: Positive = 1e-4
    final_learning_rate: Positive = 1e-5
    decays: bool = True
    epsilon: Positive = 1.5e-4

    def __post_init__(self) -> None:
        check_style(self.network)

    def extras(self) -> tuple[str, ...]:
        """Names of a batch's extras that an update reads."""
        return ("teacher_values",) if self.coefficient else ()

    def factor(self, weight: jax.Array) -> jax.Array:
        """Of the teacher's loss, where lambda is `weight`."""
        return self.coefficient * weight


class Annealed(NamedTuple):
    """The state of a student's optimiser.

    Attributes:
      adam: the state of Adam.
      weight: lambda, a float32 scalar.
    """

    adam: optax.OptState
    weight: jax.Array


def adam(config: Config) -> optax.GradientTransformation:
    """Adam, whose learning rate is lambda high + (1 - lambda) low where it decays.

    Its state is an `Annealed`, in which lambda begins as 1.
    """
    scaled = optax.scale_by_adam(eps=config.epsilon)

    def init(params: optax.Params) -> Annealed:
        return Annealed(scaled.init(params), jnp.ones((), jnp.float32))

    def update(
        gradients: optax.Updates, state: Annealed, params: optax.Params | None = None
    ) -> tuple[optax.Updates, Annealed]:
        updates, scaled_state = scaled.update(gradients, state.adam, params)
        rate: Any = config.learning_rate
        if config.decays:
            rate = state.weight * rate + (1 - state.weight) * config.final_learning_rate
        return jax.tree.map(lambda u: -rate * u, updates), state._replace(adam=scaled_state)

    return optax.GradientTransformation(init, update)


def with_weight(state: TrainingState, weight: float | np.ndarray) -> TrainingState:
    """The state with another lambda.

    Args:
      state: of a student, or of many seeds.
      weight: lambda, or one for each seed. It may be above 1, as the authors' is where a student
        plays worse than at random.

    Raises:
      ValueError: it is negative or not finite.
    """
    if not np.all(np.isfinite(weight) & (np.asarray(weight) >= 0)):
        raise ValueError(f"a teacher's weight must be 0 or more, and finite, got {weight}")
    annealed = state.optimizer_state
    weights = np.broadcast_to(np.asarray(weight, np.float32), annealed.weight.shape)
    return state._replace(optimizer_state=annealed._replace(weight=jnp.array(weights)))


def taught(
    config: Config, sample: value_based.Sample, q_tm1: jax.Array, loss: TeacherLoss
) -> jax.Array | float:
    """c lambda loss(q_tm1, the teacher's values), q_tm1 [A] the student's."""
    if not config.coefficient:
        return 0.0
    weight = sample.optimizer_state.weight
    return config.factor(weight) * loss(q_tm1, sample.extra("teacher_values"))


def dqn_student(config: Config, spec: DiscreteSpec, teacher_loss: TeacherLoss) -> Learner:
    """DQN with a teacher, for a game of `spec`; its policy is greedy.

    An update raises a ValueError if batches lack the extra `teacher_values`, unless the coefficient
    is 0.
    """

    def loss(sample: value_based.Sample) -> jax.Array:
        q_tm1, q_t = sample.outputs_tm1, sample.outputs_t
        error = td_error(q_tm1, sample.a_tm1, sample.r_t, sample.discount_t, q_t, q_t)
        return huber(error) + taught(config, sample, q_tm1, teacher_loss)

    algorithm = value_based.Algorithm(
        network=styled(config.network, spec.num_actions),
        optimizer=adam(config),
        loss=loss,
        values=lambda q: q,
    )
    return value_based.make(config, spec, algorithm)


@shaped(q_tm1="A", teacher_q="A")
def divergence(q_tm1: jax.Array, teacher_q: jax.Array, temperature: float) -> jax.Array:
    """KL(teacher's policy || student's), each the softmax of values / temperature.

    It is sum_a pi_T(a) (log pi_T(a) - log pi(a)), as in the authors' code.

    Args:
      q_tm1: [A] values by the student.
      teacher_q: [A] values by the teacher.
      temperature: of both policies.
    """
    log_pi = jax.nn.log_softmax(q_tm1 / temperature)
    log_teacher = jax.nn.log_softmax(teacher_q / temperature)
    return jnp.sum(jnp.exp(log_teacher) * (log_teacher - log_pi))


@shaped(q_tm1="A", teacher_q="A")
def cloning_loss(q_tm1: jax.Array, teacher_q: jax.Array, temperature: float) -> jax.Array:
    """-log pi(a), a the teacher's best action and pi the softmax of q_tm1 / temperature.

    The authors' code has it in place of the divergence by `distill_best_action_only`.
    """
    return -log_likelihood(q_tm1 / temperature, jnp.argmax(teacher_q))
