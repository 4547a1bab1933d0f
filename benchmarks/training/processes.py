"""Trains the cells of a table in several processes, each on its own core."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
from collections.abc import Sequence
from typing import Any

from benchmarks.training.cells import Cell, Progress
from benchmarks.training.preparation import Places
from benchmarks.training.runner import run_cells
from rl_datasets.errors import DatasetError


def _worker(index: int, messages: Any, cells: Sequence[Cell], places: Places, seeds: int) -> None:
    """Goes through all cells on one core; the cells' locks distribute them among processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C and terminates us.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[index % len(cores)]})
    parent = os.getppid()

    def progress(cell: Cell, step: int) -> None:
        if os.getppid() != parent:
            raise SystemExit("the process that started this one is gone")
        messages.put((cell, step))

    try:
        run_cells(cells, places, progress, seeds)
    except Exception as error:
        messages.put(error)


def run_in_processes(
    processes: int, cells: Sequence[Cell], places: Places, progress: Progress, seeds_at_once: int
) -> None:
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    workers = [
        context.Process(
            target=_worker, args=(index, messages, cells, places, seeds_at_once), daemon=True
        )
        for index in range(processes)
    ]
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers) or not messages.empty():
            with contextlib.suppress(queue.Empty):
                message = messages.get(timeout=0.5)
                if isinstance(message, Exception):
                    raise message
                progress(*message)
            if any(worker.exitcode for worker in workers):
                raise DatasetError(
                    "a process that was training died (was it out of memory?): run the same "
                    "command again to continue"
                )
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
