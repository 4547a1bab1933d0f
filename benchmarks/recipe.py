"""A recipe: which learner runs on which datasets, for how long, and how it is scored.

The recipes shipped are the files `recipes/*.toml`.
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
      reported: the row of the reported table that this one stands beside.
      dataset: `builder/config:version`.
      environment: where the policy is evaluated.
    """

    reported: str
    dataset: str
    environment: str

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
class Recipe:
    """How a table is reproduced.

    Attributes:
      title: of the report.
      table: name of the reported table.
      learner: the module of `learners`.
      seeds: of the runs of one row.
      steps: gradient steps of one run at the full budget.
      batch_size: transitions a gradient step.
      evaluate_every: gradient steps between evaluations.
      episodes: of one evaluation.
      rows: of the table.
      config: fields of the learner's `Config` that differ from its defaults.
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

    def learner_config(self) -> Any:
        """The learner's `Config`, with this recipe's overrides."""
        module = importlib.import_module(f"learners.{self.learner}")
        try:
            return module.Config(**self.config)
        except TypeError as error:
            raise DatasetError(
                f"[config] of recipe {self.table!r} does not fit learners.{self.learner}.Config, "
                f"correct its field names: {error}"
            ) from error

    def steps_at(self, budget: float) -> int:
        """Gradient steps at a fraction of the full budget, a whole number of evaluations."""
        if not 0 < budget <= 1:
            raise DatasetError(f"budget must be a fraction in (0, 1], got {budget}")
        return max(1, round(self.steps * budget / self.evaluate_every)) * self.evaluate_every


def load_recipe(name: str) -> Recipe:
    """Reads `recipes/<name>.toml`.

    Raises:
      DatasetError: there is no such recipe, or it is malformed.
    """
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise DatasetError(f"unknown table {name!r}, choose one of: {known}")
    fields = tomllib.loads(path.read_text())
    try:
        rows = tuple(Row(**row) for row in fields.pop("rows"))
        return Recipe(rows=rows, seeds=tuple(fields.pop("seeds")), **fields)
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"recipe {path.name} lacks or misspells a field, correct it: {error}"
        ) from error
