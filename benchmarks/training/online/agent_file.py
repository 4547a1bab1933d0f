"""A trained agent for a game, saved in one file from which it can play.

The file is a checkpoint of the network's parameters alone; its facts describe the agent.
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
from learners.types import DiscreteSpec, Learner, Params, TrainingState
from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from rl_datasets.sources.atari import ATARI_GAMES

_NAME_ANOTHER = "name an agent that `rl-datasets train-agent` wrote"


@dataclasses.dataclass(frozen=True)
class TrainedAgent:
    """A learner and what it has learned.

    Attributes:
      facts: a description of the agent: `learner`, `config`, and what its training adds.
      game: the game that it plays.
      rom_set: the set whose ROM of the game it learned on.
      learner: the learner.
      state: the learner's state, with the agent's parameters.
    """

    facts: Mapping[str, Any]
    game: str
    rom_set: RomSet
    learner: Learner
    state: TrainingState

    @property
    def act(self) -> Callable[[np.ndarray], np.ndarray]:
        """Stacks of frames [N, 84, 84, 4] uint8 -> greedy actions [N]."""
        return lambda stacks: np.asarray(self.learner.act(self.state, jax.numpy.asarray(stacks)))


def save(
    path: pathlib.Path, name: str, config: Any, params: Params, facts: Mapping[str, Any]
) -> None:
    """Writes an agent, whole or not at all.

    Args:
      path: an .npz file.
      name: the learner's name in the registry.
      config: the learner's `Config`.
      params: the parameters that it has learned.
      facts: further facts about the agent, as JSON; `game`, `rom_set` and `num_actions` are
        required.

    Raises:
      DatasetError: the file cannot be written.
    """
    description = {**facts, "learner": name, "config": dataclasses.asdict(config)}
    checkpoint.save(path, params, description)


def load(path: pathlib.Path, what_to_do: str = _NAME_ANOTHER) -> TrainedAgent:
    """Reads an agent that `save` wrote.

    Args:
      path: the file.
      what_to_do: what an error message tells the user to do.

    Raises:
      DatasetError: there is no such file, it is damaged or holds no agent, or its network or its
        number of actions does not fit its game.
    """
    facts = checkpoint.facts_of(path, what_to_do)
    if fault := _fault(facts):
        raise DatasetError(f"{path} holds no agent, because {fault}: {what_to_do}")
    game, rom_set = ATARI_GAMES[facts["game"]], RomSet(facts["rom_set"])
    entry, num_actions = registry.LEARNERS[facts["learner"]], facts["num_actions"]
    if entry.spec is not DiscreteSpec or num_actions != game.num_actions:
        raise DatasetError(
            f"{path} holds a {facts['learner']} of {num_actions} actions, and {facts['game']} has "
            f"the {game.num_actions} of its minimal set: {what_to_do}"
        )
    config: Any = toml_tables.build(entry.config, facts["config"], f"{path}, config")
    learner = entry.make(config, DiscreteSpec(num_actions))
    state = learner.init(jax.random.PRNGKey(0))
    params = checkpoint.restore(path, state.params, what_to_do).state
    return TrainedAgent(facts, facts["game"], rom_set, learner, state._replace(params=params))


def _fault(facts: Any) -> str:
    """Why the facts of a checkpoint are not those of an agent; "" if they are."""
    if not isinstance(facts, dict):
        return "it says nothing of an agent"
    named = {"game": [*ATARI_GAMES], "rom_set": [*RomSet], "learner": [*registry.LEARNERS]}
    for name in (*named, "config", "num_actions"):
        if name not in facts:
            return f"it does not say its {name}"
    for name, known in named.items():
        if facts[name] not in known:
            return f"its {name} is {facts[name]!r}, which is not known"
    return ""
