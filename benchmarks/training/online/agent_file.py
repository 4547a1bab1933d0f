"""An agent that learned a game, kept in one file, which plays without what taught it.

The file is a checkpoint of the learner's state, whose facts say what the agent is.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.training import checkpoint
from learners import registry
from learners.types import DiscreteSpec, Learner, TrainingState
from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError


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
    checkpoint.save(path, state, told)


def load(path: pathlib.Path) -> TrainedAgent:
    """Reads an agent that `save` wrote.

    Raises:
      DatasetError: there is no such file, it is damaged, or it holds another network.
    """
    what_to_do = "name an agent that `rl-datasets train-agent` wrote"
    try:
        facts = checkpoint.facts_of(path, what_to_do)
        entry = registry.LEARNERS[facts["learner"]]
        spec, of_config = DiscreteSpec(facts["num_actions"]), facts["config"]
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} holds no agent ({error!r}): {what_to_do}") from error
    config: Any = toml_tables.build(entry.config, of_config, f"{path}, config")
    learner = entry.make(config, spec)
    kept = checkpoint.restore(path, learner.init(jax.random.PRNGKey(0)), what_to_do)
    return TrainedAgent(facts, learner, kept.state)
