"""What both sides make from seeds, so that the files of values need not hold it: weights, frames.

Imports NumPy alone, for the scripts that run in a peer's environment and for the tests.
`RandomState` is frozen: it draws the same numbers in every version of NumPy.
"""

import zlib

import numpy as np

FRAMES = (2, 44, 44)  # channels first, as PyTorch has them; after the convolutions 2 x 2 are left
NUM_ACTIONS = 3
BATCH_SIZE = 8
STEPS = 3
TARGET_PERIOD = 2  # so that one of the steps is followed by a copy, and one comes after it


def draw(name):
    return np.random.RandomState(zlib.crc32(name.encode()))


def weights(name, shape):
    """Of a layer of that name, in PyTorch's layout; biases are small."""
    scale = 0.1 if len(shape) == 1 else (2.0 / np.prod(shape[1:])) ** 0.5
    return (scale * draw(name).standard_normal(shape)).astype(np.float32)


def batch(step, brightest):
    """Of a step: transitions of noise, of which a quarter are terminal.

    Args:
      step: which batch.
      brightest: of the frames, which are whole numbers from 0.
    """
    rng = draw(f"batch {step}")
    frames = rng.randint(0, brightest + 1, (2, BATCH_SIZE, *FRAMES)).astype(np.uint8)
    return {
        "observation": frames[0],
        "action": rng.randint(0, NUM_ACTIONS, BATCH_SIZE),
        "reward": rng.randint(-1, 2, BATCH_SIZE).astype(np.float32),
        "discount": (rng.random_sample(BATCH_SIZE) > 0.25).astype(np.float32),
        "next_observation": frames[1],
    }


def some(array):
    """Up to 150 of its entries, spread over all of it."""
    flat = np.ravel(array)
    return flat[:: -(-flat.size // 150) | 1]
