"""What the scripts for d3rlpy share: small networks, one batch, and their weights as arrays."""

import pathlib
import sys

import numpy as np
import torch
from d3rlpy.models.encoders import VectorEncoderFactory
from d3rlpy.torch_utility import TorchMiniBatch

OBSERVATION_SIZE, ACTION_SIZE, BATCH_SIZE = 3, 2, 16
ENCODER = VectorEncoderFactory([8, 8])


def create(config):
    """An algorithm with random weights, whose targets are others than what they are targets of."""
    algorithm = config.create(device="cpu:0")
    algorithm.create_impl((OBSERVATION_SIZE,), ACTION_SIZE)
    modules = algorithm.impl._modules
    with torch.no_grad():
        for name in ("targ_q_funcs", "targ_policy"):
            for parameter in getattr(modules, name, torch.nn.Module()).parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return algorithm.impl, modules


def random_batch():
    """A batch of noise, a quarter of it terminal, for d3rlpy and as arrays."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return rng.normal(size=(BATCH_SIZE, *shape)).astype(np.float32)

    arrays = {
        "observation": normal(OBSERVATION_SIZE),
        "action": np.tanh(normal(ACTION_SIZE)),
        "reward": normal(),
        "discount": (rng.random(BATCH_SIZE) > 0.25).astype(np.float32),
        "next_observation": normal(OBSERVATION_SIZE),
        "next_action": np.tanh(normal(ACTION_SIZE)),
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    batch = TorchMiniBatch(
        observations=tensors["observation"],
        actions=tensors["action"],
        rewards=tensors["reward"][:, None],
        next_observations=tensors["next_observation"],
        next_actions=tensors["next_action"],
        returns_to_go=torch.zeros(BATCH_SIZE, 1),
        terminals=1 - tensors["discount"][:, None],
        intervals=torch.ones(BATCH_SIZE, 1),
        device="cpu:0",
    )
    return batch, {f"batch/{name}": array for name, array in arrays.items()}


def weights(name, module, of=lambda parameter: parameter):
    """Every parameter of a module, or what `of` gives for it, in PyTorch's layout."""
    return {
        f"{name}/{key}": of(parameter).detach().numpy().copy()
        for key, parameter in module.named_parameters()
    }


def gradients(name, module, optimizer):
    """The gradients of the optimiser's first step, from the moment that it kept of them."""
    return weights(name, module, lambda p: optimizer.optim.state[p]["exp_avg"] / 0.1)


def write(arrays):
    np.savez_compressed(pathlib.Path(sys.argv[1]), **arrays)
