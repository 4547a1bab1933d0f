"""The Beam pipeline, which distributes units among workers; each unit writes its own shard.

Whatever the runner does, nothing is lost silently, because `publish` then checks the receipt of
every unit. Still, Beam's `multi_threading` mode is refused, because it drops elements under load.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam

from rl_datasets.errors import DatasetError
from rl_datasets.publishing import runners
from rl_datasets.publishing.stage import Stage, Task
from rl_datasets.publishing.units import SourceChanged

INTERRUPTED = "publishing was interrupted; publish again to continue from the whole units"


def run(tasks: Sequence[Task], *, num_workers: int, beam_flags: Sequence[str] = ()) -> None:
    """Runs every task that is not done.

    Args:
      tasks: what to write; all workers must reach their stage.
      num_workers: number of processes on this machine; 1 stays in this process.
      beam_flags: Beam's own pipeline options, such as `--runner=PortableRunner` and
        `--job_endpoint=localhost:8099`, which select another runner; checked by `runners.check`.

    Raises:
      DatasetError: a runner outside this process could not run the pipeline. An error of a unit is
        left in its task's stage, and so is a Ctrl-C that was handled.
    """
    runner, options = runners.choose(num_workers, beam_flags)
    answering = _stopping_at_ctrl_c(tasks[0].stage) if num_workers > 1 else contextlib.nullcontext()
    try:
        with answering, beam.Pipeline(runner=runner, options=options) as pipeline:
            _ = (
                pipeline
                | "Units" >> beam.Create(list(tasks))
                | "Spread" >> beam.Reshuffle()
                | "Write" >> beam.Map(do)
            )
    except Exception as error:
        if runner is not None:
            raise
        # The last line of a job service's report says what went wrong.
        *_, last = str(error).strip().splitlines() or [type(error).__name__]
        raise DatasetError(
            f"Beam could not run the pipeline with {' '.join(beam_flags)} ({last}); fix that and "
            "publish again, which keeps the whole units"
        ) from error


def do(task: Task) -> None:
    """Writes one unit, or leaves the reason why it cannot in the task's stage.

    The reason is left there because not every runner passes exceptions on whole, and some runners
    retry what cannot succeed.
    """
    stage = task.stage
    if stage.stop_reason() is not None:
        return
    try:
        stage.write(task, _stop_check(stage), _reporter(task))
    except SourceChanged as error:  # The unit is not bad, so it must not be skipped.
        stage.stop(str(error))
    except DatasetError as error:
        if not task.keep_going or stage.stop_reason() is not None:
            stage.stop(str(error))
        else:
            stage.skip(task.shard, _as_planned(task, str(error)))
    except OSError as error:
        stage.stop(
            f"unit {task.unit.name!r} could not be written to {error.filename or task.shard}: "
            f"{error.strerror or error}; fix that and publish again, which keeps the whole units"
        )
    except KeyboardInterrupt:
        stage.stop(INTERRUPTED)
    finally:
        stage.report(task.shard, None)


@contextlib.contextmanager
def stopping(stage: Stage) -> Iterator[None]:
    """Stops the workers if the block fails, and raises the reason why they stopped."""
    try:
        yield
    except BaseException as error:
        reason = stage.stop_reason()
        if reason is None:
            interrupted = isinstance(error, KeyboardInterrupt)
            stage.stop(INTERRUPTED if interrupted else str(error))
            raise
        raise _as_exception(reason) from error
    if (reason := stage.stop_reason()) is not None:
        raise _as_exception(reason)


def _as_exception(reason: str) -> BaseException:
    return KeyboardInterrupt(reason) if reason == INTERRUPTED else DatasetError(reason)


def _as_planned(task: Task, reason: str) -> str:
    """A reason with relative names, so that the same source gives the same bytes anywhere."""
    for path, name in task.names.items():
        reason = reason.replace(path, name)
    return reason


def _stop_check(stage: Stage) -> Callable[[], None]:
    """A function that raises `DatasetError` when a task must stop."""
    looked = time.monotonic()

    def check() -> None:
        nonlocal looked
        if time.monotonic() - looked > stage.look_seconds:  # A look costs more than a record.
            if (reason := stage.stop_reason()) is not None:
                raise DatasetError(reason)
            looked = time.monotonic()

    return check


def _reporter(task: Task) -> Callable[[int], None]:
    """A function that tells the task's stage how many transitions were read."""
    reported = time.monotonic()

    def report(transitions: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > task.stage.look_seconds:
            task.stage.report(task.shard, transitions)
            reported = time.monotonic()

    return report


@contextlib.contextmanager
def _stopping_at_ctrl_c(stage: Stage) -> Iterator[None]:
    """Lets the first Ctrl-C stop the workers; the pipeline then ends by itself.

    A KeyboardInterrupt would make Beam wait forever for workers that are still starting.
    """

    def answer(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stage.stop(INTERRUPTED)

    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, answer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
