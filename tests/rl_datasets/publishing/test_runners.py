"""Options of Beam that cannot be obeyed are refused before anything runs."""

import concurrent.futures
import contextlib
import socket

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from rl_datasets.errors import DatasetError
from rl_datasets.publishing import runners
from rl_datasets.publishing.publish import publish
from tests.rl_datasets.publishing.synthetic import Synthetic, unit

REFUSED = [
    (["runner=FlinkRunner"], "no option 'runner=FlinkRunner'; .* nearest is --runner"),
    (["--nosuchoption=3"], "no option '--nosuchoption=3'"),
    (["--runer=FnApiRunner"], "no option '--runer=FnApiRunner'; .* nearest is --runner"),
    (["--runner FnApiRunner"], "no option '--runner FnApiRunner'"),
    (["--runner=FnApiRunner", "stray"], "no option 'stray'"),
    (["--runner"], "argument --runner: expected one argument"),
    (["--direct_num_workers=many"], "argument --direct_num_workers: invalid int value: 'many'"),
    (["--runner=NoSuchRunner"], "--runner=NoSuchRunner does not name a runner that can publish"),
    (["--runner=fnapirunner"], "--runner=fnapirunner does not name a runner that can publish"),
    (["--runner=DirectRunner"], "DirectRunner chooses an engine by what it can download"),
    (["--runner=direct"], "--runner=direct does not name a runner"),
    (["--runner=apache_beam.runners.direct.DirectRunner"], "does not name a runner"),
    (["--runner=DataflowRunner"], "do not see the local target folder"),
    (["--runner=PortableRunner"], "needs a job service; name it with --job_endpoint"),
    (["--direct_running_mode=multi_threading"], "multi_threading loses elements"),
    (["--job_endpoint=localhost:1"], "--job_endpoint does nothing in this process"),
    (["--flink_master=nosuch:1"], "--flink_master does nothing in this process"),
    (["--runner=FnApiRunner", "--num_workers=4"], "--num_workers does nothing in this process"),
]


@pytest.mark.parametrize(("flags", "told"), REFUSED, ids=lambda value: "".join(value))
def test_what_cannot_be_obeyed_is_named(flags, told):
    with pytest.raises(DatasetError, match=told):
        runners.check(1, flags)


@pytest.mark.parametrize(
    ("num_workers", "flags", "told"),
    [
        (0, [], "0 workers cannot publish"),
        (2, ["--runner=FlinkRunner"], "FlinkRunner has its own workers"),
        (2, ["--direct_num_workers=3"], "both say how the work is divided"),
    ],
)
def test_workers_that_cannot_be_had(num_workers, flags, told):
    with pytest.raises(DatasetError, match=told):
        runners.check(num_workers, flags)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--runner=FnApiRunner"],
        ["--runner", "FnApiRunner"],
        ["--direct_num_workers=2", "--direct_running_mode=multi_processing"],
        ["--runner=FlinkRunner", "--flink_master=localhost:8081", "--parallelism=2"],
        ["--runner=PortableRunner", "--job_endpoint=embed"],
    ],
)
def test_what_can_be_obeyed_passes(flags):
    runners.check(1, flags)


def test_an_option_is_refused_before_the_source_is_opened(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run("publish", "brac", "absent", "--beam-option", "runner=FlinkRunner")
    assert outcome.status == 1
    assert outcome.sentence.startswith("Beam has no option 'runner=FlinkRunner'")
    assert not list(tmp_path.iterdir())
    builder = Synthetic(units=(1 / 0 for _ in range(1)), data_dir=tmp_path)
    with pytest.raises(DatasetError, match="no option"):
        publish(builder, beam_flags=["--nosuchoption=3"])


class JobService(beam_job_api_pb2_grpc.JobServiceServicer):
    """One that has an option of its own, as Flink's has many."""

    def DescribePipelineOptions(self, request, context):
        option = beam_job_api_pb2.PipelineOptionDescriptor(name="checkpointing_interval")
        return beam_job_api_pb2.DescribePipelineOptionsResponse(options=[option])


@contextlib.contextmanager
def job_service():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(JobService(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}"]
    server.stop(None)


def test_a_job_service_may_have_options_of_its_own():
    with job_service() as flags:
        runners.check(1, flags)
        runners.check(1, [*flags, "--checkpointing_interval=1000"])
        with pytest.raises(DatasetError, match="no option '--checkpointing_intervall=1000'"):
            runners.check(1, [*flags, "--checkpointing_intervall=1000"])


@pytest.mark.parametrize("is_listening", [False, True])
def test_a_job_service_that_does_not_answer(monkeypatch, is_listening):
    monkeypatch.setattr(runners, "ANSWER_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("localhost", 0))
        if is_listening:
            silent.listen()
        endpoint = f"localhost:{silent.getsockname()[1]}"
        with pytest.raises(DatasetError, match=f"answers at --job_endpoint={endpoint} "):
            runners.check(1, ["--runner=PortableRunner", f"--job_endpoint={endpoint}"])


def test_what_a_remote_runner_fails_of_is_a_sentence(tmp_path):
    (tmp_path / "source.bin").write_bytes(b"raw logs")
    builder = Synthetic(units=[unit(0, str(tmp_path / "source.bin"))], data_dir=tmp_path)
    flags = ["--runner=FlinkRunner", "--flink_job_server_jar=absent.jar"]
    with pytest.raises(
        DatasetError, match=r"could not run the pipeline with .*absent\.jar.* jar URL"
    ):
        publish(builder, beam_flags=flags)
    assert not (tmp_path / "synthetic" / "1.0.0").exists()
