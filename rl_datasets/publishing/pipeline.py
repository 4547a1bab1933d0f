"""The one Beam pipeline: units are spread over workers, and each writes its own shard.

It loses nothing silently, whatever the runner does, because `publish` asks for the receipt of every
unit afterwards. Still, Beam's `multi_threading` mode is refused: it drops elements under load.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.transforms import environments

from rl_datasets import files
from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.units import SourceUnit, write_unit

INTERRUPTED = "publishing was interrupted; publish again to go on from the units that are whole"
_LOCAL_RUNNERS = (None, "FnApiRunner")


@dataclasses.dataclass(frozen=True)
class Task:
    """One unit and where it goes.

    Attributes:
      unit: what to write.
      spec: of its episodes.
      shard: the file to write.
      receipt: the file that says what the shard holds.
      stop: the file whose presence says why no further unit should be begun.
    """

    unit: SourceUnit
    spec: EpisodeSpec
    shard: pathlib.Path
    receipt: pathlib.Path
    stop: pathlib.Path


def run(tasks: Sequence[Task], *, num_workers: int, beam_flags: Sequence[str] = ()) -> None:
    """Runs every task that is not done.

    Args:
      tasks: what to write; every worker must see the same file system.
      num_workers: processes on this machine; 1 stays in this process.
      beam_flags: Beam's own pipeline options, such as `--runner=PortableRunner` and
        `--job_endpoint=localhost:8099`, which take the pipeline to another runner.

    Raises:
      DatasetError: an option is refused. What a unit raises is left in its task's `stop`.
    """
    runner, options = _runner(num_workers, beam_flags)
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = (
            pipeline
            | "Units" >> beam.Create(list(tasks))
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.Map(do)
        )


def do(task: Task) -> None:
    """Writes one unit, or leaves the reason why it cannot be written in `task.stop`.

    The reason is left in a file because an exception does not come through every runner whole, and
    some runners try again what cannot succeed.
    """
    if task.stop.exists():
        return
    try:
        write_unit(task.unit, task.spec, task.shard, task.receipt)
    except DatasetError as error:
        stop(task, str(error))
    except KeyboardInterrupt:
        stop(task, INTERRUPTED)


def stop(task: Task, reason: str) -> None:
    """Keeps every worker from beginning another unit."""
    with files.replacing(task.stop) as partial:
        partial.write_text(reason)


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
    workers = environments.SubprocessSDKEnvironment.from_command_string(
        f"{sys.executable} -W ignore -m apache_beam.runners.worker.sdk_worker_main"
    )
    quiet = beam_provision_api_pb2.ProvisionInfo(retrieval_token="unused")
    quiet.pipeline_options.update({"default_sdk_harness_log_level": "ERROR"})
    return fn_runner.FnApiRunner(
        workers, provision_info=fn_runner.ExtendedProvisionInfo(quiet)
    ), options
