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


def start(networks, targets):
    """The weights before an update: of modules with their optimizers, and of targets, by name."""
    arrays = {}
    for name, (module, _) in networks.items():
        arrays |= weights(f"start/{name}", module)
    for name, module in targets.items():
        arrays |= weights(f"start/target_{name}", module)
    return arrays


def after(networks, targets):
    """The weights after the first update, and the gradients that it took."""
    arrays = {}
    for name, (module, optimizer) in networks.items():
        arrays |= weights(f"after/{name}", module)
        arrays |= gradients(f"gradient/{name}", module, optimizer)
    for name, module in targets.items():
        arrays |= weights(f"after/target_{name}", module)
    return arrays


def move(*modules):
    """Adds noise to the weights of targets, which are else those of what they are targets of."""
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))


def record_draws():
    """A list of what PyTorch draws from now on of standard normal and uniform distributions."""
    drawn = []

    def recorded(draw):
        def call(*arguments, **keywords):
            drawn.append(draw(*arguments, **keywords))
            return drawn[-1]

        return call

    distribution = torch.distributions.normal
    distribution._standard_normal = recorded(distribution._standard_normal)
    torch.Tensor.uniform_ = recorded(torch.Tensor.uniform_)
    return drawn


def bcq_noise(samples):
    """Noise for one update of BCQ.

    Returns:
      what our learner draws: of the reconstruction, of the policy's proposal, and of `samples`
      proposals at the next state; a list of the same as PyTorch's BCQs draw it, one after another;
      and a function of a shape that takes the next one of the list.
    """
    noise = np.random.default_rng(2).normal(size=(2 + samples, BATCH_SIZE, 2 * ACTION_SIZE))
    noise = noise.astype(np.float32)
    draws = [noise[0], np.swapaxes(noise[2:], 0, 1).reshape(BATCH_SIZE * samples, -1), noise[1]]

    def draw(shape):
        taken = torch.from_numpy(draws.pop(0).copy())
        assert taken.shape == shape
        return taken

    return noise, draws, draw


def write(arrays):
    np.savez_compressed(pathlib.Path(sys.argv[1]), **arrays)
