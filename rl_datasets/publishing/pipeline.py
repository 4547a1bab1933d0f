"""The one Beam pipeline: units are spread over workers, and each writes its own shard.

It loses nothing silently, whatever the runner does, because `publish` asks for the receipt of every
unit afterwards. Still, Beam's `multi_threading` mode is refused: it drops elements under load.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.transforms import environments

from rl_datasets import files
from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.units import SourceUnit, write_unit
from rl_datasets.transition import TransitionSpec

INTERRUPTED = "publishing was interrupted; publish again to go on from the units that are whole"
_LOOK_SECONDS = 0.2
_LOCAL_RUNNERS = (None, "FnApiRunner")


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
    """

    unit: SourceUnit
    spec: EpisodeSpec | TransitionSpec
    shard: pathlib.Path
    receipt: pathlib.Path
    stop: pathlib.Path
    skipped: pathlib.Path | None = None


def run(tasks: Sequence[Task], *, num_workers: int, beam_flags: Sequence[str] = ()) -> None:
    """Runs every task that is not done.

    Args:
      tasks: what to write; every worker must see the same file system.
      num_workers: processes on this machine; 1 stays in this process.
      beam_flags: Beam's own pipeline options, such as `--runner=PortableRunner` and
        `--job_endpoint=localhost:8099`, which take the pipeline to another runner.

    Raises:
      DatasetError: an option is refused. What a unit raises is left in its task's `stop`, and so is
        a Ctrl-C that was answered.
    """
    runner, options = _runner(num_workers, beam_flags)
    answering = _stopping_at_ctrl_c(tasks[0]) if num_workers > 1 else contextlib.nullcontext()
    with answering, beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = (
            pipeline
            | "Units" >> beam.Create(list(tasks))
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.Map(do)
        )


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
            keep_going=task.skipped is not None,
        )
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


def stop(task: Task, reason: str) -> None:
    """Keeps every worker from going on; what follows from the first reason is none."""
    if not task.stop.exists():
        _leave(task.stop, reason)


def _leave(path: pathlib.Path, reason: str) -> None:
    with files.replacing(path) as partial:
        partial.write_text(reason)


def _stop_check(task: Task) -> Callable[[], None]:
    """What raises `DatasetError` when the task must go no further."""
    looked = time.monotonic()

    def check() -> None:
        nonlocal looked
        if time.monotonic() - looked > _LOOK_SECONDS:  # A look costs more than a small record.
            if task.stop.exists():
                raise DatasetError(task.stop.read_text())
            looked = time.monotonic()

    return check


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


def _runner(
    num_workers: int, beam_flags: Sequence[str]
) -> tuple[fn_runner.FnApiRunner | None, PipelineOptions]:
    options = PipelineOptions(list(beam_flags))
    direct, standard = options.view_as(DirectOptions), options.view_as(StandardOptions)
    if direct.direct_running_mode == "multi_threading":
        raise DatasetError(
            "Beam option --direct_running_mode=multi_threading loses elements without an error; "
            "ask for several workers instead, which are processes"
        )
    if standard.runner == "DirectRunner":
        raise DatasetError(
            "Beam option --runner=DirectRunner picks an engine by what it can download; leave it "
            "out, or name FnApiRunner"
        )
    if num_workers < 1:
        raise DatasetError(f"{num_workers} workers cannot publish; ask for at least 1")
    if standard.runner not in _LOCAL_RUNNERS:
        return None, options
    # Beam's periodic flush of this buffer can throw elements away; 0 turns it off.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    if num_workers == 1:
        return fn_runner.FnApiRunner(), options
    # What --direct_running_mode=multi_processing would set up, less the chatter of its workers.
    direct.direct_running_mode, direct.direct_num_workers = None, num_workers
    # The workers are deaf to Ctrl-C, which this process answers.
    workers = environments.SubprocessSDKEnvironment.from_command_string(
        "trap '' INT; exec "
        f"{shlex.quote(sys.executable)} -W ignore -m apache_beam.runners.worker.sdk_worker_main"
    )
    quiet = beam_provision_api_pb2.ProvisionInfo(retrieval_token="unused")
    quiet.pipeline_options.update({"default_sdk_harness_log_level": "ERROR"})
    return fn_runner.FnApiRunner(
        workers, provision_info=fn_runner.ExtendedProvisionInfo(quiet)
    ), options
