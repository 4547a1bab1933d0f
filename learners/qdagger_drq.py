"""QDagger on DrQ (Agarwal et al. 2022, "Reincarnating reinforcement learning", arXiv:2206.01626).

DrQ (Kostrikov et al. 2020, arXiv:2004.13649) is there DQN whose frames are shifted at random and
made brighter or darker, with double Q-learning and dueling heads (Wang et al. 2016,
arXiv:1511.06581), and n-step returns. A teacher's values are of the frames as they are.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from learners import distillation, value_based
from learners.checks import shaped
from learners.dqn import td_error
from learners.image_networks import styled
from learners.losses import huber
from learners.ranges import Count, NotNegative, Positive, Steps
from learners.types import DiscreteSpec, Learner, Params


@dataclasses.dataclass(frozen=True)
class Config(distillation.Config):
    """Defaults are those of the authors' distillation_drq.gin, where returns have 10 steps.

    Attributes:
      temperature: of both policies.
      max_shift: in pixels, down or up and left or right.
      intensity: the standard deviation of the factor of a stack's brightness.
    """

    target_period: Count = 1
    temperature: Positive = 0.1
    max_shift: Steps = 4
    intensity: NotNegative = 0.05


@shaped(frames="B H W C")
def augmented(key: jax.Array, frames: jax.Array, max_shift: int, intensity: float) -> jax.Array:
    """Each stack of frames shifted, and times a factor, as in Dopamine's atari_100k: float32.

    The shifts are uniform, and pixels at an edge are repeated beyond it. The factor is 1 plus
    `intensity` times a normal number, which is clipped to two standard deviations (Schwarzer et al.
    2021, arXiv:2007.05929). Dopamine's shifts leave out the last of the range.

    Args:
      key: of the step.
      frames: [B, H, W, C] uint8.
      max_shift: in pixels.
      intensity: see above.
    """
    shift_key, factor_key = jax.random.split(key)
    number, *stack = frames.shape
    edges = ((0, 0), (max_shift, max_shift), (max_shift, max_shift), (0, 0))
    starts = jax.random.randint(shift_key, (number, 2), 0, 2 * max_shift + 1)

    def cropped(padded: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(padded, (start[0], start[1], 0), stack)

    shifted = jax.vmap(cropped)(jnp.pad(frames, edges, mode="edge"), starts)
    noise = jnp.clip(jax.random.normal(factor_key, (number, 1, 1, 1)), -2, 2)
    return shifted * (1 + intensity * noise)


@shaped(outputs="B A")
def dueling(outputs: jax.Array) -> jax.Array:
    """Values of actions from the state's value and advantages less their mean (Wang et al. 2016).

    Args:
      outputs: [B, 1 + A], the value first.
    """
    value, advantages = outputs[:, :1], outputs[:, 1:]
    return value + advantages - jnp.mean(advantages, axis=1, keepdims=True)


def make(config: Config, spec: DiscreteSpec) -> Learner:
    """The learner of `config` for a game of `spec`; its policy is greedy.

    An update raises a ValueError if batches lack the extra `teacher_values`, unless the coefficient
    is 0.
    """
    network = styled(config.network, 1 + spec.num_actions)

    def values(params: Params, observation: jax.Array) -> jax.Array:
        return dueling(network.apply(params, observation))

    def teacher_loss(q_tm1: jax.Array, teacher_q: jax.Array) -> jax.Array:
        return distillation.divergence(q_tm1, teacher_q, config.temperature)

    def loss(sample: value_based.Sample) -> jax.Array:
        q_tm1, q_t = sample.outputs_tm1, sample.outputs_t
        error = td_error(q_tm1, sample.a_tm1, sample.r_t, sample.discount_t, q_t, sample.online_t)
        return huber(error) + distillation.taught(config, sample, q_tm1, teacher_loss)

    algorithm = value_based.Algorithm(
        network=network._replace(apply=values),
        optimizer=distillation.adam(config),
        loss=loss,
        values=lambda q: q,
        augment=lambda key, frames: augmented(key, frames, config.max_shift, config.intensity),
    )
    return value_based.make(config, spec, algorithm)
