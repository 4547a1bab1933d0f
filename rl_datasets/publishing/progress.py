"""Shows how far a publish is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import rich.console
import rich.progress
import rich.table

from rl_datasets.publishing import pipeline

if TYPE_CHECKING:
    pass


_POLL_SECONDS = 0.2


@contextlib.contextmanager
def shown(tasks: Sequence[pipeline.Task], title: str) -> Iterator[None]:
    """Shows what is safe on the disk, as the receipts appear, and what was read beyond."""
    done = threading.Event()
    is_counted = all(task.unit.num_transitions is not None for task in tasks)

    def amount(some: Sequence[pipeline.Task]) -> int:
        return sum(task.unit.num_transitions or 0 for task in some) if is_counted else len(some)

    total = amount(tasks)
    # Where the terminal is narrow, the name is cut and not the counts.
    counts = rich.table.Column(no_wrap=True, min_width=len(f"{total}/{total}"))
    noun = "transitions" if is_counted else "source units"
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(table_column=counts),
        rich.progress.TextColumn(
            "{task.fields[unit]}", table_column=rich.table.Column(min_width=len(noun))
        ),
        rich.progress.TimeRemainingColumn(),
        console=rich.console.Console(stderr=True),
    )

    def watch() -> None:
        row = bar.add_task(title, total=total, unit=noun)
        waiting, is_last_look = tasks, False
        while not is_last_look:
            is_last_look = done.wait(_POLL_SECONDS)
            waiting = [task for task in waiting if not _is_settled(task)]
            safe, read = total - amount(waiting), sum(task.transitions_read() for task in waiting)
            if is_counted:
                bar.update(row, completed=safe + read)
            else:
                beyond = f", {read:,} transitions of the next" if read else ""
                bar.update(row, completed=safe, unit=noun + beyond)

    with bar:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _is_settled(task: pipeline.Task) -> bool:
    return task.receipt.exists() or (task.skipped is not None and task.skipped.exists())
