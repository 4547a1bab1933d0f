"""What a run of online training keeps on disk, so that a kill loses no evaluation.

    run.json                what the run is; a folder is never gone on with as another run
    transitions-<step>.npz  what was added to the replay buffer since the evaluation before
    checkpoint.npz          everything else, as it was at the last evaluation; written last
    .lock                   held while a process trains

An environment is not saved but played again: a reset's seed and the actions since then give back
its every bit, which MuJoCo's positions and velocities alone would not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from learners.types import TrainingState
from rl_datasets import files, npz, staging
from rl_datasets.errors import DatasetError

_RUN, _CHECKPOINT, _LEAF = "run.json", "checkpoint.npz", "state/"


@dataclasses.dataclass
class Checkpoint:
    """All that changes while a policy trains online, but for the replay buffer.

    Attributes:
      step: environment steps taken.
      state: of the learner.
      rng: state of the bit generator of exploration and sampling.
      evaluations: (step, mean return) of each so far.
      resets: of the environment so far.
      actions: [T, act] since the last reset.
      observation: [obs] that these actions led to.
    """

    step: int
    state: TrainingState
    rng: Mapping[str, Any]
    evaluations: Sequence[tuple[int, float]]
    resets: int
    actions: np.ndarray
    observation: np.ndarray


@contextlib.contextmanager
def opened(folder: pathlib.Path, identity: Mapping[str, Any]) -> Iterator[CheckpointFolder]:
    """The folder of a run, in the hands of this process alone.

    Args:
      folder: made if it is not there.
      identity: what the run is, as JSON.

    Raises:
      DatasetError: the folder holds another run, or another process trains in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with staging.lock(folder / ".lock", f"training in {folder}"):
        path = folder / _RUN
        text = json.dumps(identity, indent=2) + "\n"
        if not path.exists():
            files.write(path, text)
        before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
        differing = [name for name in now if before.get(name) != now[name]]
        if differing:
            raise DatasetError(
                f"{folder} holds a run whose {' and '.join(differing)} differ from this one's: "
                "delete that folder, run what it holds, or name another file"
            )
        yield CheckpointFolder(folder)


class CheckpointFolder:
    """Writes and reads what the module says; see `opened`."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def save(self, checkpoint: Checkpoint, added: Mapping[str, np.ndarray]) -> None:
        """Keeps a checkpoint and the transitions [N, ...] added since the one before."""
        npz.write_arrays(self._transitions(checkpoint.step), added)
        leaves = jax.tree.leaves(checkpoint.state)
        plain = {
            name: getattr(checkpoint, name) for name in ("step", "rng", "evaluations", "resets")
        }
        arrays = {
            "plain": np.array(json.dumps(plain)),
            "actions": checkpoint.actions,
            "observation": checkpoint.observation,
            **{f"{_LEAF}{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)},
        }
        npz.write_arrays(self._folder / _CHECKPOINT, arrays)

    def restore(self, initial: TrainingState) -> Checkpoint | None:
        """The last checkpoint, or None where there is none.

        Args:
          initial: any state of the learner, for its structure.
        """
        if not (self._folder / _CHECKPOINT).exists():
            return None
        arrays = self._read(self._folder / _CHECKPOINT)
        leaves, structure = jax.tree.flatten(initial)
        state = [jax.numpy.asarray(arrays[f"{_LEAF}{index}"]) for index in range(len(leaves))]
        return Checkpoint(
            **json.loads(str(arrays["plain"])),
            state=jax.tree.unflatten(structure, state),
            actions=arrays["actions"],
            observation=arrays["observation"],
        )

    def transitions(self, step: int) -> Mapping[str, np.ndarray]:
        """What `save` was given at this step."""
        return self._read(self._transitions(step))

    def _transitions(self, step: int) -> pathlib.Path:
        return self._folder / f"transitions-{step:010}.npz"

    def _read(self, path: pathlib.Path) -> dict[str, np.ndarray]:
        return npz.read_arrays(path, f"delete {self._folder} to train from the start")
