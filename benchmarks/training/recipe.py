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
import difflib
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError

if TYPE_CHECKING:
    from learners.registry import Entry

FOLDER = pathlib.Path(__file__).parents[1] / "recipes"

# What a row's data are to those that its reported value was measured on.
PUBLISHED: Final = "published"  # the same files
AGAIN: Final = "collected again"  # by the publisher's own policies: compared, and said to be
OWN: Final = "own"  # of this project's own policies, or by any other rule: stands apart

RETURN_RANGE = "1000 / return range"  # IQL's `reward_scale`: 1000 / (highest - lowest return)

# How a row's data are read as transitions.
CORRECTED: Final = "corrected"  # every transition that they hold
QLEARNING_DATASET: Final = "qlearning_dataset"  # as D4RL's function of that name gives them
AS_STORED: Final = "as_stored"  # rewards where RL Unplugged's files have them, a row early

# Of a row whose learner meets transitions as they are served.
AS_SERVED = {
    "normalize_observations": False,
    "reward_scale": 1.0,
    "reward_bias": 0.0,
    "reading": CORRECTED,
    "across_time_limits": False,
}

Text = Annotated[str, "[1, inf)"]
Count = Annotated[int, "[1, inf)"]
_VERSION = re.compile(r"\w[^/:]*/\w[^/:]*:\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What one row, or all of an algorithm's, may say of its own.

    Attributes:
      split: what of the dataset is trained on: a split, several joined by `+`, or `all`.
      data: what its data are to the reported ones: `PUBLISHED`, `AGAIN` or `OWN`; where it is left
        out, `OWN` if the dataset's name says that it was collected again, else `PUBLISHED`.
      variant: what sets it apart from the other rows beside the same reported one.
      learner, batch_size: the recipe's where they are left out.
      config: fields of the learner's `Config` beside those of the recipe.
      n_step: rewards in a transition; they end where an episode does.
      reading: of the data, `CORRECTED`, `QLEARNING_DATASET` (`rl_datasets.serving.d4rl`), or, of
        episodes of RL Unplugged's games, `AS_STORED`.
      across_time_limits: a defect of Tianshou's: a transition's rewards continue after a time limit
        (`rl_datasets.serving.time_limits.across_time_limits`).
      normalize_observations: whether the learner gets them minus their mean in the data,
        divided by their deviation.
      reward_scale, reward_bias: the learner gets scale * reward + bias; a scale of
        `RETURN_RANGE` depends on the data. Scores are of the environment's own rewards.
      policies: of the learner's, those that are scored; the first is compared.
      behavior: the algorithm whose run in full, on the same data and seed, gives the behaviour
        policy that the learner starts from; "" where it needs none.
      blocked: why it cannot be run; "" where it can.
      in_another_environment: whether it is meant to be scored elsewhere than where its data were
        collected, which is else refused.
    """

    split: Text = "all"
    data: Literal["", "published", "collected again", "own"] = ""
    variant: str = ""
    learner: str = ""
    batch_size: Annotated[int, "[0, inf)"] = 0
    config: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    n_step: Count = 1
    reading: Literal["corrected", "qlearning_dataset", "as_stored"] = CORRECTED
    across_time_limits: bool = False
    normalize_observations: bool = False
    reward_scale: Annotated[float, "(0, inf)"] | Literal["1000 / return range"] = 1.0
    reward_bias: float = 0.0
    policies: Annotated[tuple[Text, ...], "[1, inf)"] = ("act",)
    behavior: str = ""
    blocked: str = ""
    in_another_environment: bool = False


@dataclasses.dataclass(frozen=True)
class Row(Options):
    """One row of a table.

    Attributes:
      reported: the row of the reported table that this one stands beside, or its name.
      dataset: `builder/config:version`.
      environment: where the policy is evaluated: gymnasium's name, or a game as DQN Replay spells
        it, such as `Pong`.
      algorithm: the entry of `[[algorithms]]` that it is of; "" in a recipe of one algorithm.
    """

    reported: Text
    dataset: Text
    environment: Text
    algorithm: str = ""

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.dataset):
            raise DatasetError(
                f"row {self.reported!r} names its dataset {self.dataset!r}, "
                "write it as builder/config:version"
            )
        if len({*self.policies}) < len(self.policies):
            raise DatasetError(
                f"row {self.reported!r} names a policy twice in {[*self.policies]}: leave out one"
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

    def _check_reading(self) -> None:
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
        name, _, version = self.dataset.partition(":")
        return pathlib.PurePath(name) / version


@dataclasses.dataclass(frozen=True)
class Algorithm(Options):
    """An entry of `[[algorithms]]`: see the top.

    Attributes:
      name, only, config_of, row_of: as there.
    """

    name: Text
    only: tuple[str, ...] | None = None
    config_of: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)
    row_of: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class AtariProtocol:
    """How games are scored; defaults are of Agarwal et al. 2020, arXiv:1907.04543.

    Attributes:
      evaluation_epsilon: probability of a random action in an evaluation.
      max_episode_steps: of an evaluation, in agent steps of four frames.
    """

    evaluation_epsilon: Annotated[float, "[0, 1]"] = 0.001
    max_episode_steps: Count = 27_000


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a table is reproduced.

    Attributes:
      title: of the report.
      table: name of the reported table; of a recipe beside none, its own.
      learner: the name of one of `learners()`.
      seeds: of the runs of one row.
      steps: gradient steps of one run at the full budget.
      batch_size: transitions a gradient step.
      evaluate_every: gradient steps between evaluations.
      episodes: of one evaluation.
      rows: of the table.
      config: fields of the learner's `Config` that differ from its defaults.
      atari: of the rows whose environment is a game.
      is_reported: whether there is a reported table.
      file: what errors call it.
    """

    title: Text
    table: Text
    learner: str
    seeds: Annotated[tuple[Annotated[int, "[0, 4294967295]"], ...], "[1, inf)"]
    steps: Count
    batch_size: Count
    evaluate_every: Count
    episodes: Count
    rows: tuple[Row, ...]
    config: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    atari: AtariProtocol = AtariProtocol()
    is_reported: bool = True
    file: str = "the recipe"

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if twice := {name for name in names if names.count(name) > 1}:
            raise DatasetError(f"there are two rows {min(twice)!r}: give one of them a variant")
        if len(set(self.seeds)) < len(self.seeds):
            raise DatasetError(f"seeds names one twice, {list(self.seeds)}: leave out the second")
        if self.steps % self.evaluate_every:
            raise DatasetError(
                f"steps must be a multiple of evaluate_every, {self.evaluate_every}, got "
                f"{self.steps}: an evaluation ends a run"
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

    def entry(self) -> Entry:
        """Its learner's.

        Raises:
          DatasetError: there is no such learner.
        """
        if self.learner not in learners():
            raise DatasetError(
                f"{self.file}: learner is {self.learner!r}, and there is none of that name: choose "
                f"from {', '.join(learners())}"
            )
        return learners()[self.learner]

    def learner_config(self) -> Any:
        """The learner's `Config`, with this recipe's overrides.

        Raises:
          DatasetError: there is no such learner, or they do not fit its `Config`.
        """
        where = f"{self.file}, config of {self.learner}"
        return toml_tables.build(self.entry().config, self.config, where)

    def discount(self, row: Row) -> float:
        """The learner's, by which a transition's rewards are summed; 1 where it has none.

        Raises:
          DatasetError: it has none, and the row's transitions have several rewards.
        """
        discount = getattr(self.learner_config(), "discount", None)
        if discount is None and row.n_step > 1:
            raise DatasetError(
                f"row {row.name!r} has an n_step, and learner {self.learner} does not discount "
                "rewards: leave it out"
            )
        return 1.0 if discount is None else float(discount)

    def check_learner(self, row: Row) -> None:
        """Refuses a row that its learner, as `of` gives it, cannot be made for.

        Raises:
          DatasetError: as `learner_config`, or the learner has no such policy.
        """
        self.learner_config()
        known = self.entry().policies
        for name in row.policies:
            if name not in known:
                raise DatasetError(
                    f"{self.file}: learner {self.learner} has no policy {name}, which row "
                    f"{row.name!r} asks for: use {' or '.join(known)}"
                )

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
    where = name if name.endswith(".toml") else path.name
    content = toml_tables.read_toml(path)
    is_reported = "table" in content
    if not is_reported:
        content = {"table": path.stem, **content}
    rows = _rows("reported" if is_reported else "name", content, where)
    atari = toml_tables.build(AtariProtocol, content.pop("atari", {}), f"{where}, [atari]")
    return toml_tables.build(
        Recipe,
        {"title": path.stem, "learner": "", **content},
        where,
        rows=rows,
        atari=atari,
        is_reported=is_reported,
        file=where,
    )


def learners() -> Mapping[str, Entry]:
    """Every learner that a recipe may name."""
    from benchmarks.recipes import tianshou  # Brings JAX, which to show scores needs not.
    from learners import registry

    return {**registry.LEARNERS, **tianshou.LEARNERS}


def _rows(named: str, content: dict[str, Any], where: str) -> tuple[Row, ...]:
    """Takes the rows out, each once for every algorithm where there are several (see the top)."""
    rows = [
        toml_tables.check(
            Row, row, f"{where}, [[rows]] {number}", {"reported": named}, ("algorithm",)
        )
        for number, row in enumerate(toml_tables.tables(content, "rows", where), 1)
    ]
    del content["rows"]
    if "algorithms" not in content:
        return tuple(_row(row, where) for row in rows)
    algorithms = toml_tables.tables(content, "algorithms", where)
    del content["algorithms"]
    return tuple(
        row
        for number, algorithm in enumerate(algorithms, 1)
        for row in _rows_of(algorithm, rows, f"{where}, [[algorithms]] {number}")
    )


def _rows_of(table: dict[str, Any], rows: Sequence[Mapping[str, Any]], where: str) -> Iterator[Row]:
    """The rows of one entry of `[[algorithms]]`."""
    algorithm = toml_tables.build(Algorithm, table, where)
    names = [row["reported"] for row in rows]
    for name in [*(algorithm.only or ()), *algorithm.config_of, *algorithm.row_of]:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, 1, 0)[0]
            raise DatasetError(f"{where} names a row {name!r}: did you mean {nearest!r}?")
    own = {"variant", "config"}  # of the algorithm and the row both
    shared = {field.name for field in dataclasses.fields(Options)} - own
    for row in rows:
        name = row["reported"]
        of_row = toml_tables.check(
            Options, algorithm.row_of.get(name, {}), f"{where}, row_of", {}, own
        )
        options = {key: getattr(algorithm, key) for key in shared & table.keys()} | of_row
        options["config"] = {**algorithm.config, **algorithm.config_of.get(name, {})}
        if twice := sorted(options.keys() & row.keys()):
            raise DatasetError(f"{where} and its row {name!r} both give {twice[0]}: give it once")
        variants = [each for each in (algorithm.variant, row.get("variant", "")) if each]
        options |= {"algorithm": algorithm.name, "variant": "/".join(variants)}
        if algorithm.only is None or name in algorithm.only:
            yield _row({**row, **options, "reported": f"{algorithm.name}/{name}"}, where)


def _row(values: Mapping[str, Any], where: str) -> Row:
    try:
        return Row(**values)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error
