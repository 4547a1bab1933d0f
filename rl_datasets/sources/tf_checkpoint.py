"""Reads TensorFlow checkpoints: every variable by its key, as a NumPy array."""

from __future__ import annotations

import pathlib
import re

import numpy as np

from rl_datasets import errors

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SHARD = re.compile(r"\.data-\d{5}-of-(\d{5})$")


def checkpoint_files(prefix: str | pathlib.Path) -> list[pathlib.Path]:
    """The files of the checkpoint `<prefix>`: its index, then its data shards in order.

    Raises:
      DatasetError: the index or a data file is missing, or there are data files of two checkpoints.
    """
    index = pathlib.Path(f"{prefix}.index")
    if not index.is_file():
        raise errors.DatasetError(
            f"{index} does not exist: give the checkpoint's prefix, its file names up to `.index`"
        )
    found = index.parent.glob(f"{index.stem}.data-*")
    counts = {int(match[1]) for path in found if (match := _SHARD.search(path.name))} or {1}
    if len(counts) > 1:
        raise errors.DatasetError(
            f"the data files beside {index} belong to {len(counts)} checkpoints, of "
            f"{' and '.join(map(str, sorted(counts)))} data files: keep those of one"
        )
    (count,) = counts
    shards = [index.with_suffix(f".data-{shard:05}-of-{count:05}") for shard in range(count)]
    for shard in shards:
        if not shard.is_file():
            raise errors.DatasetError(f"{shard} does not exist: copy it beside {index}")
    return [index, *shards]


def read_variables(prefix: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads every numeric variable of a TensorFlow object checkpoint (TensorBundle format).

    Args:
      prefix: the checkpoint's path without `.index`.

    Returns:
      The variables by key, without the suffix `/.ATTRIBUTES/VARIABLE_VALUE`.

    Raises:
      DatasetError: a file is missing, truncated or damaged.
    """
    tensors = read_tensors(prefix)
    return {key.removesuffix(VALUE): value for key, value in tensors.items() if key.endswith(VALUE)}


def read_tensors(prefix: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all of a checkpoint; variables of TensorFlow 1 have their own names as keys.

    Args:
      prefix: the checkpoint's path without `.index`.

    Raises:
      DatasetError: a file is missing, truncated or damaged.
    """
    index, *shards = checkpoint_files(prefix)
    import tensorflow as tf  # It is slow to import, and needed only here.

    try:
        reader = tf.train.load_checkpoint(str(prefix))
        keys = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, IndexError, ValueError) as error:
        raise errors.DatasetError(
            f"{index} is truncated or is not a checkpoint index ({error}): copy it again"
        ) from error
    try:
        # TensorFlow checks the length and the checksum of what it reads. So everything is read,
        # even the object graph, which comes last in the file.
        return {key: reader.get_tensor(key) for key in keys}
    except (tf.errors.OpError, IndexError, ValueError) as error:
        raise errors.DatasetError(
            f"{' or '.join(map(str, shards))} is truncated or damaged ({error}): copy the "
            "checkpoint again"
        ) from error
