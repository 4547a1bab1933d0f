"""What all scripts share: a batch of noise, and weights and gradients as arrays."""

import pathlib
import sys

import numpy as np
import torch

OBSERVATION_SIZE, ACTION_SIZE, BATCH_SIZE = 3, 2, 16
HIDDEN_SIZES = [8, 8]


def random_arrays():
    """A batch of noise, a quarter of it terminal."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return rng.normal(size=(BATCH_SIZE, *shape)).astype(np.float32)

    return {
        "observation": normal(OBSERVATION_SIZE),
        "action": np.tanh(normal(ACTION_SIZE)),
        "reward": normal(),
        "discount": (rng.random(BATCH_SIZE) > 0.25).astype(np.float32),
        "next_observation": normal(OBSERVATION_SIZE),
        "next_action": np.tanh(normal(ACTION_SIZE)),
    }


def weights(name, module, of=lambda parameter: parameter):
    """Every parameter of a module, or what `of` gives for it, in PyTorch's layout."""
    return {
        f"{name}/{key}": of(parameter).detach().numpy().copy()
        for key, parameter in module.named_parameters()
    }


def gradients(name, module, optimizer):
    """The gradients of the first step of PyTorch's Adam, from the moment that it kept of them."""
    return weights(name, module, lambda p: optimizer.state[p]["exp_avg"] / 0.1)


def move(*modules):
    """Adds noise to the weights of targets, which are else those of what they are targets of."""
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))


def write(arrays):
    np.savez_compressed(pathlib.Path(sys.argv[1]), **arrays)
