"""A recipe: which learner runs on which datasets, for how long, and how it is scored.

The recipes shipped are the files `recipes/*.toml`, each beside a reported table. A user's own file
may leave `table` out: it is beside no table then, and its rows have a `name` in the place of
`reported`.
"""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import tomllib
from typing import Any

from rl_datasets.errors import DatasetError

FOLDER = pathlib.Path(__file__).parent / "recipes"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
      reported: the row of the reported table that this one stands beside, or its name.
      dataset: `builder/config:version`.
      environment: where the policy is evaluated: gymnasium's name, or a game as DQN Replay spells
        it, such as `Pong`.
      split: what of the dataset is trained on: a split, several joined by `+`, or `all`.
    """

    reported: str
    dataset: str
    environment: str
    split: str = "all"

    @property
    def version_path(self) -> pathlib.PurePath:
        """Where the version lies below a data directory: `builder/config/version`."""
        name, separator, version = self.dataset.partition(":")
        if not (separator and version and name):
            raise DatasetError(
                f"row {self.reported!r} names its dataset {self.dataset!r}, "
                "write it as builder/config:version"
            )
        return pathlib.PurePath(name) / version


@dataclasses.dataclass(frozen=True)
class AtariProtocol:
    """How games are learned and scored; defaults are of Agarwal et al. 2020, arXiv:1907.04543.

    Attributes:
      n_step: rewards in a transition.
      epsilon: probability of a random action in an evaluation.
      max_episode_steps: of an evaluation, in agent steps of four frames.
    """

    n_step: int = 1
    epsilon: float = 0.001
    max_episode_steps: int = 27_000

    def __post_init__(self) -> None:
        if self.n_step < 1 or self.max_episode_steps < 1 or not 0 <= self.epsilon <= 1:
            raise DatasetError(
                "[atari] of a recipe needs n_step and max_episode_steps of at least 1 and an "
                f"epsilon in [0, 1], got {self}"
            )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a table is reproduced.

    Attributes:
      title: of the report.
      table: name of the reported table; of a recipe beside none, its own.
      learner: the module of `learners`.
      seeds: of the runs of one row.
      steps: gradient steps of one run at the full budget.
      batch_size: transitions a gradient step.
      evaluate_every: gradient steps between evaluations.
      episodes: of one evaluation.
      rows: of the table.
      config: fields of the learner's `Config` that differ from its defaults.
      atari: of the rows whose environment is a game.
      is_reported: whether there is a reported table.
    """

    title: str
    table: str
    learner: str
    seeds: tuple[int, ...]
    steps: int
    batch_size: int
    evaluate_every: int
    episodes: int
    rows: tuple[Row, ...]
    config: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    atari: AtariProtocol = AtariProtocol()
    is_reported: bool = True

    def learner_module(self) -> Any:
        """The module of `learners`, which has `Config` and `make`."""
        try:
            return importlib.import_module(f"learners.{self.learner}")
        except ModuleNotFoundError as error:
            raise DatasetError(
                f"recipe {self.table!r} names the learner {self.learner!r}, which cannot be "
                f"imported ({error}): name one, such as dqn or td3_bc"
            ) from error

    def learner_config(self) -> Any:
        """The learner's `Config`, with this recipe's overrides."""
        try:
            return self.learner_module().Config(**self.config)
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"[config] of recipe {self.table!r} does not fit learners.{self.learner}.Config, "
                f"correct it: {error}"
            ) from error

    def steps_at(self, budget: float) -> int:
        """Gradient steps at a fraction of the full budget, a whole number of evaluations."""
        if not 0 < budget <= 1:
            raise DatasetError(f"budget must be a fraction in (0, 1], got {budget}")
        return max(1, round(self.steps * budget / self.evaluate_every)) * self.evaluate_every


def load_recipe(name: str) -> Recipe:
    """Reads `recipes/<name>.toml`, or the file of a name that ends in `.toml`.

    Raises:
      DatasetError: there is no such recipe, or it is malformed.
    """
    path = pathlib.Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise DatasetError(
            f"unknown table {name!r}, choose one of: {known}; or name a recipe's file, x.toml"
        )
    try:
        fields = tomllib.loads(path.read_text())
        is_reported = "table" in fields
        named = "reported" if is_reported else "name"
        return Recipe(
            rows=tuple(Row(row.pop(named), **row) for row in fields.pop("rows")),
            seeds=tuple(fields.pop("seeds")),
            atari=AtariProtocol(**fields.pop("atari", {})),
            is_reported=is_reported,
            **{"table": path.stem, "title": path.stem, **fields},
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise DatasetError(
            f"recipe {path.name} lacks or misspells a field, correct it: {error}"
        ) from error
