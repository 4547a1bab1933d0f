"""What all learners share: K steps in one call, many seeds at once, and parts of a step."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from learners.checks import check_batches, check_observation
from learners.types import (
    DiscreteSpec,
    Learner,
    Metrics,
    Params,
    Policy,
    Spec,
    TrainingState,
    Transition,
)

Step = Callable[[TrainingState, Transition], tuple[TrainingState, Metrics]]


def make_learner(
    spec: Spec | DiscreteSpec,
    init: Callable[[jax.Array], TrainingState],
    update: Step,
    policies: Mapping[str, Policy],
    sample: Callable[[TrainingState, jax.Array, jax.Array], jax.Array] | None = None,
    values: Policy | None = None,
) -> Learner:
    """A learner from functions that are not jitted yet; its policies check their observations.

    Args:
      spec: of the task.
      init: key -> state.
      update: what `scan` or `steps_with_convolutions` returns.
      policies: see `Learner`.
      sample: see `Learner`.
      values: see `Learner`.
    """

    def acting(act: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        def checked(*arguments: Any) -> jax.Array:
            check_observation(arguments[-1], spec)
            return act(*arguments)

        return jax.jit(checked)

    return Learner(
        init=jax.jit(init),
        update=update,
        policies={name: acting(policy) for name, policy in policies.items()},
        sample=None if sample is None else acting(sample),
        values=None if values is None else acting(values),
    )


def scan(step: Step, spec: Spec | DiscreteSpec) -> Step:
    """Turns one step into an update over batches [K, B, ...], which it checks against the spec."""

    def update(state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
        check_batches(batches, spec)
        return steps(step, state, batches)

    return jit_update(update)


def steps(step: Step, state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
    """Takes one step for each entry of the batches' first axis, and averages metrics over them."""
    state, metrics = jax.lax.scan(step, state, batches)
    return state, jax.tree.map(_mean_of_steps, metrics)


def steps_with_convolutions(step: Step, spec: DiscreteSpec) -> Step:
    """As `scan`, for networks with convolutions.

    XLA's CPU backend takes ten times as long for a convolution within a loop, so on a CPU each step
    is a call of its own. Under JAX 0.4, the older of its two runtimes has convolutions and products
    of oneDNN. A step takes a seventh to a quarter less on an Intel Xeon with AVX-512, but up to a
    quarter more on an AMD EPYC without it.
    """
    if jax.default_backend() != "cpu":
        return scan(step, spec)
    one_step = _on_older_runtime(jax.jit(step, donate_argnums=0))

    def update(state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
        check_batches(batches, spec)
        history = []
        for k in range(batches.action.shape[0]):
            state, metrics = one_step(state, jax.tree.map(lambda x, k=k: x[k], batches))
            history.append(metrics)
        return state, jax.tree.map(lambda *values: _mean_of_steps(jnp.stack(values)), *history)

    return update


def _mean_of_steps(values: jax.Array) -> jax.Array:
    """Of a metric [K, ...]: [...]."""
    return jnp.mean(values, axis=0)


def descend(
    optimizer: optax.GradientTransformation,
    gradients: Params,
    state: optax.OptState,
    params: Params,
) -> tuple[Params, optax.OptState]:
    """The params after one step of the optimiser, and its state."""
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(params, updates), state


def copy_every(period: int, steps: jax.Array, params: Params, target_params: Params) -> Params:
    """The params where the number of steps is a multiple of the period, else the targets."""
    return jax.lax.cond(steps % period == 0, lambda: params, lambda: target_params)


def sum_in_pieces(function: Callable[..., Any], size: int, *samples: jax.Array) -> Any:
    """The sum of what `function` gives for pieces of the samples, one piece after another.

    On a CPU, the activations of a piece can stay in the caches; elsewhere there is one piece.

    Args:
      function: pieces of the samples, [P, ...] each -> a pytree of sums over them.
      size: samples in a piece; if it does not divide B, the greatest common divisor of the two.
      samples: arrays [B, ...].
    """
    number = samples[0].shape[0]
    size = math.gcd(number, size) if jax.default_backend() == "cpu" else number
    pieces = [x.reshape(number // size, size, *x.shape[1:]) for x in samples]
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *(x[0] for x in pieces))
    )

    def add(total: Any, piece: list[jax.Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(*piece)), None

    return jax.lax.scan(add, zeros, pieces)[0]


def over_seeds(learner: Learner) -> Learner:
    """The same learner with a leading axis [S] of seeds on every argument and result.

    `init` takes keys [S, 2], `update` batches [S, K, B, ...], a policy observations [S, B, obs].
    """
    return Learner(
        init=jax.jit(jax.vmap(learner.init)),
        update=jit_update(jax.vmap(learner.update)),
        policies={name: jax.jit(jax.vmap(each)) for name, each in learner.policies.items()},
        sample=None if learner.sample is None else jax.jit(jax.vmap(learner.sample)),
        values=None if learner.values is None else jax.jit(jax.vmap(learner.values)),
    )


def on_normalized_observations(learner: Learner, spec: Spec, epsilon: float = 1e-3) -> Learner:
    """The same learner, which is given (observation - mean) / (deviation + epsilon) instead.

    TD3+BC proposes this (Fujimoto & Gu 2021, eq. 6), and CORL does it for other algorithms too. The
    learner's policies still take observations as the environment gives them.

    Args:
      learner: of continuous control.
      spec: with the mean and the standard deviation of the data's observations.
      epsilon: by default that of TD3+BC and CORL.
    """

    def normalize(observation: jax.Array) -> jax.Array:
        return (observation - spec.observation_mean) / (spec.observation_std + epsilon)

    @jit_update
    def update(state: TrainingState, batches: Any) -> tuple[TrainingState, Metrics]:
        check_batches(batches, spec)
        observations = {
            name: normalize(getattr(batches, name)) for name in ("observation", "next_observation")
        }
        return learner.update(state, batches._replace(**observations))

    def acting(act: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        return lambda *arguments: act(*arguments[:-1], normalize(arguments[-1]))

    return make_learner(
        spec,
        learner.init,
        update,
        {name: acting(policy) for name, policy in learner.policies.items()},
        None if learner.sample is None else acting(learner.sample),
    )


def jit_update(update: Step) -> Step:
    """`jax.jit` that donates the state, and that is fast on a single CPU core under JAX 0.4.

    There the newer and default one of XLA's two runtimes does not vectorise an element-wise loop
    whose result overwrites its operand. Most loops of an optimiser are of that kind, so a step
    takes a fifth longer. On two cores the newer runtime is still faster, because it runs
    independent products in parallel.
    """

    jitted = jax.jit(update, donate_argnums=0)
    if jax.default_backend() != "cpu" or num_cores() > 1:
        return jitted
    return _on_older_runtime(jitted)


def _on_older_runtime(jitted: Any) -> Step:
    """A jitted update for a CPU, with the older one of XLA's two runtimes where JAX has both.

    That can be chosen for a single function only if it is compiled ahead of its call.
    """
    if jax.__version_info__ >= (0, 5):
        return jitted
    executables: dict[Any, Step] = {}

    def call(state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
        leaves, structure = jax.tree.flatten((state, batches))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return jitted(state, batches)
        key = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves))
        if key not in executables:
            options: dict[str, str | bool] = {"xla_cpu_use_thunk_runtime": False}
            executables[key] = jitted.lower(state, batches).compile(compiler_options=options)
        return executables[key](state, batches)

    return call


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
