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
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.row import Count, Options, Row, Text
from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError

if TYPE_CHECKING:
    from learners.registry import Entry

FOLDER = pathlib.Path(__file__).parents[1] / "recipes"

IN_FILE = {"kind": "data"}  # options that have another name in a file
OF_A_ROW = {"reported", "dataset", "environment", "algorithm"}  # and not of an algorithm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Algorithm(Options):
    """The fields of an entry of `[[algorithms]]`: see the top.

    Attributes:
      name, only, config_of, row_of: as there.
    """

    name: Text
    only: tuple[str, ...] | None = None
    config_of: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)
    row_of: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)


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
      episodes: of one evaluation; of a game, unless `atari` gives its steps.
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
    atari: AtariProtocol = dataclasses.field(default_factory=AtariProtocol)
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
            learner=row.learning.learner or self.learner,
            batch_size=row.learning.batch_size or self.batch_size,
            config={**self.config, **row.learning.config},
        )

    def behavior_row(self, row: Row) -> Row:
        """The row whose run gives a row's behaviour policy.

        Raises:
          DatasetError: there is none on its data.
        """
        wanted = row.learning.behavior, row.data.dataset
        for other in self.rows:
            if (other.learning.algorithm, other.data.dataset) == wanted:
                return other
        raise DatasetError(
            f"row {row.name!r} starts from the behaviour policy of {row.learning.behavior!r} on "
            f"{row.data.dataset}, and recipe {self.table!r} has no such row: add it"
        )

    def entry(self) -> Entry:
        """Its learner's.

        Raises:
          DatasetError: there is no such learner.
        """
        if self.learner not in learners():
            raise DatasetError(
                f"{self.file}: learner is {self.learner!r}, which is no learner: choose "
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
        if discount is None and row.data.n_step > 1:
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
        for name in row.scoring.policies:
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
            f"there is no recipe {name!r}: name one of {known}, or a file of your own, x.toml"
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
        _options(Options, row, f"{where}, [[rows]] {number}", {"algorithm"}, named)
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


def _options(
    kind: type[Options],
    table: dict[str, Any],
    where: str,
    without: Collection[str],
    reported: str = "reported",
) -> dict[str, Any]:
    """The options in a table of the file, by their fields."""
    return toml_tables.check(kind, table, where, {**IN_FILE, "reported": reported}, without)


def _rows_of(table: dict[str, Any], rows: Sequence[Mapping[str, Any]], where: str) -> Iterator[Row]:
    """The rows of one entry of `[[algorithms]]`."""
    algorithm = _options(Algorithm, table, where, OF_A_ROW)
    only = algorithm.pop("only", None)
    config_of, row_of = algorithm.pop("config_of", {}), algorithm.pop("row_of", {})
    name, variant = algorithm.pop("name"), algorithm.pop("variant", "")
    config = algorithm.pop("config", {})
    reported = [row["reported"] for row in rows]
    for of in [*(only or ()), *config_of, *row_of]:
        if of not in reported:
            nearest = difflib.get_close_matches(of, reported, 1, 0)[0]
            raise DatasetError(f"{where} names a row {of!r}: did you mean {nearest!r}?")
    for row in rows:
        of = row["reported"]
        without = {*OF_A_ROW, "variant", "config"}
        options = algorithm | _options(Options, row_of.get(of, {}), f"{where}, row_of", without)
        options["config"] = {**config, **config_of.get(of, {})}
        if twice := sorted(options.keys() & row.keys()):
            name_of = IN_FILE.get(twice[0], twice[0])
            raise DatasetError(f"{where} and its row {of!r} both give {name_of}: give it once")
        variants = [each for each in (variant, row.get("variant", "")) if each]
        options |= {"algorithm": name, "variant": "/".join(variants)}
        if only is None or of in only:
            yield _row({**row, **options, "reported": f"{name}/{of}"}, where)


def _row(values: Mapping[str, Any], where: str) -> Row:
    try:
        return Row.of(**values)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error
