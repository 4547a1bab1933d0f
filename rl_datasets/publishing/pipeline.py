"""The one Beam pipeline: units are spread over workers, and each writes its own shard.

It loses nothing silently, whatever the runner does, because `publish` asks for the receipt of every
unit afterwards. Still, Beam's `multi_threading` mode is refused: it drops elements under load.
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
from rl_datasets.publishing import runners
from rl_datasets.publishing.units import SourceChanged, SourceUnit, write_unit
from rl_datasets.transition import TransitionSpec

INTERRUPTED = "publishing was interrupted; publish again to go on from the units that are whole"
_LOOK_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Task:
    """One unit and where it goes.

    Attributes:
      unit: what to write.
      spec: of its records.
      shard: the file to write.
      receipt: the file that says what the shard holds.
      stop: the file whose presence says why the workers should go no further.
      skipped: the file to leave the reason in if the source of the unit is bad; None to stop, at a
        bad record too.
      sources: sha256 of the unit's files by the plan.
    """

    unit: SourceUnit
    spec: EpisodeSpec | TransitionSpec
    shard: pathlib.Path
    receipt: pathlib.Path
    stop: pathlib.Path
    skipped: pathlib.Path | None = None
    sources: Mapping[str, str | None] = dataclasses.field(default_factory=dict)

    @property
    def progress(self) -> pathlib.Path:
        return self.receipt.with_suffix(".progress")

    def transitions_read(self) -> int:
        """How many were read of a unit that is being written; 0 of any other."""
        try:
            return int(self.progress.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # It is just being written.
            return 0


def run(tasks: Sequence[Task], *, num_workers: int, beam_flags: Sequence[str] = ()) -> None:
    """Runs every task that is not done.

    Args:
      tasks: what to write; every worker must see the same file system.
      num_workers: processes on this machine; 1 stays in this process.
      beam_flags: Beam's own pipeline options, such as `--runner=PortableRunner` and
        `--job_endpoint=localhost:8099`, which take the pipeline to another runner; checked by
        `runners.check`.

    Raises:
      DatasetError: another runner than this process could not run it. What a unit raises is left in
        its task's `stop`, and so is a Ctrl-C that was answered.
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
        # What a job service tells of its workers ends in what went wrong.
        *_, last = str(error).strip().splitlines() or [type(error).__name__]
        raise DatasetError(
            f"Beam could not run the pipeline with {' '.join(beam_flags)} ({last}); mend that and "
            "publish again, the units that are whole are kept"
        ) from error


def do(task: Task) -> None:
    """Writes one unit, or leaves the reason why it cannot be in `task.skipped` or `task.stop`.

    The reason is left in a file because an exception does not come through every runner whole, and
    some runners try again what cannot succeed.
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
        )
    except SourceChanged as error:  # which is no reason to do without the unit for ever
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
            f"{error.strerror or error}; mend that and publish again, the units that are whole are "
            "kept",
        )
    except KeyboardInterrupt:
        stop(task, INTERRUPTED)
    finally:
        task.progress.unlink(missing_ok=True)


def stop(task: Task, reason: str) -> None:
    """Keeps every worker from going on; what follows from the first reason is none."""
    if not task.stop.exists():
        _leave(task.stop, reason)


@contextlib.contextmanager
def stopping(task: Task) -> Iterator[None]:
    """Stops the workers when the launcher gives up, and tells why they stopped."""
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
    """Why the workers stopped."""
    reason = task.stop.read_text(encoding="utf-8")
    return KeyboardInterrupt(reason) if reason == INTERRUPTED else DatasetError(reason)


def _leave(path: pathlib.Path, reason: str) -> None:
    with files.replacing(path) as partial:
        partial.write_text(reason, encoding="utf-8")


def _stop_check(task: Task) -> Callable[[], None]:
    """What raises `DatasetError` when the task must go no further."""
    looked = time.monotonic()

    def check() -> None:
        nonlocal looked
        if time.monotonic() - looked > _LOOK_SECONDS:  # A look costs more than a small record.
            if task.stop.exists():
                raise DatasetError(task.stop.read_text(encoding="utf-8"))
            looked = time.monotonic()

    return check


def _reporter(task: Task) -> Callable[[int], None]:
    """What leaves a number of transitions in the task's `progress`."""
    reported = time.monotonic()

    def report(transitions: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _LOOK_SECONDS:
            task.progress.write_text(str(transitions), encoding="utf-8")
            reported = time.monotonic()

    return report


@contextlib.contextmanager
def _stopping_at_ctrl_c(task: Task) -> Iterator[None]:
    """Lets the first Ctrl-C stop the workers, upon which the pipeline ends by itself.

    A KeyboardInterrupt would make Beam wait for ever for workers that it has only begun to start.
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
