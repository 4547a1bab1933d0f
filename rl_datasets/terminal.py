"""Progress bars on a terminal, and the output of text and tables."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

_STANDARD_ERROR = 2


@contextlib.contextmanager
def holding_back(chatter: re.Pattern[bytes], at_most: float = 5.0) -> Iterator[None]:
    """Drops some of the lines that C++ code writes to standard error in the block.

    Everything else that any thread writes there meanwhile is shown when the block ends. If the
    block ends in an error or takes too long, the dropped lines are shown too.

    Args:
      chatter: matches the beginning of a line to be dropped.
      at_most: seconds after which lines are no longer held back.
    """
    try:
        held = _Held()
    except OSError:  # Standard error is closed: nobody reads it.
        yield
        return
    # The timer is not a daemon, so a process that ends meanwhile waits for it, and nothing is lost.
    timer = threading.Timer(at_most, held.release)
    timer.daemon = False
    timer.start()
    try:
        yield
        held.release(chatter)
    finally:
        timer.cancel()
        held.release()


class _Held:
    """Standard error in a temporary file, until it is released; there is one at a time."""

    _one_at_a_time = threading.Lock()

    def __init__(self) -> None:
        self._one_at_a_time.acquire()
        self._is_released = threading.Lock()
        try:
            self._terminal = os.dup(_STANDARD_ERROR)
        except OSError:
            self._one_at_a_time.release()
            raise
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # until it is released
        self._switch(self._file.fileno())

    def release(self, chatter: re.Pattern[bytes] | None = None) -> None:
        """Shows what was written, except lines of chatter; a second call does nothing."""
        if not self._is_released.acquire(blocking=False):
            return
        self._switch(self._terminal)
        self._file.seek(0)
        for line in self._file:
            if chatter is None or not chatter.match(line):
                os.write(_STANDARD_ERROR, line)
        self._file.close()
        os.close(self._terminal)
        self._one_at_a_time.release()

    def _switch(self, descriptor: int) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(descriptor, _STANDARD_ERROR)


@contextlib.contextmanager
def bar(title: str, total: int | None, done: int = 0) -> Iterator[Callable[[int, str], None]]:
    """A progress bar on standard error.

    Yields a function that takes the amount done, out of the total, and a text to show beside it.
    The total is None where it is not known.
    """
    import rich.console
    import rich.progress
    import rich.table

    # On a narrow terminal, the title is shortened and not the counts.
    counts = rich.table.Column(no_wrap=True, min_width=len(f"{total}/{total}"))
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(table_column=counts),
        rich.progress.TextColumn("{task.fields[said]}"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True)) as drawn:
        task = drawn.add_task(title, total=total, completed=done, said="")
        yield lambda completed, said: drawn.update(task, completed=completed, said=said)


@contextlib.contextmanager
def progress(
    description: str, total: int | None, unit: str = "transitions"
) -> Iterator[Callable[[int], None]]:
    """Counts transitions, or another unit, on standard error if that is a terminal.

    Yields a function that takes the number done since its last call.
    """
    if not sys.stderr.isatty():
        yield lambda advance: None
        return
    completed = 0

    with bar(description, total) as tell:

        def advance(more: int) -> None:
            nonlocal completed
            completed += more
            tell(completed, unit)

        tell(0, unit)
        yield advance


def show(shown: Any) -> None:
    """Prints text or a rich table; in a pipe or a file, a table has one line per row."""
    import rich.console

    rich.console.Console(width=None if sys.stdout.isatty() else 1_000).print(shown)
