"""The Beam pipeline, which distributes units among workers; each unit writes its own shard.

Whatever the runner does, nothing is lost silently, because `publish` then checks the receipt of
every unit. Still, Beam's `multi_threading` mode is refused, because it drops elements under load.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import apache_beam as beam

from rl_datasets import files
from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.published.file_formats import TFRECORD
from rl_datasets.publishing import runners
from rl_datasets.publishing.units import SourceChanged, SourceUnit, write_unit
from rl_datasets.transition import TransitionSpec

INTERRUPTED = "publishing was interrupted; publish again to continue from the whole units"
_LOOK_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Task:
    """One unit and the files to write.

    Attributes:
      unit: the unit to write.
      spec: the spec of its records.
      shard: the file to write.
      receipt: the file that says what the shard holds.
      stop: the file that, if it exists, tells the workers to stop and says why.
      skipped: the file for the reason if the unit's source is bad; None to stop instead, also at a
        bad record.
      sources: the planned sha256 of the unit's files.
      file_format: the name of the shard's file format.
    """

    unit: SourceUnit
    spec: EpisodeSpec | TransitionSpec
    shard: pathlib.Path
    receipt: pathlib.Path
    stop: pathlib.Path
    skipped: pathlib.Path | None = None
    sources: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    file_format: str = TFRECORD

    @property
    def progress(self) -> pathlib.Path:
        return self.receipt.with_suffix(".progress")

    def transitions_read(self) -> int:
        """The number of transitions read so far if the unit is being written, otherwise 0."""
        try:
            return int(self.progress.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # The file may be half-written at this moment.
            return 0


def run(tasks: Sequence[Task], *, num_workers: int, beam_flags: Sequence[str] = ()) -> None:
    """Runs every task that is not done.

    Args:
      tasks: what to write; all workers must see the same file system.
      num_workers: number of processes on this machine; 1 stays in this process.
      beam_flags: Beam's own pipeline options, such as `--runner=PortableRunner` and
        `--job_endpoint=localhost:8099`, which select another runner; checked by `runners.check`.

    Raises:
      DatasetError: a runner outside this process could not run the pipeline. An error of a unit is
        written to its task's `stop` file, and so is a Ctrl-C that was handled.
    """
    runner, options = runners.choose(num_workers, beam_flags)
    answering = _stopping_at_ctrl_c(tasks[0]) if num_workers > 1 else contextlib.nullcontext()
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
    """Writes one unit, or writes the reason why it cannot to `task.skipped` or `task.stop`.

    The reason goes into a file because not every runner passes exceptions on whole, and some
    runners retry what cannot succeed.
    """
    if task.stop.exists():
        return
    try:
        write_unit(
            task.unit,
            task.spec,
            task.shard,
            task.receipt,
            _stop_check(task),
            _reporter(task),
            keep_going=task.skipped is not None,
            sources=task.sources,
            file_format=task.file_format,
        )
    except SourceChanged as error:  # The unit is not bad, so it must not be skipped.
        stop(task, str(error))
    except DatasetError as error:
        if task.skipped is None or task.stop.exists():
            stop(task, str(error))
        else:
            _leave(task.skipped, str(error))
    except OSError as error:
        stop(
            task,
            f"unit {task.unit.name!r} could not be written to {task.shard}: "
            f"{error.strerror or error}; fix that and publish again, which keeps the whole units",
        )
    except KeyboardInterrupt:
        stop(task, INTERRUPTED)
    finally:
        task.progress.unlink(missing_ok=True)


def stop(task: Task, reason: str) -> None:
    """Stops all workers and records the reason; only the first reason is kept."""
    if not task.stop.exists():
        _leave(task.stop, reason)


@contextlib.contextmanager
def stopping(task: Task) -> Iterator[None]:
    """Stops the workers if the block fails, and raises the reason why they stopped."""
    try:
        yield
    except BaseException as error:
        if not task.stop.exists():
            interrupted = isinstance(error, KeyboardInterrupt)
            stop(task, INTERRUPTED if interrupted else str(error))
            raise
        raise _reason(task) from error
    if task.stop.exists():
        raise _reason(task)


def _reason(task: Task) -> BaseException:
    """The reason why the workers stopped, as an exception."""
    reason = task.stop.read_text(encoding="utf-8")
    return KeyboardInterrupt(reason) if reason == INTERRUPTED else DatasetError(reason)


def _leave(path: pathlib.Path, reason: str) -> None:
    with files.replacing(path) as partial:
        partial.write_text(reason, encoding="utf-8")


def _stop_check(task: Task) -> Callable[[], None]:
    """A function that raises `DatasetError` when the task must stop."""
    looked = time.monotonic()

    def check() -> None:
        nonlocal looked
        if time.monotonic() - looked > _LOOK_SECONDS:  # A check costs more than a small record.
            if task.stop.exists():
                raise DatasetError(task.stop.read_text(encoding="utf-8"))
            looked = time.monotonic()

    return check


def _reporter(task: Task) -> Callable[[int], None]:
    """A function that writes a number of transitions to the task's `progress` file."""
    reported = time.monotonic()

    def report(transitions: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _LOOK_SECONDS:
            task.progress.write_text(str(transitions), encoding="utf-8")
            reported = time.monotonic()

    return report


@contextlib.contextmanager
def _stopping_at_ctrl_c(task: Task) -> Iterator[None]:
    """Lets the first Ctrl-C stop the workers; the pipeline then ends by itself.

    A KeyboardInterrupt would make Beam wait forever for workers that are still starting.
    """

    def answer(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop(task, INTERRUPTED)

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
