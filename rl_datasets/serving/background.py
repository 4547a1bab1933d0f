"""Work that goes on while the caller does something else."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_background(function: Callable[[], T]) -> concurrent.futures.Future[T]:
    """Calls in a daemon thread: what waits for a server that died may wait for ever."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # whoever asks for the result is told
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


def ahead(items: Iterator[T], at_once: int = 1, timeout: float | None = None) -> Iterator[T]:
    """The same items, with the next `at_once` of them under way in the background.

    Raises:
      TimeoutError: they took longer than `timeout` seconds.
    """

    def take() -> list[T]:
        return list(itertools.islice(items, at_once))

    pending = in_background(take)
    while taken := pending.result(timeout):
        pending = in_background(take)
        yield from taken
