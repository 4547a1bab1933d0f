"""BRAC with an estimated behaviour policy (Wu, Tucker & Nachum 2019, arXiv:1911.11361).

The divergence, kl or mmd, is estimated from samples of the policy and of a behaviour policy, which
is cloned from the same data beforehand and stays fixed. To clone it and pass it on:

    cloning = brac_bc.make(brac_bc.Config(hidden_sizes=config.policy_sizes), spec)
    ...  # until `cloned` is its state
    learner = brac_primal.make(config, spec)
    state = brac_primal.with_behavior(learner.init(key), cloned.params.policy)

`brac.py` has the rest of the algorithm, and says how it differs from the authors' code.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from learners import brac
from learners.checks import shaped
from learners.ranges import Count, Positive
from learners.types import Learner, Metrics, Params, Spec, TrainingState, Transition


@dataclasses.dataclass(frozen=True)
class Config(brac.Config):
    """Defaults are those of BRAC's code and its run_primal.sh."""

    divergence: str = "kl"  # run_primal.sh; or mmd
    divergence_samples: Count = 4  # of either policy; brac_primal_agent.py, n_div_samples
    kernel_width: Positive = 20.0  # mmd's sigma; divergences.py

    def __post_init__(self) -> None:
        if self.divergence not in ("kl", "mmd"):
            raise ValueError(f"divergence must be kl or mmd, got {self.divergence!r}")


@shaped(log_pi="N ...", log_behavior="N ...")
def kl_divergence(log_pi: jax.Array, log_behavior: jax.Array) -> jax.Array:
    """Mean over samples [N, ...] of the policy of log pi(a|s) - log b(a|s) (section 4.2.1)."""
    return jnp.mean(log_pi - log_behavior, axis=0)


def laplacian_kernel(x: jax.Array, y: jax.Array, width: float) -> jax.Array:
    """exp(-|x_i - y_j|_1 / width) of all pairs: [N, ..., A], [M, ..., A] -> [N, M, ...]."""
    return jnp.exp(-jnp.sum(jnp.abs(x[:, None] - y), axis=-1) / width)


@shaped(x="N ... A", y="M ... A")
def squared_mmd(x: jax.Array, y: jax.Array, width: float) -> jax.Array:
    """Squared maximum mean discrepancy [...] of samples [N, ..., A] and [M, ..., A].

    Mean k(x, x') + mean k(y, y') - 2 mean k(x, y), each over all pairs, a sample with itself among
    them (Gretton et al. 2012, eq. 5; BRAC, section 4.2.2).
    """

    def mean_kernel(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean(laplacian_kernel(x, y, width), axis=(0, 1))

    return mean_kernel(x, x) + mean_kernel(y, y) - 2.0 * mean_kernel(x, y)


def with_behavior(state: TrainingState, behavior: Params) -> TrainingState:
    """The state with the params of a behaviour policy, whose network is like the policy's.

    Raises:
      ValueError: the params belong to another network.
    """
    behavior = jax.tree.map(jnp.array, behavior)  # a copy, because an update donates the state
    shapes, expected = jax.tree.map(jnp.shape, (behavior, state.params.policy))
    if shapes != expected:
        raise ValueError(f"a behaviour policy has params of shapes {expected}, got {shapes}")
    return state._replace(params=state.params._replace(divergence=behavior))


def make(config: Config, spec: Spec) -> Learner:
    """The learner of `config` for a task of `spec`.

    The state that `init` gives has no behaviour policy: see `with_behavior`. An update without one
    raises a ValueError.
    """

    def divergence(behavior_params: Params, key: jax.Array, samples: brac.Samples) -> jax.Array:
        if not behavior_params:
            raise ValueError(
                "the state has no behaviour policy: hand one over with brac_primal.with_behavior"
            )
        behavior = core.policy(behavior_params, samples.observation)
        shape = (config.divergence_samples, *samples.action.shape)
        policy_key, behavior_key = jax.random.split(key)
        actions, log_pi = samples.policy.sample(jax.random.normal(policy_key, shape))
        if config.divergence == "kl":
            return kl_divergence(log_pi, behavior.log_prob(brac.within_bounds(actions, spec)))
        behavior_actions, _ = behavior.sample(jax.random.normal(behavior_key, shape))
        return squared_mmd(actions, behavior_actions, config.kernel_width)

    core = brac.actor_critic(config, spec, divergence)

    def init(key: jax.Array) -> TrainingState:
        return core.init(key, (), ())

    def step(state: TrainingState, batch: Transition) -> tuple[TrainingState, Metrics]:
        return core.step(state, batch, jax.random.fold_in(state.key, state.steps))

    return core.learner(init, step)
