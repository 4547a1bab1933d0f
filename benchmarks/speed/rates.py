"""How a script tells how fast something runs in a process of its own.

Peers' scripts have it from their folder, in environments that lack this project, and so it imports
nothing but Python.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

BATCH_SIZE = 256
IMAGE_BATCH_SIZE = 32
SAMPLED = "sampled_"  # before an algorithm's name: each batch is sampled within the time

Work = tuple[Callable[[int], object], float]


def update_work(
    name: str,
    algorithms: Mapping[str, Any],
    batches: Sequence[tuple[Any, ...]],
    sampled: Callable[[], tuple[Any, ...]],
) -> Work:
    """The updates of a peer's algorithm.

    Args:
      name: of the algorithm, after `SAMPLED` if each batch is sampled within the time.
      algorithms: objects with an `update`, by name.
      batches: what `update` takes, sampled beforehand.
      sampled: samples what `update` takes.
    """
    update = algorithms[name.removeprefix(SAMPLED)].update
    if name.startswith(SAMPLED):
        return lambda _: update(*sampled()), 1
    return lambda call: update(*batches[call % len(batches)]), 1


def answer(work_of: Callable[[str], Work]) -> None:
    """Answers each line of standard input, a name and seconds, with the rate of what it names.

    Args:
      work_of: of a name gives what is called again and again, with the index of the call, and how
        much one call does.
    """
    print("ready", flush=True)
    for line in sys.stdin:
        name, seconds = line.split()
        call, amount = work_of(name)
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < float(seconds) or calls < 2:
            call(calls)
            calls += 1
        print("rate", calls * amount / elapsed, flush=True)
