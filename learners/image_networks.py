"""Networks for images: a torso turns stacks of frames into features, and heads read these.

A torso is a function of frames [B, H, W, C] uint8 -> features [B, F]; `nature` and `impala` make
one. `with_head` and `with_heads` put one or more heads on a torso and give a `Network`:

    torso = nature("VALID", divisor=1.0, initializers=torch_initializers)
    network = with_heads(torso, {"q": (512, 6), "imitator": (512, 6)}, torch_initializers)
    network.apply(params, frames)["q"]  # [B, 6]

`nature_dqn` is the usual network of one head, whose output is the array itself. `STYLES` has the
settings of several projects by name, and `styled` and `styled_heads` make their networks.

Features are flattened in the order height, width, channel. PyTorch flattens channel, height, width:
to use its weights [F, outputs] here, reshape them to [C, H, W, outputs] and transpose to [H, W, C,
outputs]. A convolution's weights are [kernel, kernel, inputs, outputs].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from learners.networks import (
    Head,
    Initializer,
    Initializers,
    Network,
    fan_in_initializers,
    keras_initializers,
    lecun_initializers,
    named,
    torch_initializers,
)

Torso = Callable[[jax.Array], jax.Array]  # to be called within `hk.transform`
Padding = Literal["SAME", "VALID"]


def nature(
    padding: Padding = "SAME",
    divisor: float = 255.0,
    initializers: Initializers = keras_initializers,
    layer_norm: bool = False,
) -> Torso:
    """The three convolutions of Nature DQN (Mnih et al. 2015).

    Args:
      padding: SAME in TensorFlow and JAX; VALID in PyTorch, where 84 x 84 frames give 3136 features
        instead of 7744.
      divisor: of the pixels.
      initializers: of the convolutions.
      layer_norm: whether each convolution is normalised before its ReLU, as in iS-DQN (Vincent et
        al. 2025, arXiv:2506.04398).
    """

    def torso(frames: jax.Array) -> jax.Array:
        x, scale = frames, divisor
        for channels, kernel, stride in ((32, 8, 4), (64, 4, 2)):
            w_init, b_init = initializers(kernel * kernel * x.shape[-1])
            folded = FoldedConvolution(channels, kernel, stride, padding, scale, w_init, b_init)
            x, scale = folded(x), 1.0
            x = jax.nn.relu(_normalized(x) if layer_norm else x)
        x = _convolution(x, 64, 3, initializers, padding=padding)
        x = jax.nn.relu(_normalized(x) if layer_norm else x)
        return hk.Flatten()(x)

    return torso


def impala(
    channels: Sequence[int] = (16, 32, 32),
    num_blocks: int = 2,
    divisor: float = 255.0,
    initializers: Initializers = keras_initializers,
    block_initializers: Initializers = lecun_initializers,
    layer_norm: bool = False,
) -> Torso:
    """IMPALA's residual network (Espeholt et al. 2018, arXiv:1802.01561), as Dopamine has it.

    Args:
      channels: of each stack: a convolution, a pooling that halves height and width, and blocks.
      num_blocks: residual blocks of a stack, of two convolutions each.
      divisor: of the pixels.
      initializers: of the convolution that begins a stack.
      block_initializers: of the blocks; Dopamine and slimCQL leave them at Flax's.
      layer_norm: whether the input of each block and the output of the last stack are normalised,
        as in iS-DQN (Vincent et al. 2025, arXiv:2506.04398).
    """

    def torso(frames: jax.Array) -> jax.Array:
        x = frames.astype(jnp.float32) / divisor
        for size in channels:
            x = _convolution(x, size, 3, initializers)
            x = hk.max_pool(x, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
            for _ in range(num_blocks):
                block = jax.nn.relu(_normalized(x) if layer_norm else x)
                block = jax.nn.relu(_convolution(block, size, 3, block_initializers))
                x += _convolution(block, size, 3, block_initializers)
        return hk.Flatten()(jax.nn.relu(_normalized(x) if layer_norm else x))

    return torso


def with_head(
    torso: Torso,
    sizes: Sequence[int],
    initializers: Initializers = keras_initializers,
    head_initializers: Initializers | None = None,
    layer_norm: bool = False,
) -> Network:
    """A torso with one head: frames [B, H, W, C] uint8 -> [B, outputs].

    Args:
      torso: see `nature` and `impala`.
      sizes: of the head's layers, the last being its outputs; the others have ReLUs.
      initializers: of the head's layers.
      head_initializers: of its last layer, where these differ.
      layer_norm: whether layers are normalised before their ReLUs.
    """

    def forward(frames: jax.Array) -> jax.Array:
        last = head_initializers or initializers
        return _head(torso(frames), sizes, initializers, last, layer_norm)

    return Network(*hk.without_apply_rng(hk.transform(forward)))


def with_heads(
    torso: Torso,
    heads: Mapping[str, Sequence[int]],
    initializers: Initializers = keras_initializers,
    head_initializers: Initializers | None = None,
    layer_norm: bool = False,
) -> Network:
    """A torso that several heads share: frames [B, H, W, C] uint8 -> {name: [B, outputs]}.

    Args:
      torso: see `nature` and `impala`.
      heads: of each, the sizes of its layers; see `with_head` for these and the rest.
      initializers: likewise.
      head_initializers: likewise.
      layer_norm: likewise.
    """

    def forward(frames: jax.Array) -> dict[str, jax.Array]:
        features, last = torso(frames), head_initializers or initializers
        return {
            name: _head(features, sizes, initializers, last, layer_norm, f"{name}_")
            for name, sizes in heads.items()
        }

    return Network(*hk.without_apply_rng(hk.transform(forward)))


def nature_dqn(
    num_outputs: int,
    initializers: Initializers = keras_initializers,
    padding: Padding = "SAME",
    divisor: float = 255.0,
) -> Network:
    """Nature DQN's network, with a layer of 512: [B, H, W, C] uint8 -> [B, num_outputs]."""
    torso = nature(padding, divisor, initializers)
    return with_head(torso, (512, num_outputs), initializers)


class Style(NamedTuple):
    """How a project makes its networks for images; heads have a layer of 512."""

    torso: Torso
    initializers: Initializers


STYLES: Mapping[str, Style] = {
    "dopamine": Style(nature(), keras_initializers),  # batch_rl's and Dopamine's DQN
    # Their C51 and QR-DQN, and batch_rl's ensembles.
    "dopamine_quantiles": Style(nature(initializers=fan_in_initializers), fan_in_initializers),
    "impala": Style(impala(), keras_initializers),  # Dopamine's and slimCQL's
    "d3rlpy": Style(nature("VALID", initializers=torch_initializers), torch_initializers),
    # Tianshou's offline examples leave frames as they are.
    "tianshou": Style(nature("VALID", 1.0, torch_initializers), torch_initializers),
}


def check_style(name: str) -> None:
    """Refuses a name that is of no style.

    Raises:
      ValueError: it is none.
    """
    if name not in STYLES:
        raise ValueError(f"network must be one of {', '.join(STYLES)}, got {name!r}")


def styled(style: str, num_outputs: int) -> Network:
    """A style's network of one head: [B, H, W, C] uint8 -> [B, num_outputs]."""
    torso, initializers = STYLES[style]
    return with_head(torso, (512, num_outputs), initializers)


def styled_heads(style: str, heads: Mapping[str, int], shares_torso: bool) -> Network:
    """A style's network of several heads: [B, H, W, C] uint8 -> {name: [B, outputs]}.

    Args:
      style: of `STYLES`.
      heads: the number of outputs of each.
      shares_torso: all heads have one torso; else each has a network of its own.
    """
    torso, initializers = STYLES[style]
    if shares_torso:
        return with_heads(torso, {name: (512, size) for name, size in heads.items()}, initializers)
    return named({name: styled(style, size) for name, size in heads.items()})


def _head(
    x: jax.Array,
    sizes: Sequence[int],
    initializers: Initializers,
    head_initializers: Initializers,
    layer_norm: bool,
    prefix: str = "",
) -> jax.Array:
    for size in sizes[:-1]:
        w_init, b_init = initializers(x.shape[-1])
        x = hk.Linear(size, w_init=w_init, b_init=b_init, name=f"{prefix}linear")(x)
        x = jax.nn.relu(_normalized(x) if layer_norm else x)
    return Head(sizes[-1], *head_initializers(x.shape[-1]), name=f"{prefix}head")(x)


def _convolution(
    x: jax.Array,
    channels: int,
    kernel: int,
    initializers: Initializers,
    stride: int = 1,
    padding: Padding = "SAME",
) -> jax.Array:
    w_init, b_init = initializers(kernel * kernel * x.shape[-1])
    return hk.Conv2D(channels, kernel, stride, padding=padding, w_init=w_init, b_init=b_init)(x)


class FoldedConvolution(hk.Module):
    """The convolution of images / divisor, [B, H, W, C], by a kernel of whole strides.

    Images are folded into blocks of stride x stride pixels, which for frames happens while they are
    bytes, and so is the kernel. What is left is a convolution of a small kernel with stride 1 over
    many channels. XLA's CPU backend takes half as long for it with frames, and a third as long for
    the gradient of the second layer's input. It differs from the plain one by rounding alone.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        stride: int,
        padding: Padding,
        divisor: float,
        w_init: Initializer,
        b_init: Initializer,
        name: str = "conv2_d",
    ):
        super().__init__(name=name)
        self.channels, self.kernel, self.stride = channels, kernel, stride
        self.padding, self.divisor = padding, divisor
        self.w_init, self.b_init = w_init, b_init

    def __call__(self, images: jax.Array) -> jax.Array:
        size, stride, inputs = self.kernel, self.stride, images.shape[-1]
        w = hk.get_parameter("w", [size, size, inputs, self.channels], init=self.w_init)
        b = hk.get_parameter("b", [self.channels], init=self.b_init)
        sides = images.shape[1:3]
        margins = jax.lax.padtype_to_pads(sides, (size,) * 2, (stride,) * 2, self.padding)
        # As many rows and columns of blocks as the outputs see.
        rows, columns = (
            (before + side + after - size) // stride + size // stride
            for side, (before, after) in zip(sides, margins, strict=True)
        )
        (top, _), (left, _) = margins
        bottom, right = rows * stride - top - sides[0], columns * stride - left - sides[1]
        x = jax.lax.pad(
            images,
            np.zeros((), images.dtype),
            ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)),
        )
        x = x.reshape(-1, rows, stride, columns, stride * inputs)
        x = x.transpose(0, 1, 3, 2, 4).reshape(-1, rows, columns, stride * stride * inputs)
        blocks = size // stride
        w = w.reshape(blocks, stride, blocks, stride * inputs, self.channels)
        w = w.transpose(0, 2, 1, 3, 4).reshape(blocks, blocks, -1, self.channels)
        x = x.astype(jnp.float32) / self.divisor
        layout = ("NHWC", "HWIO", "NHWC")
        return b + jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=layout)


def _normalized(x: jax.Array) -> jax.Array:
    return hk.LayerNorm(-1, True, True, eps=1e-6)(x)
