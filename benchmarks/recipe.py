"""A recipe: which learner runs on which datasets, for how long, and how it is scored.

The recipes shipped are the files `recipes/*.toml`. One that leaves `table` out stands beside no
reported table, and its rows have a `name` in the place of `reported`: so may a user's own file.

A recipe of several algorithms names them as `[[algorithms]]`; each of its rows then stands for one
row of each of them, `<algorithm>/<reported>`:

    [[algorithms]]
    name = "CQL"                          # as the reported table calls it
    variant = "three-values"              # what sets it apart from another entry of the same name
    learner = "cql"
    config = { num_actions = 1 }
    batch_size = 256                      # the recipe's by default
    only = ["halfcheetah-medium-v2"]      # the rows it has; all by default
    config_of.halfcheetah-medium-v2 = {}  # further fields of single rows
    row_of.halfcheetah-medium-v2 = {}     # what else single rows have of their own
    blocked = "why it cannot be run"
"""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import tomllib
import types
from collections.abc import Mapping, Sequence
from typing import Any

from rl_datasets.errors import DatasetError

FOLDER = pathlib.Path(__file__).parent / "recipes"

# What a row's data are to those that its reported value was measured on.
PUBLISHED = "published"  # the same files
AGAIN = "collected again"  # by the publisher's own policies: compared, and said to be
OWN = "own"  # of this project's own policies, or by any other rule: stands apart

RETURN_RANGE = "1000 / return range"  # IQL's `reward_scale`: 1000 / (highest - lowest return)

# How a row's data are read as transitions.
CORRECTED = "corrected"  # every transition that they hold
QLEARNING_DATASET = "qlearning_dataset"  # as D4RL's function of that name gives them


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
      reported: the row of the reported table that this one stands beside, or its name.
      dataset: `builder/config:version`.
      environment: where the policy is evaluated: gymnasium's name, or a game as DQN Replay spells
        it, such as `Pong`.
      split: what of the dataset is trained on: a split, several joined by `+`, or `all`.
      data: what its data are to the reported ones: `PUBLISHED`, `AGAIN` or `OWN`; where it is left
        out, `OWN` if the dataset's name says that it was collected again, else `PUBLISHED`.
      algorithm: the entry of `[[algorithms]]` that it is of; "" in a recipe of one algorithm.
      variant: what sets it apart from the other rows beside the same reported one.
      learner, batch_size: the recipe's where they are left out.
      config: fields of the learner's `Config` beside those of the recipe.
      n_step: rewards in a transition; they end where an episode does.
      reading: of the data, `CORRECTED` or `QLEARNING_DATASET` (`rl_datasets.serving.d4rl`).
      across_time_limits: a defect of Tianshou's: a transition's rewards run on behind a time limit
        (`rl_datasets.serving.transitions.across_time_limits`).
      normalize_observations: whether the learner meets them less their mean in the data, over
        their deviation.
      reward_scale, reward_bias: the learner meets scale * reward + bias; a scale of
        `RETURN_RANGE` depends on the data. Scores are of the environment's own rewards.
      policy: which one is scored: `act`, or `max_q` where the learner has it.
      behavior: the algorithm whose run in full, on the same data and seed, gives the behaviour
        policy that the learner starts from; "" where it needs none.
      blocked: why it cannot be run; "" where it can.
    """

    reported: str
    dataset: str
    environment: str
    split: str = "all"
    data: str = ""
    algorithm: str = ""
    variant: str = ""
    learner: str = ""
    batch_size: int = 0
    config: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    n_step: int = 1
    reading: str = CORRECTED
    across_time_limits: bool = False
    normalize_observations: bool = False
    reward_scale: float | str = 1.0
    reward_bias: float = 0.0
    policy: str = "act"
    behavior: str = ""
    blocked: str = ""

    def __post_init__(self) -> None:
        if self.n_step < 1 or self.policy not in ("act", "max_q"):
            raise DatasetError(
                f"row {self.reported!r} needs an n_step of at least 1 and a policy that is act or "
                f"max_q, got {self.n_step} and {self.policy!r}"
            )
        if isinstance(self.reward_scale, str) and self.reward_scale != RETURN_RANGE:
            raise DatasetError(
                f"row {self.reported!r} has the reward_scale {self.reward_scale!r}: give a number, "
                f"or {RETURN_RANGE!r}"
            )
        if self.n_step > 1 and (self.reward_scale, self.reward_bias) != (1.0, 0.0):
            raise DatasetError(
                f"row {self.reported!r} rescales sums of {self.n_step} rewards: leave out "
                "reward_scale and reward_bias, or n_step"
            )
        self._check_reading()
        is_published = "-recollected" not in self.dataset
        if not self.data:
            object.__setattr__(self, "data", PUBLISHED if is_published else OWN)
        if self.data == PUBLISHED and not is_published:
            raise DatasetError(
                f"row {self.reported!r} calls {self.dataset} published, but it was collected "
                f"again: write {AGAIN!r} or {OWN!r} as its data"
            )
        if self.data not in (PUBLISHED, AGAIN, OWN):
            raise DatasetError(
                f"row {self.reported!r} has data {self.data!r}: choose {PUBLISHED!r}, {AGAIN!r} or "
                f"{OWN!r}"
            )

    def _check_reading(self) -> None:
        if self.reading not in (CORRECTED, QLEARNING_DATASET):
            raise DatasetError(
                f"row {self.reported!r} has the reading {self.reading!r}: choose {CORRECTED!r} or "
                f"{QLEARNING_DATASET!r}"
            )
        if self.reading == QLEARNING_DATASET and self.split != "all":
            raise DatasetError(
                f"row {self.reported!r} reads the split {self.split!r} as D4RL reads a whole file: "
                "leave out its split or its reading"
            )
        if self.across_time_limits and self.n_step == 1:
            raise DatasetError(
                f"row {self.reported!r} has transitions of one reward, which cross no time limit: "
                "give it an n_step, or leave out across_time_limits"
            )
        if self.reading == QLEARNING_DATASET and self.n_step > 1 and not self.across_time_limits:
            raise DatasetError(
                f"row {self.reported!r} has several rewards in a transition, and D4RL's reading "
                "does not say where time limits were: set across_time_limits, or leave out its "
                "reading"
            )

    @property
    def name(self) -> str:
        """What it is called by; no two rows of a recipe share it."""
        return f"{self.reported}/{self.variant}" if self.variant else self.reported

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
    """How games are scored; defaults are of Agarwal et al. 2020, arXiv:1907.04543.

    Attributes:
      evaluation_epsilon: probability of a random action in an evaluation.
      max_episode_steps: of an evaluation, in agent steps of four frames.
    """

    evaluation_epsilon: float = 0.001
    max_episode_steps: int = 27_000

    def __post_init__(self) -> None:
        if self.max_episode_steps < 1 or not 0 <= self.evaluation_epsilon <= 1:
            raise DatasetError(
                "[atari] of a recipe needs max_episode_steps of at least 1 and an "
                f"evaluation_epsilon in [0, 1], got {self}"
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

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if twice := {name for name in names if names.count(name) > 1}:
            raise DatasetError(
                f"recipe {self.table!r} has two rows {min(twice)!r}: give one of them a variant"
            )

    def of(self, row: Row) -> Recipe:
        """The recipe as one row has it: its learner, its config, its batch size."""
        return dataclasses.replace(
            self,
            learner=row.learner or self.learner,
            batch_size=row.batch_size or self.batch_size,
            config={**self.config, **row.config},
        )

    def behavior_row(self, row: Row) -> Row:
        """The row whose run gives a row's behaviour policy.

        Raises:
          DatasetError: there is none on its data.
        """
        for other in self.rows:
            if other.algorithm == row.behavior and other.dataset == row.dataset:
                return other
        raise DatasetError(
            f"row {row.name!r} starts from the behaviour policy of {row.behavior!r} on "
            f"{row.dataset}, and recipe {self.table!r} has no such row: add it"
        )

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


def recipe_names() -> list[str]:
    """Names of the recipes that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """Reads `recipes/<name>.toml`, or the file of a name that ends in `.toml`.

    Raises:
      DatasetError: there is no such recipe, or it is malformed.
    """
    path = pathlib.Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(recipe_names())
        raise DatasetError(
            f"unknown table {name!r}, choose one of: {known}; or name a recipe's file, x.toml"
        )
    try:
        fields = tomllib.loads(path.read_text())
        is_reported = "table" in fields
        named = "reported" if is_reported else "name"
        return Recipe(
            rows=_rows(named, fields.pop("rows"), fields.pop("algorithms", None)),
            seeds=tuple(fields.pop("seeds")),
            atari=AtariProtocol(**fields.pop("atari", {})),
            is_reported=is_reported,
            **{"table": path.stem, "title": path.stem, "learner": "", **fields},
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise DatasetError(
            f"recipe {path.name} lacks or misspells a field, correct it: {error}"
        ) from error


def _rows(
    named: str, rows: Sequence[dict[str, Any]], algorithms: Sequence[dict[str, Any]] | None
) -> tuple[Row, ...]:
    """The rows, each once for every algorithm where there are several (see the top)."""
    if algorithms is None:
        return tuple(Row(row.pop(named), **row) for row in rows)
    return tuple(
        _row_of(named, dict(row), **algorithm)
        for algorithm in algorithms
        for row in rows
        if row[named] in algorithm.get("only", [row[named]])
    )


def _row_of(
    named: str,
    row: dict[str, Any],
    name: str,
    variant: str = "",
    only: Sequence[str] = (),
    config: Mapping[str, Any] = types.MappingProxyType({}),
    config_of: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({}),
    row_of: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({}),
    **fields: Any,
) -> Row:
    dataset = row.pop(named)
    variants = [v for v in (variant, row.pop("variant", "")) if v]
    return Row(
        f"{name}/{dataset}",
        algorithm=name,
        variant="/".join(variants),
        config={**config, **config_of.get(dataset, {})},
        **{**fields, **row_of.get(dataset, {})},
        **row,
    )
