"""Distributes the units of a collection among processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import threadpoolctl

from rl_datasets import errors
from rl_datasets.collection import lock_step
from rl_datasets.sources import collected


def run(
    jobs: list[lock_step.Job], processes: int, advance: Callable[[int], None]
) -> dict[str, collected.UnitRecord]:
    """Collects units and returns their records by file; a single process is this one."""
    if min(processes, len(jobs)) <= 1:
        with threadpoolctl.threadpool_limits(1):
            return {job.unit.file: lock_step.collect_unit(job, advance) for job in jobs}
    # Not fork: this process may have threads of TensorFlow, which a forked child would lack.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "gymnasium.envs.mujoco"])
    waiting = list(reversed(jobs))
    records: dict[str, collected.UnitRecord] = {}
    workers: dict[Any, Any] = {}
    try:
        with _interrupts_held_back():
            for _ in range(min(processes, len(jobs))):
                connection, theirs = context.Pipe()
                workers[connection] = context.Process(target=_work, args=(theirs,), daemon=True)
                workers[connection].start()
                theirs.close()
                connection.send(waiting.pop())
        while len(records) < len(jobs):
            ready: list[Any] = multiprocessing.connection.wait(list(workers))
            for connection in ready:
                message = connection.recv()
                if isinstance(message, int):
                    advance(message)
                elif isinstance(message, Exception):
                    raise message
                else:
                    records[message.file] = message
                    if waiting:
                        connection.send(waiting.pop())
    except (EOFError, ConnectionError) as error:
        raise errors.DatasetError(
            "a collecting process died, perhaps because memory ran out: run the same command again "
            "to continue"
        ) from error
    finally:
        for connection, worker in workers.items():
            connection.close()
            worker.terminate()
            worker.join()
    return records


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Holds Ctrl-C back until the block ends; the processes that it starts never see it."""
    multiprocessing.resource_tracker.ensure_running()  # Starting it later would let Ctrl-C through.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Any) -> None:
    """A worker process: collects the units that it receives until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C and terminates us;
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception then cleans up.
    with threadpoolctl.threadpool_limits(1), contextlib.suppress(EOFError, ConnectionError):
        while True:
            job = connection.recv()
            try:
                message: Any = lock_step.collect_unit(job, connection.send)
            except ConnectionError:
                raise
            except errors.DatasetError as error:
                message = error
            except Exception as error:
                error.add_note(traceback.format_exc())
                message = error
            connection.send(message)
