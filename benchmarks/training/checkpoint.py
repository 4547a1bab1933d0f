"""Saves a training state in one npz file, and restores it bit for bit.

The file holds an array for each leaf of the state, named by the leaf's place in it; other arrays
of the same moment; and facts, as JSON. It is written whole or not at all, so writing it can commit
a step of training. `run_folder.py` says what an offline run saves in it, and the modules in
`online/` what an online run saves.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from rl_datasets import npz
from rl_datasets.errors import DatasetError

FILE_NAME = "checkpoint.npz"
_STATE, _FACTS = "state", "facts"


class Checkpoint(NamedTuple):
    """What a file holds.

    Attributes:
      state: the learner's state; its leaves are arrays of JAX or NumPy, as in the state that gave
        the structure.
      facts: the facts given to `save`, as JSON restores them.
      arrays: the arrays given to `save`.
    """

    state: Any
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save(
    path: pathlib.Path,
    state: Any,
    facts: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a checkpoint, which replaces the previous one.

    Args:
      path: the file.
      state: a tree of arrays.
      facts: facts that JSON can hold.
      arrays: arrays by name.

    Raises:
      DatasetError: it cannot be written.
    """
    of_state = {name: np.asarray(leaf) for name, leaf in _named_leaves(state).items()}
    of_facts = {_FACTS: np.array(json.dumps(facts))}
    npz.write_arrays(path, {**of_state, **of_facts, **(arrays or {})})


def restore(path: pathlib.Path, initial: Any, what_to_do: str) -> Checkpoint:
    """Reads a checkpoint.

    Args:
      path: the file.
      initial: any state of the same learner, which gives the structure.
      what_to_do: the end of error messages, which says what to do.

    Raises:
      DatasetError: there is no such file, it is damaged or not a checkpoint, or its state is
        another learner's.
    """
    arrays = npz.read_arrays(path, what_to_do)
    facts = _taken_facts(path, arrays, what_to_do)
    leaves = []
    for name, leaf in _named_leaves(initial).items():
        kept, expected = arrays.pop(name, None), np.asarray(leaf)
        if kept is None or (kept.shape, kept.dtype) != (expected.shape, expected.dtype):
            raise DatasetError(f"{path} holds the state of another learner: {what_to_do}")
        leaves.append(jax.numpy.asarray(kept) if isinstance(leaf, jax.Array) else kept)
    if any(name.startswith(_STATE) for name in arrays):
        raise DatasetError(f"{path} holds the state of another learner: {what_to_do}")
    return Checkpoint(jax.tree.unflatten(jax.tree.structure(initial), leaves), facts, arrays)


def facts_of(path: pathlib.Path, what_to_do: str) -> dict[str, Any]:
    """The facts of a checkpoint of any learner.

    Raises:
      DatasetError: there is no such file, or it is damaged or not a checkpoint.
    """
    return _taken_facts(path, npz.read_arrays(path, what_to_do, [_FACTS]), what_to_do)


def _taken_facts(
    path: pathlib.Path, arrays: dict[str, np.ndarray], what_to_do: str
) -> dict[str, Any]:
    try:
        return json.loads(str(arrays.pop(_FACTS)))
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{path} is no checkpoint of a learner: {what_to_do}") from error


def _named_leaves(state: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {_STATE + jax.tree_util.keystr(place): leaf for place, leaf in leaves}
