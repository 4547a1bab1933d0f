"""Measures a table: plans its runs, trains what is not done, and writes the report."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from benchmarks.tables import console, report, results_folder
from benchmarks.tables.reported import load_table, table_names
from benchmarks.training.cells import Cell, plan, read_runs, with_behaviors
from benchmarks.training.parts import Part, divide
from benchmarks.training.preparation import DEFAULT_TEACHERS_DIR, Places, check
from benchmarks.training.processes import run_in_processes
from benchmarks.training.recipe import load_recipe, recipe_names
from benchmarks.training.row import Row
from benchmarks.training.runner import run_cells
from rl_datasets import files, staging
from rl_datasets.errors import DatasetError
from rl_datasets.files import DEFAULT_DATA_DIR
from rl_datasets.published import names

REPORT_SECONDS = 300.0


def reproduce(
    table: str,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    budget: float = 1.0,
    data_dir: str | os.PathLike[str] = DEFAULT_DATA_DIR,
    runs_dir: pathlib.Path | str = ".runs",
    processes: int = 1,
    seeds_at_once: int = 1,
    feed: str = "arrays",
    results_dir: pathlib.Path | str | None = None,
    dry_run: bool = False,
    teachers_dir: pathlib.Path | str = DEFAULT_TEACHERS_DIR,
    part: Part | None = None,
) -> pathlib.Path | None:
    """Measures a table: runs what is not done, continues what was cut, writes the report.

    Args:
      table: the recipe's name, such as `brac_bc`, or the path of your own recipe, a `.toml` file.
      rows: names of its rows, or patterns such as `CQL/*`; by default every row that can be run and
        has a published dataset.
      seeds: the seeds to run; by default all of the recipe's.
      budget: the fraction of the recipe's gradient steps to take. Results at a smaller budget are
        kept in their own folder; a larger budget continues their runs. Behaviour policies are
        always trained in full.
      data_dir: the folder of the published datasets.
      runs_dir: the folder of the runs.
      processes: number of processes, each on one core; 1 runs in this process, on all cores.
      seeds_at_once: number of seeds of a row trained in one `vmap`.
      feed: see `Places`.
      results_dir: the folder to write the report to; seeds that it holds in full are not run again.
        By default a folder beside the runs.
      dry_run: whether to only say what would run and refuse what could not.
      teachers_dir: the folder below which the teachers are that rows name.
      part: the share of the table's cells to run; None runs all. The report has what the folder of
        the runs holds, of whatever part.

    Returns:
      The path of the report's page; None after a dry run, or if no recipe measures the table.

    Raises:
      DatasetError: something the user can fix, such as a row that does not exist.
    """
    if table in table_names() and table not in recipe_names():
        console.show_reported(load_table(table), "no recipe of this name measures it")
        return None
    places = Places(os.fspath(data_dir), pathlib.Path(runs_dir), feed, pathlib.Path(teachers_dir))
    recipe = load_recipe(table)
    report.reported_of(recipe)  # refuses a row that the table does not have
    cells = plan(recipe, rows, seeds, budget)
    if part is not None:
        share = set(divide(plan(recipe, budget=budget), part.of)[part.number - 1])
        cells = [cell for cell in cells if cell in share]
        if not cells:
            raise DatasetError(
                f"part {part} of {table} has none of the rows and seeds that were asked for: ask "
                "for others, or for fewer parts"
            )
    left_out = {row: row.blocked for row in recipe.rows if row.blocked}
    if not rows:
        absent = _absent(cells, places.data_dir)
        cells = [cell for cell in cells if cell.row not in absent]
        left_out.update(absent)
    results_dir = None if results_dir is None else pathlib.Path(results_dir)
    if results_dir is not None:
        files.check_can_write(results_dir)
        results_folder.adopt(plan(recipe, budget=budget), results_dir, places.runs_dir)
    runs = with_behaviors(cells)
    begun = read_runs(runs, places.runs_dir)
    console.show_plan(begun, left_out, rows_follow=dry_run)
    every_cell, asked_for = plan(recipe, budget=budget), {cell.row.name for cell in cells}
    if dry_run:
        report.show(recipe, read_runs(every_cell, places.runs_dir), budget, asked_for)
    check(runs, places, seeds_at_once)
    if dry_run:
        return None
    with console.progress(begun) as progress:
        for starts_from_another in (False, True):  # runs that others start from finish first
            wave = [cell for cell in runs if (cell.behavior is not None) is starts_from_another]
            if processes == 1:
                run_cells(wave, places, progress, seeds_at_once)
            elif wave:
                run_in_processes(processes, wave, places, progress, seeds_at_once)
    results_dir = results_dir or every_cell[0].table_folder(places.runs_dir) / "results"
    beside = results_dir.with_name(f".{results_dir.name}.lock")
    with staging.lock(beside, f"writing {results_dir}", REPORT_SECONDS):  # Parts may share it.
        measured = read_runs(every_cell, places.runs_dir)
        page = report.export(recipe, measured, places.data_dir, results_dir)
    report.show(recipe, measured, budget, asked_for)
    console.show_page(page)
    return page


def first_seeds(table: str, number: int) -> list[int]:
    """The first `number` seeds of a table's recipe.

    Raises:
      DatasetError: the recipe has fewer seeds.
    """
    seeds = load_recipe(table).seeds
    if number > len(seeds):
        raise DatasetError(f"recipe {table!r} has {len(seeds)} seeds: ask for at most that many")
    return list(seeds[:number])


def _absent(cells: Sequence[Cell], data_dir: str | os.PathLike[str]) -> dict[Row, str]:
    """Rows without a published dataset, each with the reason; empty if no row has one."""
    rows = dict.fromkeys(cell.row for cell in cells)
    absent = {
        row: f"{data_dir}/{row.data.version_path}"
        for row in rows
        if not names.is_published(row.data.version_path, data_dir)
    }
    if len(absent) == len(rows):
        return {}
    if (count := len({*absent.values()})) > console.MOST_LISTED:
        return dict.fromkeys(absent, f"{count:,} datasets are not published in {data_dir}")
    return {row: f"{folder} is not published" for row, folder in absent.items()}
