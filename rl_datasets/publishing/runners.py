"""The runner of Beam and its options.

The options are checked before anything is read or written, because Beam ignores options that it
does not know, and waits minutes for a service that does not exist.
"""

from __future__ import annotations

import argparse
import difflib
import shlex
import sys
from collections.abc import Sequence

import grpc
from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.portability.api import (
    beam_job_api_pb2,
    beam_job_api_pb2_grpc,
    beam_provision_api_pb2,
)
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.transforms import environments

from rl_datasets.errors import DatasetError

LOCAL = "FnApiRunner"
REMOTE = ("PortableRunner", "FlinkRunner", "SparkRunner", "PrismRunner")
ANSWER_SECONDS = 10.0
_REFUSED = {
    "DirectRunner": "chooses an engine by what it can download",
    "DataflowRunner": "has workers that do not see the local target folder",
}
# Options of these classes would do nothing in this process.
_OF_REMOTE = (
    pipeline_options.FlinkRunnerOptions,
    pipeline_options.GoogleCloudOptions,
    pipeline_options.JobServerOptions,
    pipeline_options.PortableOptions,
    pipeline_options.PrismRunnerOptions,
    pipeline_options.SparkRunnerOptions,
    pipeline_options.WorkerOptions,
)

# Beam warns when it is imported, and its warning would make Python print all that it logs.
_WORKER = """
import logging, sys
logging.getLogger().addHandler(logging.NullHandler())
from apache_beam.runners.worker import sdk_worker_main
sdk_worker_main.main(sys.argv)
"""


def check(num_workers: int, flags: Sequence[str]) -> None:
    """Checks that Beam can and will do what its options say.

    Args:
      num_workers: number of processes on this machine.
      flags: Beam's options, such as `--runner=PortableRunner`.

    Raises:
      DatasetError: an option is unknown or would do nothing, its value is wrong, the runner cannot
        publish, or a job service does not answer within `ANSWER_SECONDS`.
    """
    if num_workers < 1:
        raise DatasetError(f"{num_workers} workers cannot publish; give at least 1")
    parser = _parser()
    given, unknown = _parse(parser, flags)
    runner, endpoint = given.runner or LOCAL, given.job_endpoint
    _check_runner(runner, endpoint)
    if runner == LOCAL:
        _check_local(num_workers, flags, given)
    elif num_workers > 1:
        raise DatasetError(
            f"--workers are processes on this machine, and {runner} has its own workers: leave "
            "--workers out"
        )
    elif endpoint is not None and endpoint != "embed":
        parser.conflict_handler = "resolve"
        for name in _options_of(endpoint):
            parser.add_argument(f"--{name}", nargs="?")
        _, unknown = _parse(parser, flags)
    if unknown:
        name = unknown[0].lstrip("-").partition("=")[0]
        (nearest,) = difflib.get_close_matches(name, vars(given), n=1, cutoff=0)
        raise DatasetError(
            f"Beam has no option {unknown[0]!r}; its options begin with two dashes, and the "
            f"nearest is --{nearest}"
        )


def choose(
    num_workers: int, flags: Sequence[str]
) -> tuple[fn_runner.FnApiRunner | None, PipelineOptions]:
    """The runner, or None if the options name it, and the options; `check` them first."""
    options = PipelineOptions(list(flags))
    if options.view_as(StandardOptions).runner not in (None, LOCAL):
        return None, options
    # Beam's periodic flush of this buffer can lose elements; 0 turns it off.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    if num_workers == 1:
        return fn_runner.FnApiRunner(), options
    # This is what --direct_running_mode=multi_processing sets up, without its workers' output.
    direct = options.view_as(DirectOptions)
    direct.direct_running_mode, direct.direct_num_workers = None, num_workers
    # The workers ignore Ctrl-C, which this process handles.
    workers = environments.SubprocessSDKEnvironment.from_command_string(
        f"trap '' INT; exec {shlex.join([sys.executable, '-W', 'ignore', '-c', _WORKER])}"
    )
    quiet = beam_provision_api_pb2.ProvisionInfo(retrieval_token="unused")
    quiet.pipeline_options.update({"default_sdk_harness_log_level": "ERROR"})
    return fn_runner.FnApiRunner(
        workers, provision_info=fn_runner.ExtendedProvisionInfo(quiet)
    ), options


def _parser() -> argparse.ArgumentParser:
    """A parser of all of Beam's options, which raises its errors."""
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    (parser,) = parsers
    parser.exit_on_error = False
    return parser


def _parse(
    parser: argparse.ArgumentParser, flags: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the flags that are not options."""
    try:
        return parser.parse_known_args(list(flags))
    except argparse.ArgumentError as error:
        raise DatasetError(
            f"Beam cannot parse its options ({error}); correct that option"
        ) from error


def _check_runner(runner: str, endpoint: str | None) -> None:
    if why := _REFUSED.get(runner):
        raise DatasetError(f"Beam option --runner={runner} {why}; leave it out, or name {LOCAL}")
    if runner != LOCAL and runner not in REMOTE:
        raise DatasetError(
            f"Beam option --runner={runner} does not name a runner that can publish; leave it out, "
            f"or name one of {', '.join((LOCAL, *REMOTE))}"
        )
    if runner == REMOTE[0] and endpoint is None:
        raise DatasetError(
            f"Beam option --runner={runner} needs a job service; name it with "
            "--job_endpoint=<host>:<port>"
        )


def _check_local(num_workers: int, flags: Sequence[str], given: argparse.Namespace) -> None:
    for options in _OF_REMOTE:
        idle = options(list(flags)).get_all_options(drop_default=True, current_only=True)
        if idle:
            raise DatasetError(
                f"Beam option --{min(idle)} does nothing in this process; leave it out, or name "
                f"its --runner, which is one of {', '.join(REMOTE)}"
            )
    if given.direct_running_mode == "multi_threading":
        raise DatasetError(
            "Beam option --direct_running_mode=multi_threading loses elements without an error; "
            "use several workers instead, which are processes"
        )
    if num_workers > 1 and any(flag.startswith("--direct_") for flag in flags):
        raise DatasetError(
            "Beam's options --direct_... and --workers both say how the work is divided: leave one "
            "of the two out"
        )


def _options_of(endpoint: str) -> list[str]:
    """The names of the options that a job service has in addition to Beam's own."""
    try:
        with grpc.insecure_channel(endpoint) as channel:
            answer = beam_job_api_pb2_grpc.JobServiceStub(channel).DescribePipelineOptions(
                beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=ANSWER_SECONDS
            )
    except grpc.RpcError as error:
        raise DatasetError(
            f"no Beam job service answers at --job_endpoint={endpoint} ({error.details()}); start "
            "it, or name one that runs"
        ) from error
    return [option.name for option in answer.options]
