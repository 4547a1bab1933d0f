"""What the runner shows on a terminal: the plan, and where each running cell stands."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import rich
import rich.progress
import rich.table

from benchmarks.results import RESULTS, read_results

if TYPE_CHECKING:
    from benchmarks.cells import Cell, Progress


def show_plan(cells: Sequence[Cell], runs_dir: pathlib.Path) -> None:
    """Prints what is done, what is left and, once a cell was measured, how long that takes."""
    table = rich.table.Table("row", "dataset", "seeds", "steps done", "of")
    left = 0
    for row in dict.fromkeys(cell.row for cell in cells):
        of_row = [cell for cell in cells if cell.row == row]
        reached = [cell.step_reached(runs_dir) for cell in of_row]
        total = sum(cell.steps for cell in of_row)
        left += total - sum(reached)
        seeds = " ".join(str(cell.seed) for cell in of_row)
        table.add_row(row.reported, row.dataset, seeds, f"{sum(reached):,}", f"{total:,}")
    rich.print(table)
    rate = _seconds_a_step(cells, runs_dir)
    rich.print(f"{left:,} gradient steps left" + (f", {_duration(left * rate)}" if rate else ""))


def show_page(path: pathlib.Path) -> None:
    """Prints where a report is, on a line of its own that a terminal does not break."""
    rich.print(f"report: [link={path.resolve().as_uri()}]{path}[/link]")


def _seconds_a_step(cells: Sequence[Cell], runs_dir: pathlib.Path) -> float | None:
    results = [result for cell in cells for result in read_results(cell.folder(runs_dir) / RESULTS)]
    if not results:
        return None
    seconds = sum(sum(result["seconds"].values()) for result in results)
    return seconds / sum(result["evaluate_every"] for result in results)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes:02d} min of one process at the rate measured so far"


@contextlib.contextmanager
def progress(cells: Sequence[Cell], runs_dir: pathlib.Path) -> Iterator[Progress]:
    """A bar over all cells, and one for each cell at work."""
    columns = (
        "[progress.description]{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        _RateColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    reached = {cell: cell.step_reached(runs_dir) for cell in cells}
    with rich.progress.Progress(*columns, speed_estimate_period=60) as bars:
        total = bars.add_task(
            "all", total=sum(cell.steps for cell in cells), completed=sum(reached.values())
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
