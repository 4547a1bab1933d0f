"""QDagger on Rainbow (Agarwal et al. 2022, "Reincarnating reinforcement learning").

In arXiv:2206.01626, Rainbow (Hessel et al. 2018, arXiv:1710.02298) is C51 with n-step returns and
prioritised replay (Schaul et al. 2016, arXiv:1511.05952). It has no noisy layers, dueling heads and
double Q-learning. `RAINBOW` is this without a teacher.

How much a transition counts is the extra `importance` of a batch: float32 [K, B], all 1 where a
buffer draws uniformly. The metric `priority` has the new priorities of the transitions, [B]. Update
by one step a call to have them.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from learners import c51, distillation, value_based
from learners.image_networks import styled
from learners.ranges import Count, NotNegative, Positive
from learners.types import DiscreteSpec, Learner, Params


@dataclasses.dataclass(frozen=True)
class Config(distillation.Config):
    """Defaults are those of the authors' distillation_rainbow.gin, where returns have 3 steps.

    Attributes:
      network: "impala" is the paper's larger one.
      temperature: of both policies.
      num_atoms: of the distribution, two or more.
      vmax: the largest return that it can have; the smallest is -vmax.
    """

    coefficient: NotNegative = 1.0
    temperature: Positive = 0.1
    num_atoms: Count = 51
    vmax: Positive = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.support()

    def extras(self) -> tuple[str, ...]:
        return (*super().extras(), "importance")

    def support(self) -> np.ndarray:
        """The atoms, as C51's; a ValueError if there are fewer than two."""
        return c51.Config(num_atoms=self.num_atoms, vmax=self.vmax).support()


# Without a teacher, and with the learning rate of Dopamine's rainbow.gin.
RAINBOW = Config(coefficient=0.0, learning_rate=6.25e-5, decays=False)


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy in the mean.

    An update raises a ValueError if batches lack an extra that it reads: `importance`, and
    `teacher_values` unless the coefficient is 0.
    """
    network = styled(config.network, spec.num_actions * config.num_atoms)
    support = jnp.asarray(config.support())

    def logits(params: Params, observation: jax.Array) -> jax.Array:
        flat = network.apply(params, observation)
        return flat.reshape(-1, spec.num_actions, config.num_atoms)

    def td_loss(sample: value_based.Sample) -> jax.Array:
        target_tm1 = c51.target(
            sample.r_t, sample.discount_t, sample.outputs_t, sample.outputs_t, support
        )
        return c51.cross_entropy(sample.outputs_tm1[sample.a_tm1], target_tm1)

    def teacher_loss(q_tm1: jax.Array, teacher_q: jax.Array) -> jax.Array:
        return distillation.divergence(q_tm1, teacher_q, config.temperature)

    def loss(sample: value_based.Sample) -> jax.Array:
        q_tm1 = c51.means(sample.outputs_tm1, support)
        of_teacher = distillation.taught(config, sample, q_tm1, teacher_loss)
        return sample.extra("importance") * (td_loss(sample) + of_teacher)

    algorithm = value_based.Algorithm(
        network=network._replace(apply=logits),
        optimizer=distillation.adam(config),
        loss=loss,
        values=lambda logits: c51.means(logits, support),
        priority=lambda sample: jnp.sqrt(td_loss(sample) + 1e-10),
    )
    return value_based.make(config, spec, algorithm)
