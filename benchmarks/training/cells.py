"""The cells of a table: one row and one seed each, which is what the runner runs."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import glob
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.training.recipe import Recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import Row
from rl_datasets.errors import DatasetError

Results = Sequence[dict[str, Any]]  # lines, in order


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row and one seed of a table at a fraction of its full budget.

    Attributes:
      recipe: as the row has it (`Recipe.of`).
      row: of the recipe.
      seed: of the run.
      budget: the fraction.
      behavior: the cell whose policy this one starts from, as its behaviour policy; always at the
        full budget, because a behaviour policy is given, as the data are.
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
    def steps(self) -> int:
        """Gradient steps at this budget."""
        return self.recipe.steps_at(self.budget)

    def learner_config(self) -> Any:
        """The learner's `Config`; a decay that the recipe leaves alone lasts as long as the run."""
        config = self.recipe.learner_config()
        decays = getattr(config, "policy_decay_steps", None) is not None
        if decays and "policy_decay_steps" not in self.recipe.config:
            return dataclasses.replace(config, policy_decay_steps=self.steps)
        return config

    def extras(self) -> tuple[str, ...]:
        """Names of a transition's extras that the learner reads."""
        return self.recipe.entry().extras(self.learner_config())

    def table_folder(self, runs_dir: pathlib.Path) -> pathlib.Path:
        """The folder of the recipe's runs; those at a smaller budget have a folder of their own."""
        at_budget = "" if self.budget == 1 else f"-budget-{self.budget:g}"
        return runs_dir / f"{self.recipe.table}{at_budget}"

    def folder(self, runs_dir: pathlib.Path) -> pathlib.Path:
        """The folder of this cell's run."""
        folder = self.table_folder(runs_dir) / self.row.data.version_path
        if self.row.data.split != "all":
            folder /= self.row.data.split
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
        """The lines of its run so far."""
        return read_results(self.folder(runs_dir) / RESULTS)

    def is_done(self, runs_dir: pathlib.Path) -> bool:
        return step_reached(self.results(runs_dir)) >= self.steps


def read_runs(cells: Iterable[Cell], runs_dir: pathlib.Path) -> dict[Cell, Results]:
    """The lines of every cell's run so far, read once for all who show or compare them."""
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
      recipe: as `load_recipe` gives it.
      rows: names of its rows, or patterns such as `CQL/*`; by default all that can be run.
      seeds: all by default.
      budget: the fraction of its gradient steps.

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
    """The cells, preceded by those whose policies they start from."""
    cells = list(cells)
    return list(dict.fromkeys([cell.behavior for cell in cells if cell.behavior] + cells))


def seeds_of_rows(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells in groups that differ only in their seed."""
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
            f"{nearest}, and a dry run lists them all"
        )
    if not can_run:
        raise DatasetError(f"row {found[0].name!r} cannot be run: {found[0].blocked}")
    return can_run


Progress = Callable[[Cell, int], None]  # told the step that a cell has come to
