"""The progress bar of a publication."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from rl_datasets import terminal
from rl_datasets.publishing.stage import Task


@contextlib.contextmanager
def shown(tasks: Sequence[Task], title: str) -> Iterator[None]:
    """Shows what is safe in the stage, from the receipts, and what else was read."""
    done, stage = threading.Event(), tasks[0].stage
    is_counted = all(task.unit.num_transitions is not None for task in tasks)

    def amount(some: Sequence[Task]) -> int:
        return sum(task.unit.num_transitions or 0 for task in some) if is_counted else len(some)

    total = amount(tasks)
    noun = "transitions" if is_counted else "source units"

    def watch(tell: Callable[[int, str], None]) -> None:
        waiting, is_last_look = tasks, False
        while not is_last_look:
            is_last_look = done.wait(stage.look_seconds)
            settled = stage.settled()
            waiting = [task for task in waiting if task.shard not in settled]
            safe = total - amount(waiting)
            read = sum(stage.transitions_read(task.shard) for task in waiting)
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
