"""Policies that act by the best of several sampled actions: BCQ's, and BRAC's max_q."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def noise(key: jax.Array, observation: jax.Array, number: int, size: int) -> jax.Array:
    """Standard normal noise [number, B, size], for candidates at observations [B, obs].

    Each row follows from the key and the bits of its own observation. So it is new at every step of
    an episode, and yet a policy that draws its candidates from it depends on the observation alone,
    not on the rest of the batch.
    """
    bits = jax.lax.bitcast_convert_type(observation.astype(jnp.float32), jnp.uint32)
    # The weights are odd, so that no bit is lost, and differ, so that the order matters.
    weights = 2 * jnp.arange(bits.shape[-1], dtype=jnp.uint32) + 1
    numbers = jnp.sum(bits * weights, axis=-1, dtype=jnp.uint32)

    def of_row(row: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, row), (number, size))

    return jnp.swapaxes(jax.vmap(of_row)(numbers), 0, 1)


def best(actions: jax.Array, values: jax.Array) -> jax.Array:
    """The action [B, A] with the highest value, from actions [N, B, A] and values [N, B]."""
    index = jnp.argmax(values, axis=0)
    return jnp.take_along_axis(actions, index[None, :, None], axis=0)[0]
