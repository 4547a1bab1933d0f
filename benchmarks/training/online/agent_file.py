"""An agent that learned a game, kept in one file, which plays without what taught it.

The file is an npz archive: the leaves of the learner's state, and as JSON what the agent is.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from learners import registry
from learners.types import DiscreteSpec, Learner, TrainingState
from rl_datasets import npz, toml_tables
from rl_datasets.errors import DatasetError

_FACTS = "facts"


@dataclasses.dataclass(frozen=True)
class TrainedAgent:
    """A learner and the state that it has learned.

    Attributes:
      facts: what it is: `game`, `learner`, `config`, and what its training adds.
      learner: that its state belongs to.
      state: of the learner.
    """

    facts: Mapping[str, Any]
    learner: Learner
    state: TrainingState

    @property
    def act(self) -> Callable[[np.ndarray], np.ndarray]:
        """Stacks of frames [N, 84, 84, 4] uint8 -> greedy actions [N]."""
        return lambda stacks: np.asarray(self.learner.act(self.state, jax.numpy.asarray(stacks)))


def save(
    path: pathlib.Path, name: str, config: Any, state: TrainingState, facts: Mapping[str, Any]
) -> None:
    """Writes an agent, whole or not at all.

    Args:
      path: an .npz file.
      name: of the learner in the registry.
      config: its `Config`.
      state: what it has learned.
      facts: what else is to be told, as JSON; `game` and `num_actions` must be in it.

    Raises:
      DatasetError: it cannot be written.
    """
    told = {**facts, "learner": name, "config": dataclasses.asdict(config)}
    leaves = {f"leaf-{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    npz.write_arrays(path, {_FACTS: np.array(json.dumps(told)), **leaves})


def load(path: pathlib.Path) -> TrainedAgent:
    """Reads an agent that `save` wrote.

    Raises:
      DatasetError: there is no such file, it is damaged, or it holds another network.
    """
    what_to_do = "name an agent that `rl-datasets train-agent` wrote"
    arrays = npz.read_arrays(path, what_to_do)
    try:
        facts = json.loads(str(arrays.pop(_FACTS)))
        entry = registry.LEARNERS[facts["learner"]]
        spec = DiscreteSpec(facts["num_actions"])
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} holds no agent ({error!r}): {what_to_do}") from error
    config: Any = toml_tables.build(entry.config, facts["config"], f"{path}, config")
    learner = entry.make(config, spec)
    expected, structure = jax.tree.flatten(
        jax.eval_shape(learner.init, jax.ShapeDtypeStruct((2,), np.uint32))
    )
    leaves = [arrays.get(f"leaf-{i}") for i in range(len(expected))]
    for have, want in zip(leaves, expected, strict=True):
        if have is None or (have.shape, have.dtype) != (want.shape, want.dtype):
            raise DatasetError(
                f"{path} does not hold the network of {facts['learner']} with its config: "
                f"{what_to_do}"
            )
    return TrainedAgent(
        facts, learner, jax.tree.unflatten(structure, map(jax.numpy.asarray, leaves))
    )
