"""A teacher: an agent that has learned a game, from whose values another one learns.

That is Reincarnating RL (Agarwal et al. 2022, arXiv:2206.01626). A teacher is

    a checkpoint of Dopamine's DQN, or the folder of its run: see `sources.dopamine_checkpoint`
    a run that `rl-datasets log-game` logged, by the agent that it keeps
    a file that `rl-datasets train-agent` wrote
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.training.online import agent_file
from learners import dqn
from learners.types import DiscreteSpec, Learner, Params, TrainingState
from rl_datasets import files, roms, run_log
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from rl_datasets.sources import dopamine_checkpoint
from rl_datasets.sources.atari import ATARI_GAMES

# The layers of `image_networks.nature_dqn` by their names in Flax.
_LAYERS = {
    "Conv_0": "conv2_d",
    "Conv_1": "conv2_d_1",
    "Conv_2": "conv2_d_2",
    "Dense_0": "linear",
    "Dense_1": "head",
}


@dataclasses.dataclass(frozen=True)
class Teacher:
    """An agent that does not learn any more.

    Attributes:
      path: its file.
      game: that it plays, as DQN Replay spells it.
      rom_set: whose ROM of the game it learned on; None where nothing says that.
      facts: what identifies it in a run: `game`, `learner`, `config`, `parameters_sha256`, and for
        Dopamine's `checkpoint`, its number.
      file_sha256: of its file, by which its replay buffer names it.
    """

    path: pathlib.Path
    game: str
    rom_set: RomSet | None
    facts: Mapping[str, Any]
    file_sha256: str
    _learner: Learner
    _state: TrainingState

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Teacher:
        """Reads a teacher of any kind.

        Args:
          path: its file, or the folder of its run.

        Raises:
          DatasetError: there is no teacher, its file is damaged or holds something else, or its
            network is not one of the game.
        """
        path = files.local_path(path)
        if path.suffix == ".npz":
            return _of_file(path)
        is_own = path.is_dir() and not dopamine_checkpoint.is_at(path)
        if is_own and run_log.read(path) is not None:
            if not (path / run_log.AGENT).exists():
                raise DatasetError(
                    f"{path} holds a run without its agent, {run_log.AGENT}: name a run that "
                    "`rl-datasets log-game` logged of an agent that learns"
                )
            return _of_file(path / run_log.AGENT)
        return _of_dopamine(dopamine_checkpoint.find(path))

    @property
    def params(self) -> Params:
        """Of its network."""
        return self._state.params

    def values(self, frames: jax.Array) -> jax.Array:
        """What each action is worth: stacks of frames [B, 84, 84, 4] uint8 -> float32 [B, A]."""
        assert self._learner.values
        return self._learner.values(self._state, frames)

    def act(self, frames: np.ndarray) -> np.ndarray:
        """The greedy actions [B] in stacks of frames [B, 84, 84, 4] uint8."""
        return np.asarray(self._learner.act(self._state, jax.numpy.asarray(frames)))

    def check_replay(self, dataset: str, lineage: Mapping[str, Any]) -> None:
        """Checks that a dataset is this teacher's own replay.

        Args:
          dataset: its name, for errors.
          lineage: the facts of its lineage.

        Raises:
          DatasetError: it is of another agent, or of another checkpoint of it.
        """
        number, own = lineage.get("checkpoint"), self.facts.get("checkpoint")
        if lineage.get("agent_sha256") == self.file_sha256:
            return
        if None not in (number, own) and number != own:
            raise DatasetError(
                f"{dataset} is the replay of checkpoint {number}, and the teacher {self.path} is "
                f"checkpoint {own}: name those that were saved together"
            )
        raise DatasetError(
            f"{dataset} is not the replay of the teacher {self.path}, by the `agent_sha256` of its "
            "lineage: publish the replay beside the teacher, and name that"
        )

    def check_rom(self, rom_set: RomSet) -> None:
        """Checks that a game of this set is the one that the teacher learned.

        Raises:
          DatasetError: it is another ROM.
        """
        if self.rom_set is not None and not roms.is_same(self.game, self.rom_set, rom_set):
            raise DatasetError(
                f"the teacher {self.path} learned {self.game} on the ROM of {self.rom_set}, and "
                f"that of {rom_set} is another: name a teacher or a dataset of the same ROM"
            )


def _of_file(path: pathlib.Path) -> Teacher:
    agent = agent_file.load(
        path, "name an agent that `rl-datasets train-agent` or `log-game` wrote"
    )
    if agent.learner.values is None:
        raise DatasetError(
            f"{path} holds a {agent.facts['learner']}, which has no values of actions: name "
            "another agent"
        )
    facts = {"learner": agent.facts["learner"], "config": agent.facts["config"]}
    return _teacher(path, agent.game, agent.rom_set, facts, agent.learner, agent.state)


def _of_dopamine(checkpoint: dopamine_checkpoint.Checkpoint) -> Teacher:
    arrays = dopamine_checkpoint.read_network(checkpoint)
    log = run_log.read(checkpoint.path.parent.parent)
    rom_set = roms.roms_for(log) if log is not None and "rom_set" in log else None
    config = dqn.Config()
    learner = dqn.make(config, DiscreteSpec(ATARI_GAMES[checkpoint.game].num_actions))
    state = learner.init(jax.random.PRNGKey(0))._replace(params=to_haiku(arrays))
    facts = {
        "learner": "dqn",
        "config": {"network": config.network},
        "checkpoint": checkpoint.number,
    }
    return _teacher(checkpoint.path, checkpoint.game, rom_set, facts, learner, state)


def to_haiku(arrays: Mapping[str, np.ndarray]) -> Params:
    """The params of `image_networks.nature_dqn` from arrays such as `Conv_0/kernel`."""
    params = {
        ours: {
            "w": jax.numpy.asarray(arrays[f"{flax}/kernel"]),
            "b": jax.numpy.asarray(arrays[f"{flax}/bias"]),
        }
        for flax, ours in _LAYERS.items()
    }
    params["head"]["w"] = params["head"]["w"].T
    return params


def _teacher(
    path: pathlib.Path,
    game: str,
    rom_set: RomSet | None,
    facts: Mapping[str, Any],
    learner: Learner,
    state: TrainingState,
) -> Teacher:
    facts = {"game": game, **facts, "parameters_sha256": _sha256_of(state.params)}
    return Teacher(path, game, rom_set, facts, files.sha256_of(path), learner, state)


def _sha256_of(params: Params) -> str:
    """Of the names, types, shapes and bytes of all parameters."""
    digest = hashlib.sha256()
    for place, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(place)} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
