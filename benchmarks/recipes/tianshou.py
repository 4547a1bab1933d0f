"""What Tianshou's offline examples do otherwise than the papers, as learners of their own.

Each is the paper's learner with a `Config` that has the example's choices and defects besides, all
off by default; the files of the examples are `examples/offline/d4rl_*.py` and `atari_*.py` of
Tianshou 2.0.1, unless a docstring names another version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import optax

from learners import bc, bcq, cql, crr, discrete_bcq, registry, td3_bc, value_based
from learners.networks import Network, mlp, torch_initializers
from learners.ranges import Count, Positive
from learners.types import Params, Spec


@dataclasses.dataclass(frozen=True)
class BC(bc.Config):
    """d4rl_il.py.

    Attributes:
      bottleneck: a linear layer as wide as the action before the last.
    """

    bottleneck: bool = False

    def network(self, spec: Spec) -> Network:
        return _torch_mlp((*self.hidden_sizes, spec.action_size), spec, self.bottleneck)


@dataclasses.dataclass(frozen=True)
class BCQ(bcq.Config):
    """d4rl_bcq.py.

    Attributes:
      perturb_target: whether the actions compared at the next state are perturbed.
      perturb_alike: all actions of a call are perturbed as the first is.
    """

    perturb_target: bool = True
    perturb_alike: bool = False

    def perturbs_target(self) -> bool:
        return self.perturb_target

    def change(self, outputs: jax.Array) -> jax.Array:
        change = super().change(outputs)
        return change[0] if self.perturb_alike else change


@dataclasses.dataclass(frozen=True)
class CQL(cql.Config):
    """d4rl_cql.py.

    Attributes:
      gradient_bound: on the norm of each critic's gradient.
      torch_weights: whether networks begin as PyTorch's layers do.
      bottleneck: a linear layer as wide as the action before the policy's last; where
        `torch_weights` are.
      num_estimates: of the log-sum-exp, each of num_actions, whose mean is taken.
    """

    gradient_bound: Positive | None = None
    torch_weights: bool = False
    bottleneck: bool = False
    num_estimates: Count = 1

    def networks(self, spec: Spec) -> tuple[Network, Network]:
        if not self.torch_weights:
            return super().networks(spec)
        policy = (*self.hidden_sizes, 2 * spec.action_size)
        critic = (*self.hidden_sizes, 1)
        return _torch_mlp(policy, spec, self.bottleneck), _torch_mlp(critic, spec, False)

    def bounded(self, gradients: Params) -> Params:
        return gradients if self.gradient_bound is None else bounded(gradients, self.gradient_bound)

    def num_draws(self) -> int:
        return self.num_estimates * self.num_actions

    def join(self, sources: Sequence[jax.Array]) -> jax.Array:
        """Estimate by estimate, and within one source by source."""
        batch_size, _, *rest = sources[0].shape
        of_estimates = [x.reshape(batch_size, self.num_estimates, -1, *rest) for x in sources]
        return jnp.concatenate(of_estimates, axis=2).reshape(batch_size, -1, *rest)

    def gap(self, q_tm1: jax.Array, q_samples: jax.Array, log_density: jax.Array) -> jax.Array:
        estimates = (-1, self.num_estimates, 3 * self.num_actions)
        q_tm1 = jnp.broadcast_to(q_tm1[..., None], (*q_tm1.shape, self.num_estimates))
        of_each = super().gap(
            q_tm1, q_samples.reshape(2, *estimates), log_density.reshape(estimates)
        )
        return jnp.mean(of_each, axis=-1)


@dataclasses.dataclass(frozen=True)
class TD3BC(td3_bc.Config):
    """d4rl_td3_bc.py.

    Attributes:
      act_observation_bound: clips observations, normalised, where the policy acts.
      clip_target: whether the target policy's smoothed actions are clipped to their bounds.
    """

    act_observation_bound: Positive | None = None
    clip_target: bool = True

    def act_on(self, observation: jax.Array) -> jax.Array:
        bound = self.act_observation_bound
        return observation if bound is None else jnp.clip(observation, -bound, bound)

    def clip_smoothed(self, action: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return super().clip_smoothed(action, low, high) if self.clip_target else action


@dataclasses.dataclass(frozen=True)
class DiscreteBCQ(discrete_bcq.Config):
    """atari_bcq.py, of versions 0.3.1 to 0.5.1.

    Attributes:
      masks_by_nan: the mask makes the value of every allowed action NaN, so that the first of them
        is chosen, whatever the values are.
    """

    masks_by_nan: bool = False

    def choose(self, q: jax.Array, is_allowed: jax.Array) -> jax.Array:
        if self.masks_by_nan:
            return jnp.argmax(is_allowed, axis=-1)
        return super().choose(q, is_allowed)


@dataclasses.dataclass(frozen=True)
class CRR(crr.Config):
    """atari_crr.py.

    Attributes:
      averages_weights: every action of a batch counts as the mean of their weights, for [B] times
        [B, 1] is [B, B]: advantages have no part in which actions are cloned.
      weight_has_gradient: the policy's loss also moves the weight.
    """

    averages_weights: bool = False
    weight_has_gradient: bool = False

    def weight(self, advantage: jax.Array) -> jax.Array:
        weight = super().weight(advantage)
        if self.weight_has_gradient and not self.is_binary:
            weight = jnp.minimum(jnp.exp(advantage / self.beta), self.max_weight)
        return jax.lax.pmean(weight, value_based.BATCH) if self.averages_weights else weight


def bounded(gradients: Params, bound: float) -> Params:
    """Each critic's gradient, scaled down to a norm over all its layers of at most `bound`."""
    clip = optax.clip_by_global_norm(bound)
    return jax.vmap(lambda of_one: clip.update(of_one, clip.init(of_one))[0])(gradients)


def _torch_mlp(sizes: Sequence[int], spec: Spec, bottleneck: bool) -> Network:
    return mlp(sizes, torch_initializers, bottleneck=spec.action_size if bottleneck else None)


LEARNERS: Mapping[str, registry.Entry] = {
    f"{name}_tianshou": dataclasses.replace(registry.LEARNERS[name], config=config)
    for name, config in {
        "bc": BC,
        "bcq": BCQ,
        "cql": CQL,
        "crr": CRR,
        "discrete_bcq": DiscreteBCQ,
        "td3_bc": TD3BC,
    }.items()
}
