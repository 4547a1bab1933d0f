"""What the scripts for d3rlpy share: small networks, and the batch as it takes one."""

import torch
from d3rlpy.models.encoders import VectorEncoderFactory
from d3rlpy.torch_utility import TorchMiniBatch
from peer import ACTION_SIZE, BATCH_SIZE, HIDDEN_SIZES, OBSERVATION_SIZE, move, random_arrays

ENCODER = VectorEncoderFactory(HIDDEN_SIZES)


def create(config):
    """An algorithm with random weights, whose targets are others than what they are targets of."""
    algorithm = config.create(device="cpu:0")
    algorithm.create_impl((OBSERVATION_SIZE,), ACTION_SIZE)
    modules = algorithm.impl._modules
    targets = (getattr(modules, name, None) for name in ("targ_q_funcs", "targ_policy"))
    move(*(module for module in targets if module is not None))
    return algorithm.impl, modules


def random_batch():
    """The batch of noise, for d3rlpy and as arrays."""
    arrays = random_arrays()
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
