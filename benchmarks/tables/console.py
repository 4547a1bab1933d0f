"""What the runner shows on a terminal: the tables, the plan, where each running cell stands."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

import rich.box
import rich.markup
import rich.progress
import rich.table

from benchmarks.tables.comparison import Comparison
from benchmarks.tables.game_tables import Block, blocks_over_games, reported_blocks
from benchmarks.tables.reported import ReportedTable, load_table, table_names
from benchmarks.tables.scores import KINDS, NAMES, formatted, kinds
from benchmarks.training.cells import Cell, Progress, Results, seeds_of_rows, step_reached
from benchmarks.training.estimate import duration
from benchmarks.training.recipe import load_recipe, recipe_names
from benchmarks.training.row import Row
from rl_datasets.terminal import show

NAME_WIDTH = 28  # of rows, in characters, up to which they are not broken
MOST_LISTED = 50  # rows that a user reads one by one


def show_tables() -> None:
    """Prints every table that there is, and what of it can be measured here."""
    shown = rich.table.Table()
    shown.add_column("name", no_wrap=True)  # It is typed again, so nothing of it may be cut.
    for heading in ("table", "rows reported", "rows to run", "seeds"):
        shown.add_column(heading)
    recipes = [(name, load_recipe(name)) for name in recipe_names()]
    for name, recipe in recipes:
        valued = _valued(load_table(recipe.table)) if recipe.is_reported else "none"
        can_run = sum(not row.blocked for row in recipe.rows)
        shown.add_row(name, recipe.title, valued, f"{can_run:,}", f"{len(recipe.seeds):,}")
    for name in sorted({*table_names()} - {recipe.table for _, recipe in recipes}):
        table = load_table(name)
        shown.add_row(name, table.title, _valued(table), "reported alone", "")
    show(shown)
    show("`rl-datasets reproduce NAME --dry-run` says what a table would run, and for how long")


def _valued(table: ReportedTable) -> str:
    return f"{sum(bool(row.scores) for row in table.rows.values()):,} of {len(table.rows):,}"


def show_plan(
    runs: Mapping[Cell, Results],
    left_out: Mapping[Row, str] | None = None,
    rows_follow: bool = False,
) -> None:
    """Prints what is done, what is left and, where results at hand tell, how long that takes.

    The plan has a line for each row; or for each algorithm, if there are many rows or if they
    follow in another table.

    Args:
      runs: the cells that are to be run, and the lines of their runs so far.
      left_out: rows that are not run, and why.
      rows_follow: whether each row is shown after the plan.
    """
    table = rich.table.Table("row", "dataset", "seeds", "steps done", "of")
    of_rows = seeds_of_rows(runs)
    by_algorithm = rows_follow or len(of_rows) > MOST_LISTED
    lines = _by_algorithm(runs) if by_algorithm else of_rows
    for cells in lines:
        rows = dict.fromkeys(cell.row for cell in cells)
        datasets = dict.fromkeys(row.data.dataset for row in rows)
        seeds = dict.fromkeys(cell.seed for cell in cells)
        done = sum(step_reached(runs[cell]) for cell in cells)
        table.add_row(
            _of_group(rows),
            min(datasets) if len(datasets) == 1 else f"{len(datasets):,} datasets",
            " ".join(map(str, seeds)),
            f"{done:,}",
            f"{sum(cell.steps for cell in cells):,}",
        )
    show(table)
    if len(of_rows) > MOST_LISTED:
        show(f"{len(of_rows):,} rows: name some with --rows to see them one by one")
    for why in dict.fromkeys((left_out or {}).values()):
        names = [row.name for row, of_row in (left_out or {}).items() if of_row == why]
        if len(names) > MOST_LISTED:
            names = [*names[:3], f"and {len(names) - 3:,} more"]
        show(f"left out, because {rich.markup.escape(why + ': ' + ', '.join(names))}")
    left = sum(cell.steps - step_reached(results) for cell, results in runs.items())
    show(f"{left:,} gradient steps left{duration(runs)}")


def _by_algorithm(runs: Mapping[Cell, Results]) -> list[list[Cell]]:
    """The cells of each algorithm whose batches are drawn alike."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in runs:
        of = cell.row.learning.algorithm, cell.row.data.drawing
        groups.setdefault(of, []).append(cell)
    return list(groups.values())


def _of_group(rows: Collection[Row]) -> str:
    """The name of a row, or what several rows of an algorithm have in common."""
    first = next(iter(rows))
    if len(rows) == 1:
        return first.name
    common = ", ".join(filter(None, [first.learning.algorithm, first.data.drawing]))
    return f"{common}: {len(rows):,} rows" if common else f"{len(rows):,} rows"


def show_scores(table: ReportedTable, comparisons: Sequence[Comparison], left_out: int) -> None:
    """Prints what was reported beside what was measured, a line a row; how many were left out."""
    if comparisons:
        _show_rows(table, comparisons)
    if left_out:
        show(f"rows that were not run: {left_out:,}")


def _show_rows(table: ReportedTable, comparisons: Sequence[Comparison]) -> None:
    columns = kinds(comparisons)
    shown = rich.table.Table(title=table.title)
    longest = max((len(row.row.name) for row in comparisons), default=0)
    shown.add_column("row", overflow="fold", no_wrap=longest <= NAME_WIDTH)
    for heading in ("reported", *(KINDS[kind][0] for kind in columns)):
        shown.add_column(heading, overflow="fold", justify="right")
    shown.add_column("status", overflow="fold")
    for row in comparisons:
        kind = row.row.data.kind
        measured = [formatted(table, row.measured) if kind == of else "" for of in columns]
        why = f" ({row.why})" if row.measured else ""
        cells = row.row.name, formatted(table, row.reported) or "none", *measured, row.status + why
        shown.add_row(*map(rich.markup.escape, cells))
    show(shown)


def show_reported(table: ReportedTable, why_alone: str) -> None:
    """Prints a table as it was reported, why no more is shown, and what is wrong with it."""
    show(rich.markup.escape(f"{table.title}: {' '.join(table.metric.split())}"))
    show(f"reported alone: {why_alone}")
    if not table.exact:
        show("not exact: see what its source and its known defects say")
    of_games = table.games or table.over_games
    blocks = reported_blocks(table) if of_games else [_rows_reported(table)]
    for block in (*blocks, *blocks_over_games(table)):
        show_block(block)
    for dataset, why in table.doubtful_datasets.items():
        show(f"doubtful: {rich.markup.escape(f'{dataset}: {why}')}")
    for defect in table.defects:
        show(f"known defect: {rich.markup.escape(defect)}")
    for algorithm, defects in table.defects_of.items():
        for defect in defects:
            show(f"known defect of {rich.markup.escape(f'{algorithm}: {defect}')}")


def _rows_reported(table: ReportedTable) -> Block:
    """A line a row, a column a statistic."""
    statistics = list(dict.fromkeys(s for row in table.rows.values() for s in row.scores))
    lines = [
        [row.name, *(formatted(table, row.scores.get(statistic)) for statistic in statistics)]
        for row in table.rows.values()
    ]
    return Block("reported", ["row", *(NAMES[statistic] for statistic in statistics)], lines)


def show_block(block: Block) -> None:
    """Prints a block of text as a table, narrow enough for a terminal of 80 columns."""
    shown = rich.table.Table(
        title=block.title,
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, heading in enumerate(block.header):
        side: Literal["left", "right"] = "right" if index else "left"
        shown.add_column(rich.markup.escape(heading), justify=side, overflow="fold")
    for line in block.lines:
        shown.add_row(*map(rich.markup.escape, line))
    show(shown)
    show("")


def show_page(path: pathlib.Path) -> None:
    """Prints where a report is, on a line of its own that a terminal does not break."""
    show(f"report: [link={path.resolve().as_uri()}]{path}[/link]")


@contextlib.contextmanager
def progress(runs: Mapping[Cell, Results]) -> Iterator[Progress]:
    """A bar over all cells, and one for each cell at work.

    Args:
      runs: the cells, and the lines of their runs so far.
    """
    columns = (
        "[progress.description]{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        _RateColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    reached = {cell: step_reached(results) for cell, results in runs.items()}
    with rich.progress.Progress(*columns, speed_estimate_period=60) as bars:
        total = bars.add_task(
            "all", total=sum(cell.steps for cell in runs), completed=sum(reached.values())
        )
        tasks: dict[Cell, rich.progress.TaskID] = {}

        def report(cell: Cell, step: int) -> None:
            if cell not in tasks:
                tasks[cell] = bars.add_task(cell.name, total=cell.steps, completed=reached[cell])
            bars.update(tasks[cell], completed=step)
            bars.advance(total, max(0, step - reached[cell]))
            reached[cell] = max(step, reached[cell])
            if step == cell.steps:
                bars.remove_task(tasks[cell])

        yield report


class _RateColumn(rich.progress.ProgressColumn):
    def render(self, task: rich.progress.Task) -> str:
        return f"{task.speed:,.0f} steps/s" if task.speed else ""
