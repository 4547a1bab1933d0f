"""Runs work in the background while the caller does something else."""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
GROUP_BYTES = 1 << 20
LAST_SECONDS = 5.0
WATCH_SECONDS = 5.0


def in_background(
    function: Callable[[], T], may_hang: bool = False
) -> concurrent.futures.Future[T]:
    """Calls a function in another thread.

    A process that ends meanwhile waits for it: Python aborts the process if a thread goes on
    while the interpreter is taken down.

    Args:
      function: what to call.
      may_hang: whether the call may never return, as one to a dead server; the process then waits
        `LAST_SECONDS` for it, and no longer.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # It is raised where the result is used.
            future.set_exception(error)

    if may_hang:
        _may_hang.add(future)
        future.add_done_callback(_may_hang.discard)
    threading.Thread(target=call, daemon=may_hang).start()
    return future


_may_hang: set[concurrent.futures.Future] = set()


@atexit.register
def _wait_for_the_last() -> None:
    concurrent.futures.wait(list(_may_hang), LAST_SECONDS)


def ahead(
    items: Iterator[T], at_once: int = 1, watch: Callable[[], object] | None = None
) -> Iterator[T]:
    """The same items, while the next `at_once` items are prepared in the background.

    Args:
      items: what is prepared.
      at_once: how many are prepared together.
      watch: for items that may never come: is called every `WATCH_SECONDS` for which the caller
        waits for the next ones. It raises an error to give them up.
    """

    def take() -> list[T]:
        return list(itertools.islice(items, at_once))

    def begin() -> concurrent.futures.Future[list[T]]:
        return in_background(take, may_hang=watch is not None)

    pending = begin()
    while taken := _watched(pending, watch).result():
        pending = begin()
        yield from taken


def _watched(
    pending: concurrent.futures.Future[T], watch: Callable[[], object] | None
) -> concurrent.futures.Future[T]:
    while watch is not None and not concurrent.futures.wait([pending], WATCH_SECONDS).done:
        watch()
    return pending


def bytes_ahead(items: Iterator[bytes]) -> Iterator[bytes]:
    """The same byte strings, while the next megabyte is prepared in the background."""
    return itertools.chain.from_iterable(ahead(_groups(items)))


def _groups(items: Iterator[bytes]) -> Iterator[list[bytes]]:
    """The items in lists that are large enough to justify a thread."""
    group, size = [], 0
    for item in items:
        group.append(item)
        size += len(item)
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
