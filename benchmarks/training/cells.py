"""The cells of a table, which the runner trains: one row and one seed each."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import glob
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.training.online_options import OnlineOptions
from benchmarks.training.recipe import Recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import Row
from rl_datasets.errors import DatasetError

Results = Sequence[dict[str, Any]]  # lines, in order


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row and one seed of a table at a fraction of its full budget.

    Attributes:
      recipe: the recipe with the row's own settings (`Recipe.of`).
      row: the row.
      seed: the seed.
      budget: the fraction.
      behavior: the cell whose policy is the behaviour policy that this one starts from. It always
        has the full budget, because a behaviour policy is a given, like the data.
    """

    recipe: Recipe
    row: Row
    seed: int
    budget: float = 1.0
    behavior: Cell | None = None

    @property
    def name(self) -> str:
        return f"{self.row.name} {self.recipe.learner} seed {self.seed}"

    @property
    def online(self) -> OnlineOptions | None:
        """How the run continues in its game; None where it does not."""
        return self.recipe.online_options(self.row)

    @property
    def online_cell(self) -> Cell | None:
        """The cell with the learner and the transitions of the online phase, if it has one."""
        if self.online is None:
            return None
        recipe = self.recipe.online_recipe(self.row, self.online)
        return dataclasses.replace(self, recipe=recipe, row=recipe.rows[0])

    @property
    def offline_ends(self) -> range:
        """The gradient steps at which the offline phase is evaluated, at this budget."""
        every = self.recipe.evaluate_every
        if self.online is not None and self.online.skips_offline:
            return range(0)
        return range(every, self.recipe.steps_at(self.budget) + 1, every)

    @property
    def online_ends(self) -> range:
        """The steps of the run at which the online phase is evaluated, at this budget."""
        if self.online is None:
            return range(0)
        before, every = max(self.offline_ends, default=0), self.online.steps_per_iteration
        iterations = self.online.iterations_at(self.budget)
        return range(before + every, before + iterations * every + 1, every)

    @property
    def evaluations(self) -> list[int]:
        """The steps at which the run is evaluated."""
        return [*self.offline_ends, *self.online_ends]

    @property
    def steps(self) -> int:
        """All steps of the run at this budget."""
        return self.evaluations[-1]

    def learner_config(self) -> Any:
        """The learner's `Config`; a decay that the recipe does not set lasts for the whole run."""
        config = self.recipe.learner_config()
        decays = getattr(config, "policy_decay_steps", None) is not None
        if decays and "policy_decay_steps" not in self.recipe.config:
            return dataclasses.replace(config, policy_decay_steps=self.steps)
        return config

    def extras(self) -> tuple[str, ...]:
        """Names of the extras of a transition that the learner reads."""
        return self.recipe.entry().extras(self.learner_config())

    def table_folder(self, runs_dir: pathlib.Path) -> pathlib.Path:
        """The folder of the recipe's runs; each smaller budget has its own folder."""
        at_budget = "" if self.budget == 1 else f"-budget-{self.budget:g}"
        return runs_dir / f"{self.recipe.table}{at_budget}"

    def folder(self, runs_dir: pathlib.Path) -> pathlib.Path:
        """The folder of this cell's run."""
        folder = self.table_folder(runs_dir) / self.row.data.version_path
        if self.row.data.split != "all":
            folder /= self.row.data.split
        if self.row.data.share < 1:
            folder /= f"share-{self.row.data.share:g}-seed-{self.row.data.share_seed}"
        folder /= self.recipe.learner
        if self.row.learning.algorithm or self.row.variant:
            folder /= f"{self.row.learning.algorithm} {self.row.variant}".strip().replace("/", " ")
        return folder / f"seed-{self.seed}"

    def at_other_budgets(self, runs_dir: pathlib.Path) -> list[pathlib.Path]:
        """The folders that may hold runs of this cell at other budgets."""
        folder = self.folder(runs_dir).relative_to(self.table_folder(runs_dir))
        tables = runs_dir.glob(f"{glob.escape(self.recipe.table)}-budget-*")
        return sorted(table / folder for table in tables if table != self.table_folder(runs_dir))

    def results(self, runs_dir: pathlib.Path) -> Results:
        """The lines of the run so far."""
        return read_results(self.folder(runs_dir) / RESULTS)

    def is_done(self, runs_dir: pathlib.Path) -> bool:
        return step_reached(self.results(runs_dir)) >= self.steps


def evaluations_of(recipe: Recipe, row: Row, budget: float) -> list[int]:
    """The steps at which a run of a row is evaluated, whatever its seed."""
    return Cell(recipe.of(row), row, recipe.seeds[0], budget).evaluations


def read_runs(cells: Iterable[Cell], runs_dir: pathlib.Path) -> dict[Cell, Results]:
    """The lines of every cell's run so far, read once to show and to compare them."""
    return {cell: cell.results(runs_dir) for cell in cells}


def step_reached(results: Results) -> int:
    """The step of a run's last evaluation, 0 before the first."""
    return results[-1]["step"] if results else 0


def plan(
    recipe: Recipe,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    budget: float = 1.0,
) -> list[Cell]:
    """The cells of a recipe, row by row.

    Args:
      recipe: the recipe, from `load_recipe`.
      rows: names of its rows, or patterns such as `CQL/*`; by default all that can be run.
      seeds: the seeds to run; by default all.
      budget: the fraction of its gradient steps to take.

    Raises:
      DatasetError: the recipe has no such row or seed; a row cannot be run, or its learner does not
        exist or does not take its config or policies; or the budget is outside (0, 1].
    """
    chosen = [row for row in recipe.rows if not row.blocked]
    if rows:
        chosen = [row for pattern in rows for row in _matching(recipe, pattern)]
    seeds = list(recipe.seeds if seeds is None else seeds)
    for seed in seeds:
        if seed not in recipe.seeds:
            raise DatasetError(
                f"recipe {recipe.table!r} has no seed {seed}: choose from {[*recipe.seeds]}"
            )
    recipe.steps_at(budget)
    for row in chosen:
        recipe.of(row).check_learner(row)
    seeds = list(dict.fromkeys(seeds))
    return [_cell(recipe, row, seed, budget) for row in dict.fromkeys(chosen) for seed in seeds]


def _cell(recipe: Recipe, row: Row, seed: int, budget: float) -> Cell:
    behavior = _cell(recipe, recipe.behavior_row(row), seed, 1.0) if row.learning.behavior else None
    return Cell(recipe.of(row), row, seed, budget, behavior)


def with_behaviors(cells: Iterable[Cell]) -> list[Cell]:
    """The cells, after the cells whose policies they start from."""
    cells = list(cells)
    return list(dict.fromkeys([cell.behavior for cell in cells if cell.behavior] + cells))


def seeds_of_rows(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells, in groups whose cells differ only in their seed."""
    groups: dict[tuple[Row, float], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.row, cell.budget), []).append(cell)
    return list(groups.values())


def _matching(recipe: Recipe, pattern: str) -> list[Row]:
    found = [row for row in recipe.rows if fnmatch.fnmatchcase(row.name, pattern)]
    can_run = [row for row in found if not row.blocked]
    if not found:
        known = [row.name for row in recipe.rows]
        nearest = ", ".join(difflib.get_close_matches(pattern, known, 3, 0))
        raise DatasetError(
            f"recipe {recipe.table!r} has no row {pattern!r}; the nearest of {len(known)} are "
            f"{nearest}: choose one, or list all rows with --dry-run"
        )
    if not can_run:
        raise DatasetError(f"row {found[0].name!r} cannot be run: {found[0].blocked}")
    return can_run


Progress = Callable[[Cell, int], None]  # called with a cell and the step that it has reached
