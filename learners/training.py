"""What every training loop here has in common: K steps in one call, and many seeds at once."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from learners.types import Learner, Metrics, TrainingState, Transition

Step = Callable[[TrainingState, Transition], tuple[TrainingState, Metrics]]


def scan(step: Step) -> Step:
    """Turns one step into an update over batches [K, B, ...], metrics averaged over the K."""

    def update(state: TrainingState, batches: Transition) -> tuple[TrainingState, Metrics]:
        state, metrics = jax.lax.scan(step, state, batches)
        return state, jax.tree.map(jnp.mean, metrics)

    return jax.jit(update, donate_argnums=0)


def over_seeds(learner: Learner) -> Learner:
    """The same learner with a leading axis [S] of seeds on every argument and result.

    `init` takes keys [S, 2], `update` batches [S, K, B, ...], `act` observations [S, B, obs].
    """
    return Learner(
        init=jax.jit(jax.vmap(learner.init)),
        update=jax.jit(jax.vmap(learner.update), donate_argnums=0),
        act=jax.jit(jax.vmap(learner.act)),
        sample=None if learner.sample is None else jax.jit(jax.vmap(learner.sample)),
    )
