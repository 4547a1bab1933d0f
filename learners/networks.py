"""Networks and the tanh-Gaussian policy that several algorithms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from learners.types import Params, Spec

LOG_STD_MIN = -5.0  # BRAC, networks.py
LOG_STD_MAX = 0.0

# The default of Keras' Dense, with zero biases.
GLOROT_UNIFORM = hk.initializers.VarianceScaling(1.0, "fan_avg", "uniform")


class Network(NamedTuple):
    """init(key, *inputs) -> params, and apply(params, *inputs) -> outputs."""

    init: Callable[..., Params]
    apply: Callable[..., jax.Array]


def mlp(sizes: Sequence[int], w_init: hk.initializers.Initializer = GLOROT_UNIFORM) -> Network:
    """ReLU network with zero biases and a linear last layer, over the concatenated inputs."""

    def forward(*inputs: jax.Array) -> jax.Array:
        return hk.nets.MLP(sizes, w_init=w_init)(jnp.concatenate(inputs, axis=-1))

    return Network(*hk.without_apply_rng(hk.transform(forward)))


class TanhGaussian(NamedTuple):
    """The distribution of centre + magnitude * tanh(u), u ~ N(mean, exp(log_std)^2), [..., A]."""

    mean: jax.Array
    log_std: jax.Array
    centre: jax.Array | np.ndarray
    magnitude: jax.Array | np.ndarray

    @classmethod
    def from_head(cls, head: jax.Array, spec: Spec) -> TanhGaussian:
        """Splits a network's output [..., 2 A]; log_std is squashed into [-5, 0] (BRAC)."""
        mean, raw = jnp.split(head, 2, axis=-1)
        log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (jnp.tanh(raw) + 1.0)
        return cls(mean, log_std, spec.action_centre, spec.action_magnitude)

    def mode(self) -> jax.Array:
        """What BRAC evaluates: the image of u's mean, [..., A]."""
        return self.centre + self.magnitude * jnp.tanh(self.mean)

    def sample(self, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Action [..., A] and its log density [...] from standard normal noise [..., A].

        Differentiable in the distribution. The density comes from u itself, so that a saturated
        tanh costs no digits: log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)).
        """
        u = self.mean + jnp.exp(self.log_std) * noise
        log_slope = 2.0 * (jnp.log(2.0) - u - jax.nn.softplus(-2.0 * u)) + jnp.log(self.magnitude)
        log_density = self._normal_log_density(noise) - log_slope
        return self.centre + self.magnitude * jnp.tanh(u), jnp.sum(log_density, axis=-1)

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Log density [...] of an action [..., A] strictly within the bounds."""
        squashed = (action - self.centre) / self.magnitude
        standard = (jnp.arctanh(squashed) - self.mean) * jnp.exp(-self.log_std)
        log_slope = jnp.log1p(-jnp.square(squashed)) + jnp.log(self.magnitude)
        return jnp.sum(self._normal_log_density(standard) - log_slope, axis=-1)

    def _normal_log_density(self, standard: jax.Array) -> jax.Array:
        return -0.5 * (jnp.square(standard) + jnp.log(2.0 * jnp.pi)) - self.log_std


def twin(network: Network) -> Network:
    """Two independent copies of a scalar network: params and outputs [2, ...] gain a leading axis.

    Stacked, so that each layer of both is one batched matrix product.
    """

    def init(key: jax.Array, *inputs: jax.Array) -> Params:
        return jax.vmap(lambda k: network.init(k, *inputs))(jax.random.split(key))

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        return jax.vmap(lambda p: network.apply(p, *inputs)[..., 0])(params)

    return Network(init, apply)
