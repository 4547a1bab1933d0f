"""Networks and the tanh-Gaussian policy that several algorithms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from learners.types import Params, Spec, TrainingState

LOG_STD_MIN = -5.0  # BRAC, networks.py
LOG_STD_MAX = 0.0

Initializer = Callable[..., jax.Array]
Initializers = Callable[[int], tuple[Initializer, Initializer]]  # fan-in -> of weights, of biases


def keras_initializers(fan_in: int) -> tuple[Initializer, Initializer]:
    """Of weights and biases, as in Keras' Dense: Glorot's uniform, and zeros."""
    del fan_in
    return hk.initializers.VarianceScaling(1.0, "fan_avg", "uniform"), jnp.zeros


def torch_initializers(fan_in: int) -> tuple[Initializer, Initializer]:
    """Of weights and biases, as in PyTorch's Linear: both uniform within fan_in^-1/2."""
    uniform = hk.initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5)
    return uniform, uniform


def fan_in_initializers(fan_in: int) -> tuple[Initializer, Initializer]:
    """Of weights and biases, as in Dopamine's quantile agents: variance 3^-1/2 / fan_in, and 0."""
    bound = (3.0**0.5 / fan_in) ** 0.5
    return hk.initializers.RandomUniform(-bound, bound), jnp.zeros


def lecun_initializers(fan_in: int) -> tuple[Initializer, Initializer]:
    """Of weights and biases, as in Flax's layers: truncated normal, variance 1 / fan_in, and 0."""
    # A normal distribution that is cut off at two deviations has 0.8796 of its deviation left.
    return hk.initializers.TruncatedNormal(fan_in**-0.5 / 0.87962566103423978), jnp.zeros


def orthogonal_initializers(fan_in: int) -> tuple[Initializer, Initializer]:
    """Of weights and biases, as in IQL: orthogonal times 2^1/2, and zeros."""
    del fan_in
    return hk.initializers.Orthogonal(2.0**0.5), jnp.zeros


def biased_initializers(fan_in: int) -> tuple[Initializer, Initializer]:
    """Of weights and biases, as in rlkit's hidden layers: within fan_in^-1/2, and 0.1."""
    bound = fan_in**-0.5
    return hk.initializers.RandomUniform(-bound, bound), hk.initializers.Constant(0.1)


def small_initializers(bound: float) -> Initializers:
    """Of weights and biases, as in rlkit's last layers: both uniform within a small bound."""
    uniform = hk.initializers.RandomUniform(-bound, bound)
    return lambda fan_in: (uniform, uniform)


class Network(NamedTuple):
    """init(key, *inputs) -> params, and apply(params, *inputs) -> outputs."""

    init: Callable[..., Params]
    apply: Callable[..., Any]  # of several heads, a dict of outputs by their names


def mlp(
    sizes: Sequence[int],
    initializers: Initializers = keras_initializers,
    head_initializers: Initializers | None = None,
    layer_norm: bool = False,
    bottleneck: int | None = None,
) -> Network:
    """ReLU network with a linear last layer, over the concatenated inputs.

    The last layer is initialised like the others unless it has initializers of its own. Layer
    normalisation (Ba et al. 2016, with Flax's epsilon) comes after each ReLU, as in ReBRAC. A
    bottleneck is one more linear layer of that size before the last, with no activation between.
    """

    def forward(*inputs: jax.Array) -> jax.Array:
        x = jnp.concatenate(inputs, axis=-1)
        for index, size in enumerate(sizes[:-1]):
            w_init, b_init = initializers(x.shape[-1])
            x = jax.nn.relu(
                hk.Linear(size, w_init=w_init, b_init=b_init, name=f"hidden_{index}")(x)
            )
            if layer_norm:
                x = hk.LayerNorm(-1, True, True, eps=1e-6, name=f"norm_{index}")(x)
        if bottleneck:
            x = Head(bottleneck, *initializers(x.shape[-1]), name="bottleneck")(x)
        w_init, b_init = (head_initializers or initializers)(x.shape[-1])
        return Head(sizes[-1], w_init, b_init, name="head")(x)

    return Network(*hk.without_apply_rng(hk.transform(forward)))


class Head(hk.Module):
    """A linear layer to a few outputs, whose weights are [outputs, inputs].

    `hk.Linear` keeps them as [inputs, outputs]; for a narrow layer, XLA's CPU backend then takes
    ten times as long for the gradient of the weights.
    """

    def __init__(self, size: int, w_init: Initializer, b_init: Initializer, name: str):
        super().__init__(name=name)
        self.size, self.w_init, self.b_init = size, w_init, b_init

    def __call__(self, x: jax.Array) -> jax.Array:
        w = hk.get_parameter("w", [self.size, x.shape[-1]], x.dtype, init=self.w_init)
        b = hk.get_parameter("b", [self.size], x.dtype, init=self.b_init)
        return x @ w.T + b


class TanhGaussian(NamedTuple):
    """The distribution of centre + magnitude * tanh(u), u ~ N(mean, exp(log_std)^2), [..., A]."""

    mean: jax.Array
    log_std: jax.Array
    centre: jax.Array
    magnitude: jax.Array

    @classmethod
    def from_head(cls, head: jax.Array, spec: Spec) -> TanhGaussian:
        """Splits a network's output [..., 2 A]; log_std is squashed into [-5, 0] (BRAC)."""
        mean, raw = jnp.split(head, 2, axis=-1)
        log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (jnp.tanh(raw) + 1.0)
        centre, magnitude = jnp.asarray(spec.action_centre), jnp.asarray(spec.action_magnitude)
        return cls(mean, log_std, centre, magnitude)

    def mode(self) -> jax.Array:
        """The action at u's mean [..., A], which BRAC evaluates."""
        return self.centre + self.magnitude * jnp.tanh(self.mean)

    def draw(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A random action [..., A] and its log density [...]."""
        return self.sample(jax.random.normal(key, self.mean.shape))

    def sample(self, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Action [..., A] and its log density [...] from standard normal noise [..., A].

        It is differentiable in the distribution. The density is computed from u itself, so that a
        saturated tanh costs no digits: log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + exp(-2 |u|))).
        """
        u = self.mean + jnp.exp(self.log_std) * noise
        magnitude_of_u = jnp.abs(u)
        log_slope = 2.0 * (
            jnp.log(2.0) - magnitude_of_u - jnp.log(1.0 + jnp.exp(-2.0 * magnitude_of_u))
        )
        return self.centre + self.magnitude * jnp.tanh(u), self._log_density(noise, log_slope)

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Log density [...] of an action [..., A] strictly within the bounds."""
        squashed = (action - self.centre) / self.magnitude
        log_above, log_below = jnp.log(1.0 - squashed), jnp.log(1.0 + squashed)
        u = 0.5 * (log_below - log_above)  # arctanh
        standard = (u - self.mean) * jnp.exp(-self.log_std)
        return self._log_density(standard, log_slope=log_above + log_below)

    def _log_density(self, standard: jax.Array, log_slope: jax.Array) -> jax.Array:
        """Of the action whose u is `standard` deviations from the mean; tanh'(u) = e^log_slope."""
        normal = -0.5 * (jnp.square(standard) + jnp.log(2.0 * jnp.pi)) - self.log_std
        return jnp.sum(normal - log_slope - jnp.log(self.magnitude), axis=-1)


def mode_and_sample(
    policy: Callable[[Params, jax.Array], TanhGaussian],
) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    """(state, observation) -> action, and (state, key, observation) -> action, of such a policy.

    Args:
      policy: (params, observation) -> distribution; of a state's params it takes `policy`.
    """

    def act(state: TrainingState, observation: jax.Array) -> jax.Array:
        return policy(state.params.policy, observation).mode()

    def sample(state: TrainingState, key: jax.Array, observation: jax.Array) -> jax.Array:
        return policy(state.params.policy, observation).draw(key)[0]

    return act, sample


def twin(network: Network) -> Network:
    """Two independent copies of a scalar network: params and outputs [2, ...] gain a leading axis.

    Stacked, so that each layer of both is one batched matrix product.
    """

    def init(key: jax.Array, *inputs: jax.Array) -> Params:
        return jax.vmap(lambda k: network.init(k, *inputs))(jax.random.split(key))

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        twice = [jnp.broadcast_to(x, (2, *x.shape)) for x in inputs]
        return jax.vmap(network.apply)(params, *twice)[..., 0]

    return Network(init, apply)


def side_by_side(networks: Sequence[Network]) -> Network:
    """Networks that share nothing: params are a list, and outputs [..., K] gain a last axis.

    `twin` stacks weights instead, which suits matrix products; convolutions stay apart here.
    """

    def init(key: jax.Array, *inputs: jax.Array) -> Params:
        keys = jax.random.split(key, len(networks))
        return [network.init(k, *inputs) for network, k in zip(networks, keys, strict=True)]

    def apply(params: Params, *inputs: jax.Array) -> jax.Array:
        outputs = [network.apply(p, *inputs) for network, p in zip(networks, params, strict=True)]
        return jnp.stack(outputs, axis=-1)

    return Network(init, apply)


def named(networks: Mapping[str, Network]) -> Network:
    """Networks that share nothing: params and outputs are mappings of the same names."""

    def init(key: jax.Array, *inputs: jax.Array) -> Params:
        keys = jax.random.split(key, len(networks))
        return {
            n: network.init(k, *inputs)
            for (n, network), k in zip(networks.items(), keys, strict=True)
        }

    def apply(params: Params, *inputs: jax.Array) -> dict[str, jax.Array]:
        return {n: network.apply(params[n], *inputs) for n, network in networks.items()}

    return Network(init, apply)


def ensemble(q: jax.Array, weight: float) -> jax.Array:
    """weight min_k q[k] + (1 - weight) max_k q[k], as BCQ values an action (algorithm 1)."""
    return weight * jnp.min(q, axis=0) + (1.0 - weight) * jnp.max(q, axis=0)
