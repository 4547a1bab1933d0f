"""Networks for images against the same layers in NumPy, and their initial weights."""

import haiku as hk
import jax
import numpy as np
import pytest

from learners import image_networks, networks

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 84, 84, 4), dtype=np.uint8)
SMALL = np.random.default_rng(1).integers(0, 256, (2, 14, 11, 3), dtype=np.uint8)


def padded(x, kernel, stride, value=0.0):
    """As SAME padding does it: an odd row or column comes after."""
    margins = []
    for size in x.shape[:2]:
        margin = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        margins.append((margin // 2, margin - margin // 2))
    return np.pad(x, (*margins, (0, 0)), constant_values=value)


def windows(x, kernel, stride):
    """[H, W, kernel, kernel, C] of an image [H, W, C]."""
    views = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(0, 1))
    return np.moveaxis(views[::stride, ::stride], 2, -1)


def convolution(x, layer, stride=1, padding="SAME"):
    kernel = layer["w"].shape[0]
    x = padded(x, kernel, stride) if padding == "SAME" else x
    return np.tensordot(windows(x, kernel, stride), layer["w"], 3) + layer["b"]


def pooled(x):
    return windows(padded(x, 3, 2, value=-np.inf), 3, 2).max(axis=(2, 3))


def relu(x):
    return np.maximum(x, 0)


def normalized(x, layer):
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
    return x * layer["scale"] + layer["offset"]


def dense(x, layer, is_head=False):
    return x @ (layer["w"].T if is_head else layer["w"]) + layer["b"]


def start(network, frames):
    """Initial params, moved so that biases are seen, and the same in float64."""
    params = jax.tree.map(lambda p: p + 0.01, network.init(jax.random.PRNGKey(0), frames))
    return params, jax.tree.map(lambda p: np.asarray(p, np.float64), params)


def nature_features(image, layers, padding="SAME", layer_norm=False):
    for index, stride in enumerate((4, 2, 1)):
        number = f"_{index}" if index else ""
        image = convolution(image, layers[f"conv2_d{number}"], stride, padding)
        if layer_norm:
            image = normalized(image, layers[f"layer_norm{number}"])
        image = relu(image)
    return image.ravel()


def test_the_network_is_nature_dqns():
    network = image_networks.nature_dqn(6)
    params, layers = start(network, FRAMES)
    shapes = {name: layer["w"].shape for name, layer in params.items()}
    assert shapes == {
        "conv2_d": (8, 8, 4, 32),
        "conv2_d_1": (4, 4, 32, 64),
        "conv2_d_2": (3, 3, 64, 64),
        "linear": (7744, 512),
        "head": (6, 512),
    }
    outputs = network.apply(params, FRAMES)
    for frames, output in zip(FRAMES, outputs, strict=True):
        hidden = relu(dense(nature_features(frames / 255, layers), layers["linear"]))
        np.testing.assert_allclose(output, dense(hidden, layers["head"], is_head=True), rtol=1e-4)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("height", "width"), [(14, 11), (12, 12), (9, 17)])
def test_the_folded_convolution_of_frames_of_any_size(height, width, padding):
    frames = np.random.default_rng(2).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    network = networks.Network(
        *hk.without_apply_rng(
            hk.transform(
                lambda x: image_networks.FoldedConvolution(
                    5, 8, 4, padding, 255.0, *networks.torch_initializers(192), name="first"
                )(x)
            )
        )
    )
    params, layers = start(network, frames)
    expected = [convolution(image / 255, layers["first"], 4, padding) for image in frames]
    np.testing.assert_allclose(network.apply(params, frames), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_pytorchs_padding_unscaled_frames_and_two_heads_on_one_torso(layer_norm):
    torso = image_networks.nature("VALID", 1.0, networks.torch_initializers, layer_norm)
    network = image_networks.with_heads(
        torso,
        {"q": (512, 6), "imitator": (8, 7, 5)},
        networks.torch_initializers,
        layer_norm=layer_norm,
    )
    params, layers = start(network, FRAMES)
    assert params["q_linear"]["w"].shape == (3136, 512)
    norms = [f"layer_norm_{i}" for i in range(3, 6)]
    outputs = network.apply(params, FRAMES)
    for index, frames in enumerate(FRAMES):
        features = nature_features(frames.astype(np.float64), layers, "VALID", layer_norm)
        heads = {"q": ["q_linear"], "imitator": ["imitator_linear", "imitator_linear_1"]}
        remaining = iter(norms)
        for name, hidden in heads.items():
            x = features
            for layer in hidden:
                x = dense(x, layers[layer])
                x = relu(normalized(x, layers[next(remaining)]) if layer_norm else x)
            expected = dense(x, layers[f"{name}_head"], is_head=True)
            np.testing.assert_allclose(outputs[name][index], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_impala_is_stacks_of_a_convolution_a_pooling_and_residual_blocks(layer_norm):
    torso = image_networks.impala((4, 5), num_blocks=2, layer_norm=layer_norm)
    network = image_networks.with_head(torso, (512, 3))
    params, layers = start(network, SMALL)
    assert params["linear"]["w"].shape == (4 * 3 * 5, 512)
    outputs = network.apply(params, SMALL)
    for frames, output in zip(SMALL, outputs, strict=True):
        convolutions = iter([name for name in params if name.startswith("conv")])
        norms = iter([name for name in params if name.startswith("layer_norm")])

        def maybe_normalized(x, norms=norms):
            return normalized(x, layers[next(norms)]) if layer_norm else x

        x = frames / 255
        for _ in range(2):
            x = pooled(convolution(x, layers[next(convolutions)]))
            for _ in range(2):
                block = relu(maybe_normalized(x))
                block = relu(convolution(block, layers[next(convolutions)]))
                x = x + convolution(block, layers[next(convolutions)])
        hidden = relu(dense(relu(maybe_normalized(x)).ravel(), layers["linear"]))
        expected = dense(hidden, layers["head"], is_head=True)
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_impala_of_the_papers_size():
    network = image_networks.with_head(image_networks.impala(), (512, 6))
    params = network.init(jax.random.PRNGKey(0), FRAMES)
    kernels = [layer["w"].shape for name, layer in params.items() if name.startswith("conv")]
    assert kernels == [
        (3, 3, 4, 16),
        *[(3, 3, 16, 16)] * 4,
        (3, 3, 16, 32),
        *[(3, 3, 32, 32)] * 4,
        *[(3, 3, 32, 32)] * 5,
    ]
    assert params["linear"]["w"].shape == (11 * 11 * 32, 512)
    # Glorot's bound for what begins a stack, and Flax's variance 1 / (9 inputs) for its blocks,
    # cut off at two deviations of the distribution before it is cut.
    bound = (6 / (9 * 16 + 9 * 32)) ** 0.5
    assert np.max(np.abs(params["conv2_d_5"]["w"])) == pytest.approx(bound, rel=0.01)
    for name, fan_in in {"conv2_d_4": 144, "conv2_d_14": 288}.items():
        w = params[name]["w"]
        assert np.var(w) == pytest.approx(1 / fan_in, rel=0.05)
        assert np.max(np.abs(w)) == pytest.approx(2 / 0.87963 * fan_in**-0.5, rel=0.02)
        assert not np.any(params[name]["b"])


def test_initial_weights_are_dopamines():
    frames = np.zeros((1, 84, 84, 4), np.uint8)
    glorot = image_networks.nature_dqn(6).init(jax.random.PRNGKey(0), frames)
    # sqrt(6 / (inputs + outputs)), a convolution having kernel^2 channels of each.
    bounds = {"conv2_d": 6 / (256 + 2048), "conv2_d_2": 6 / (576 + 576), "linear": 6 / 8256}
    for name, square in bounds.items():
        assert np.max(np.abs(glorot[name]["w"])) == pytest.approx(square**0.5, rel=0.01)
        assert not np.any(glorot[name]["b"])
    initial = image_networks.nature_dqn(1200, networks.fan_in_initializers)
    params = initial.init(jax.random.PRNGKey(0), frames)
    for name, fan_in in {"conv2_d": 256, "conv2_d_1": 512, "linear": 7744, "head": 512}.items():
        variance = 3**-0.5 / fan_in
        assert np.var(params[name]["w"]) == pytest.approx(variance, rel=0.02)
        assert np.max(np.abs(params[name]["w"])) == pytest.approx((3 * variance) ** 0.5, rel=0.01)


def test_initial_weights_are_pytorchs():
    torso = image_networks.nature("VALID", initializers=networks.torch_initializers)
    network = image_networks.with_heads(
        torso,
        {"q": (512, 6)},
        networks.torch_initializers,
        head_initializers=networks.small_initializers(1e-3),
    )
    params = network.init(jax.random.PRNGKey(0), FRAMES)
    # inputs^-1/2 for weights and biases, a convolution having kernel^2 channels of them.
    for name, fan_in in {"conv2_d": 256, "conv2_d_2": 576, "q_linear": 3136}.items():
        for kind in ("w", "b"):
            assert np.max(np.abs(params[name][kind])) == pytest.approx(fan_in**-0.5, rel=0.06)
    assert 0 < np.max(np.abs(params["q_head"]["w"])) <= 1e-3
