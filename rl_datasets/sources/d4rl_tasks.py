"""D4RL's tasks: their names, their files, and the normalisation of their scores.

The tasks are data, in `d4rl_tasks.toml`, taken from D4RL's own registrations and score tables (Fu
et al. 2020, arXiv 2004.07219; https://github.com/Farama-Foundation/D4RL).
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
      id: D4RL's own id, such as `halfcheetah-medium-v2`.
      file: path of its file below D4RL's root, such as
        `gym_mujoco_v2/halfcheetah_medium-v2.hdf5`.
      url: the file's address at D4RL.
      environment: its environment, such as `HalfCheetah-v2`; the task's id where D4RL registers the
        environment by it.
      observation_size: size of an observation.
      action_size: size of an action; None where it is a single number.
      horizon: the environment's time limit in steps.
      reference: mean returns of a random policy and of an expert; None where D4RL has none.
      trajectories: the rule for where trajectories end in the file; see `d4rl_episodes`.
      known_defects: known defects of the file, one sentence each.
      is_d4rls: whether the data are D4RL's own, whose actions are real numbers in [-1, 1], and
        whose rows are never both a terminal and a time limit; actions of other data may be any
        numbers, and such a row of theirs is a terminal.
    """

    id: str
    file: str
    url: str
    environment: str
    observation_size: int
    action_size: int | None
    horizon: int
    reference: tuple[float, float] | None
    trajectories: str
    known_defects: tuple[str, ...]
    is_d4rls: bool = True


@functools.cache
def tasks() -> Mapping[str, Task]:
    """All tasks by their ids."""
    content = tomllib.loads(pathlib.Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {name: _task(name, content) for name in content["files"]}


def task(name: str) -> Task:
    """The task with this id, or the one that a dataset was recollected for.

    Args:
      name: such as `halfcheetah-medium-v2`, or `halfcheetah-v4-medium-v2-recollected`.

    Raises:
      DatasetError: there is no such task; the message names the nearest.
    """
    known = tasks()
    of_what = name.partition(RECOLLECTED)[0]
    if of_what != name:  # Remove the version of the environment, where it is not D4RL's.
        of_what = re.sub(r"^(\w+)-v\d+-", r"\1-", of_what)
    found = known.get(of_what)
    if found is None:
        nearest = difflib.get_close_matches(name, known, 1, 0) or ["halfcheetah-medium-v2"]
        raise DatasetError(f"D4RL has no task {name!r}: did you mean {nearest[0]}?")
    return found


def normalized_score(name: str, episode_return: Any) -> Any:
    """D4RL's score (return - random) / (expert - random), which is 1 for the expert.

    Published tables print a hundred times this score.

    Args:
      name: the task's id; a recollected dataset is scored as its task.
      episode_return: undiscounted return, a number or an array of any shape.

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
