"""The progress bar of a publication."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from rl_datasets import terminal
from rl_datasets.publishing import pipeline

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def shown(tasks: Sequence[pipeline.Task], title: str) -> Iterator[None]:
    """Shows what is safe on the disk, from the receipts, and what else was read."""
    done = threading.Event()
    is_counted = all(task.unit.num_transitions is not None for task in tasks)

    def amount(some: Sequence[pipeline.Task]) -> int:
        return sum(task.unit.num_transitions or 0 for task in some) if is_counted else len(some)

    total = amount(tasks)
    noun = "transitions" if is_counted else "source units"

    def watch(tell: Callable[[int, str], None]) -> None:
        waiting, is_last_look = tasks, False
        while not is_last_look:
            is_last_look = done.wait(_POLL_SECONDS)
            waiting = [task for task in waiting if not _is_settled(task)]
            safe, read = total - amount(waiting), sum(task.transitions_read() for task in waiting)
            if is_counted:
                tell(safe + read, noun)
            else:
                beyond = f", {read:,} transitions of the next" if read else ""
                tell(safe, noun + beyond)

    with terminal.bar(title, total) as tell:
        watcher = threading.Thread(target=watch, args=(tell,))
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _is_settled(task: pipeline.Task) -> bool:
    return task.receipt.exists() or (task.skipped is not None and task.skipped.exists())
