"""D4RL's tasks: what each is called, where its file lies, and how its scores are normalised.

The tasks are data, `d4rl_tasks.toml`, after D4RL's own registrations and score tables (Fu et al.
2020, arXiv 2004.07219; https://github.com/Farama-Foundation/D4RL).
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import functools
import pathlib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from rl_datasets.errors import DatasetError
from rl_datasets.sources.collected import RECOLLECTED


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of D4RL, which is an environment and a file of data.

    Attributes:
      id: D4RL's own, such as `halfcheetah-medium-v2`.
      file: path of its file below D4RL's root, such as
        `gym_mujoco_v2/halfcheetah_medium-v2.hdf5`.
      url: where D4RL serves it.
      environment: whose it is, such as `HalfCheetah-v2`; the id where D4RL registers it by that.
      observation_size: numbers in an observation.
      action_size: numbers in an action, each in [-1, 1].
      horizon: steps of an episode after which the environment cuts it.
      reference: mean returns of a random policy and of an expert, None where D4RL has none.
      trajectories: where they end in the file; `d4rl` says what the words mean.
      known_defects: of the file, a sentence each.
    """

    id: str
    file: str
    url: str
    environment: str
    observation_size: int
    action_size: int
    horizon: int
    reference: tuple[float, float] | None
    trajectories: str
    known_defects: tuple[str, ...]


@functools.cache
def tasks() -> Mapping[str, Task]:
    """Every task by its id."""
    content = tomllib.loads(pathlib.Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {name: _task(name, content) for name in content["files"]}


def task(name: str) -> Task:
    """The task with this id, or the one that a dataset was recollected for.

    Args:
      name: such as `halfcheetah-medium-v2`, or `halfcheetah-v4-medium-v2-recollected`.

    Raises:
      DatasetError: there is none; the message names the nearest.
    """
    known = tasks()
    of_what = name.partition(RECOLLECTED)[0]
    if of_what != name:  # The body that it was collected in, where it is not D4RL's.
        of_what = re.sub(r"^(\w+)-v\d+-", r"\1-", of_what)
    found = known.get(of_what)
    if found is None:
        nearest = difflib.get_close_matches(name, known, 1, 0) or ["halfcheetah-medium-v2"]
        raise DatasetError(f"D4RL has no task {name!r}: the nearest is {nearest[0]}")
    return found


def normalized_score(name: str, episode_return: Any) -> Any:
    """(return - random) / (expert - random), as D4RL scores its tasks: 1 is as good as the expert.

    Published tables print a hundred times this.

    Args:
      name: the task's id; a recollected dataset is scored as its task.
      episode_return: undiscounted; a number or an array of any shape.

    Raises:
      DatasetError: there is no such task, or D4RL has no reference scores for it.
    """
    reference = task(name).reference
    if reference is None:
        raise DatasetError(f"D4RL has no reference scores for {name}: report its returns instead")
    random, expert = reference
    return (episode_return - random) / (expert - random)


def _task(name: str, content: Mapping[str, Any]) -> Task:
    environment = _matching(name, content["environments"])[0]
    rules = _matching(name, content["rules"])
    reference = environment.get("reference")
    return Task(
        id=name,
        file=content["files"][name],
        url=f"{content['root']}/{content['files'][name]}",
        environment=environment.get("environment", name),
        observation_size=environment["observation"],
        action_size=environment["action"],
        horizon=environment["horizon"],
        reference=tuple(reference) if reference else None,
        trajectories=rules[0]["trajectories"] if rules else "flags",
        known_defects=tuple(entry["text"] for entry in _matching(name, content["defects"])),
    )


def _matching(name: str, entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        entry
        for entry in entries
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in entry["tasks"])
    ]
