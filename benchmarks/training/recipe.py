"""A recipe: which learner runs on which datasets, for how long, and how it is scored.

The recipes shipped are the files `recipes/*.toml`. One that leaves `table` out stands beside no
reported table, and its rows have a `name` in the place of `reported`: so may a user's own file.
`recipe_rows.py` says what rows a file has.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.online_options import GuideOptions, OnlineOptions
from benchmarks.training.recipe_rows import rows_in
from benchmarks.training.row import Count, Row, Text
from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError

if TYPE_CHECKING:
    from learners.registry import Entry

FOLDER = pathlib.Path(__file__).parents[1] / "recipes"


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
      online: fields of `OnlineOptions`, of the rows that continue in their game.
      over_games: what of a table over many games its games together stand beside, such as
        `200 iterations`.
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
    online: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    over_games: str = ""
    is_reported: bool = True
    file: str = "the recipe"

    def __post_init__(self) -> None:
        names = collections.Counter(row.name for row in self.rows)
        if twice := [name for name, count in names.items() if count > 1]:
            raise DatasetError(f"there are two rows {min(twice)!r}: give one of them a variant")
        if len(set(self.seeds)) < len(self.seeds):
            raise DatasetError(f"seeds names one twice, {list(self.seeds)}: leave out the second")
        for steps in [self.steps, *(row.learning.steps for row in self.rows)]:
            if steps % self.evaluate_every:
                raise DatasetError(
                    f"steps must be a multiple of evaluate_every, {self.evaluate_every}, got "
                    f"{steps}: an evaluation ends a run"
                )

    def of(self, row: Row) -> Recipe:
        """The recipe as one row has it, of this row alone: its learner, config, batches, steps."""
        return dataclasses.replace(
            self,
            learner=row.learning.learner or self.learner,
            batch_size=row.learning.batch_size or self.batch_size,
            steps=row.learning.steps or self.steps,
            config={**self.config, **row.learning.config},
            rows=(row,),
        )

    def online_options(self, row: Row) -> OnlineOptions | None:
        """How the row continues in its game; None where it does not.

        Raises:
          DatasetError: there are no such options, or they do not go together.
        """
        if row.learning.online is None:
            return None
        where = f"{self.file}, online of row {row.name!r}"
        fields = {**self.online, **row.learning.online}
        guide = fields.pop("guide", None)
        if guide is not None:
            guide = toml_tables.build(GuideOptions, guide, f"{where}, guide")
        return toml_tables.build(OnlineOptions, fields, where, guide=guide)

    def online_recipe(self, row: Row, options: OnlineOptions) -> Recipe:
        """The recipe as the online phase of a row, which `of` gave it, has it."""
        is_another = options.learner not in ("", self.learner)
        data = dataclasses.replace(row.data, n_step=options.n_step or row.data.n_step)
        return dataclasses.replace(
            self,
            learner=options.learner or self.learner,
            config=options.config if is_another else {**self.config, **options.config},
            rows=(dataclasses.replace(row, data=data),),
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
        options = self.online_options(row)
        if options is not None:
            self.online_recipe(row, options).learner_config()
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
    rows = rows_in("reported" if is_reported else "name", content, where)
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
    # They bring JAX, which to show scores needs not.
    from benchmarks.recipes import reincarnating_rl, tianshou
    from learners import registry

    return {**registry.LEARNERS, **reincarnating_rl.LEARNERS, **tianshou.LEARNERS}
