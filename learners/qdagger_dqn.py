"""QDagger on DQN (Agarwal et al. 2022, "Reincarnating reinforcement learning", arXiv:2206.01626).

A student learns by Q-learning, and is held to its teacher's policy by a weight that fades: first on
the teacher's data, then on its own. Without the first phase, this is Kickstarting (Schmitt et al.
2018, arXiv:1803.03835) as that paper has it.
"""

from __future__ import annotations

import dataclasses

import jax

from learners import distillation
from learners.ranges import Positive
from learners.types import DiscreteSpec, Learner


@dataclasses.dataclass(frozen=True)
class Config(distillation.Config):
    """Defaults are those of the authors' distillation_dqn.gin, where n-step returns have n = 3.

    Attributes:
      temperature: of both policies.
      clones_best: the student is held to the teacher's best action, not to its policy.
    """

    temperature: Positive = 0.1
    clones_best: bool = False


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config`: see `distillation.dqn_student`."""
    of_teacher = distillation.cloning_loss if config.clones_best else distillation.divergence

    def loss(q_tm1: jax.Array, teacher_q: jax.Array) -> jax.Array:
        return of_teacher(q_tm1, teacher_q, config.temperature)

    return distillation.dqn_student(config, spec, loss)
