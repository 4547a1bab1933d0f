"""Chooses a row's task: a game if DQN Replay has its environment, otherwise continuous control."""

from __future__ import annotations

import os

from benchmarks.training import dataset_commands
from benchmarks.training.recipe import Recipe
from benchmarks.training.row import Row
from benchmarks.training.tasks.atari import Atari
from benchmarks.training.tasks.control import ContinuousControl
from rl_datasets.errors import DatasetError
from rl_datasets.published import names
from rl_datasets.published.version import Version
from rl_datasets.sources.atari import ATARI_GAMES

Task = ContinuousControl | Atari


def task_of(recipe: Recipe, row: Row, data_dir: str | os.PathLike[str]) -> Task:
    """The task of a row, without loading its data.

    Raises:
      DatasetError: the learner does not fit the row; the dataset is not published; or as the task's
        `of`.
    """
    environment = row.scoring.environment
    kind: type[Task] = Atari if environment in ATARI_GAMES else ContinuousControl
    takes = recipe.entry().spec
    if takes is not kind.spec_type:
        raise DatasetError(
            f"learner {recipe.learner} is made for a {takes.__name__}, and {environment} is a "
            f"{kind.spec_type.__name__}: name a learner for that, such as "
            f"{'dqn' if kind is Atari else 'td3_bc'}"
        )
    return kind.of(recipe, row, _open(row, data_dir))


def _open(row: Row, data_dir: str | os.PathLike[str]) -> Version:
    try:
        return Version.open(row.data.dataset, data_dir)
    except DatasetError as error:
        is_there = names.is_published(row.data.version_path, data_dir)
        commands = [] if is_there else dataset_commands.commands(row, data_dir)
        if not (how := " and ".join(f"`{command}`" for command in commands)):
            raise
        raise DatasetError(
            f"{row.data.dataset} is not published in {data_dir}: publish it first: {how}"
        ) from error
