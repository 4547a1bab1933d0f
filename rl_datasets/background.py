"""Runs work in the background while the caller does something else."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
GROUP_BYTES = 1 << 20


def in_background(function: Callable[[], T]) -> concurrent.futures.Future[T]:
    """Calls a function in a daemon thread, because a call to a dead server may wait forever."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # It is raised where the result is used.
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


def ahead(items: Iterator[T], at_once: int = 1, timeout: float | None = None) -> Iterator[T]:
    """The same items, while the next `at_once` items are prepared in the background.

    Raises:
      TimeoutError: the next items took longer than `timeout` seconds.
    """

    def take() -> list[T]:
        return list(itertools.islice(items, at_once))

    pending = in_background(take)
    while taken := pending.result(timeout):
        pending = in_background(take)
        yield from taken


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
