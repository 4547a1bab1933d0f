"""DQfD with a teacher in place of demonstrations (Agarwal et al. 2022, arXiv:2206.01626).

Hester et al. 2018, "Deep Q-learning from demonstrations", arXiv:1704.03732, keep the value of the
demonstrated action above all others by a margin. Here the action is the teacher's best one, and the
weight of the margin fades.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from learners import distillation
from learners.checks import shaped
from learners.ranges import NotNegative
from learners.types import DiscreteSpec, Learner


@dataclasses.dataclass(frozen=True)
class Config(distillation.Config):
    """Defaults are those of margin_dqn.gin of Agarwal et al., where returns have one step.

    Attributes:
      margin: by which the teacher's action should be better.
      is_maximum: only the action that violates the margin most counts, as in DQfD; else the mean
        over all actions.
    """

    coefficient: NotNegative = 1.0
    decays: bool = False
    margin: NotNegative = 1.0
    is_maximum: bool = False


@shaped(q_tm1="A", a_teacher="")
def violations(q_tm1: jax.Array, a_teacher: jax.Array, margin: float) -> jax.Array:
    """max(q_tm1[a] + margin 1[a != a_teacher] - q_tm1[a_teacher], 0) of every action a: [A].

    DQfD's loss is the largest. It is never negative, for the action may be the teacher's.

    Args:
      q_tm1: [A] values by the student.
      a_teacher: the teacher's action.
      margin: by which it should be better.
    """
    margins = margin * (jnp.arange(q_tm1.shape[0]) != a_teacher)
    return jnp.maximum(q_tm1 + margins - q_tm1[a_teacher], 0)


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config`: see `distillation.dqn_student`."""
    over_actions = jnp.max if config.is_maximum else jnp.mean

    def loss(q_tm1: jax.Array, teacher_q: jax.Array) -> jax.Array:
        return over_actions(violations(q_tm1, jnp.argmax(teacher_q), config.margin))

    return distillation.dqn_student(config, spec, loss)
