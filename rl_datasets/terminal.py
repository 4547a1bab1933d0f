"""Progress bars, where there is a terminal to draw them on, and what is shown as text."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Counts transitions on standard error; nothing where that is no terminal.

    Gives a function that is told how many more are done.
    """
    if not sys.stderr.isatty():
        yield lambda advance: None
        return
    import rich.console
    import rich.progress

    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("transitions"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda advance: bar.advance(task, advance)


def show(shown: Any) -> None:
    """Prints text or a table of rich's; what is piped or kept in a file has a line a row."""
    import rich.console

    rich.console.Console(width=None if sys.stdout.isatty() else 1_000).print(shown)
