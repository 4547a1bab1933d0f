"""The bytes of a version do not depend on where Beam runs."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import time

import pytest

from benchmarks.speed import publishing as speed
from rl_datasets import records
from rl_datasets.errors import DatasetError
from rl_datasets.published import encoding
from rl_datasets.published.version import Version
from rl_datasets.publishing import pipeline
from rl_datasets.publishing.folder_stage import FolderStage
from rl_datasets.publishing.publish import publish
from rl_datasets.publishing.stage import Task
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.publishing.synthetic import Synthetic, unit

# Twelve units: more than ten, so that shards sorted as text would be seen.
SCRIPT = """
import sys
from tests.rl_datasets.publishing import synthetic
from rl_datasets import records
from rl_datasets.published import encoding, reader
from rl_datasets.publishing.publish import publish
from rl_datasets.publishing.stage import Task
data_dir, source, num_workers, *beam_flags = sys.argv[1:]
units = [synthetic.unit(index, source) for index in range(12)]
builder = synthetic.Synthetic(units=units, data_dir=data_dir)
publish(builder, num_workers=int(num_workers), beam_flags=beam_flags)
"""


@pytest.fixture
def source(tmp_path) -> str:
    path = tmp_path / "source.bin"
    path.write_bytes(b"raw logs")
    return str(path)


@pytest.fixture
def expected(tmp_path, source) -> dict[str, bytes]:
    """Every file of the version that this process publishes."""
    units = [unit(index, source) for index in range(12)]
    return contents(publish(Synthetic(units=units, data_dir=tmp_path / "here")).path)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def published_elsewhere(data_dir, source, num_workers, *beam_flags) -> dict[str, bytes]:
    """Every file of the version that another process publishes, bounded in time."""
    command = [sys.executable, "-c", SCRIPT, str(data_dir), source, str(num_workers), *beam_flags]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return contents(data_dir / "synthetic" / "1.0.0")


def environment() -> dict[str, str]:
    """Workers must find this module's units, and Beam's must find this Python."""
    scripts = pathlib.Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(synthetic.ROOT), "PATH": path}


@contextlib.contextmanager
def job_service(folder: pathlib.Path):
    """Beam's own local job service, in a process of its own; gives its port."""
    port_file = folder / "port"
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main"]
    command += ["--port", "0", "--port_file", str(port_file), "--staging_dir", str(folder)]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while not (port_file.exists() and port_file.read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield int(port_file.read_text())
    finally:
        process.kill()
        process.wait()


def test_two_worker_processes_write_the_same_bytes(tmp_path, source, expected):
    assert published_elsewhere(tmp_path / "there", source, 2) == expected


def test_the_portable_job_service_writes_the_same_bytes(tmp_path, source, expected):
    (tmp_path / "service").mkdir()
    with job_service(tmp_path / "service") as port:
        flags = ("--runner=PortableRunner", f"--job_endpoint=localhost:{port}")
        there = published_elsewhere(
            tmp_path / "there", source, 1, *flags, "--environment_type=LOOPBACK"
        )
    assert there == expected


@pytest.fixture
def stage(tmp_path):
    stage = FolderStage(tmp_path / "1.0.0", {}, look_seconds=0)
    stage.start()
    return stage


def test_a_unit_is_left_where_it_is_when_the_workers_are_stopped(source, stage):
    given = []

    def read():
        for each in synthetic.read(0, 4):
            given.append(each)
            stage.stop(pipeline.INTERRUPTED)
            yield each

    cut = dataclasses.replace(unit(0, source), read=read)
    pipeline.do(Task(cut, synthetic.SPEC, "shard", stage))
    assert len(given) == 1
    assert stage.settled() == set()
    assert not (stage.target.with_name("1.0.0.staging") / "version/shard").exists()


def test_why_the_workers_stopped_is_the_first_reason(source, stage):
    """What a worker that was stopped fails of is no news, and its unit is none to skip."""

    def read():
        stage.stop(pipeline.INTERRUPTED)
        raise DatasetError("cannot be read any more")

    cut = dataclasses.replace(unit(0, source), read=read)
    pipeline.do(Task(cut, synthetic.SPEC, "shard", stage, keep_going=True))
    assert stage.stop_reason() == pipeline.INTERRUPTED
    assert stage.why_skipped("shard") is None


def test_memory_does_not_grow_with_the_data():
    """Ten times the transitions, in a process of its own each; the whole data are 88 MB."""
    small, large = speed.peak_memory(100_000), speed.peak_memory(1_000_000)
    assert large - small < 30e6


@pytest.mark.tensorflow
def test_the_speed_anchor_publishes_the_same_transitions(tmp_path):
    ours = publish(speed.Synthetic(source="2000", data_dir=tmp_path)).path
    speed.Plain(transitions=2000, data_dir=tmp_path).download_and_prepare()
    (theirs,) = (tmp_path / "plain" / "1.0.0").glob("*.tfrecord-*")
    found = {
        episode.episode_return
        for record in records.read_records(theirs)
        for episode in [encoding.decode_episode(record, speed.SPEC)]
    }
    assert found == {episode.episode_return for episode in Version.open(ours).episodes()}
    assert len(found) == 2


def test_a_unit_that_is_being_written_says_how_far_it_is(source, stage):
    seen = []

    def read():
        for episode in synthetic.read(0, 4):
            yield episode
            seen.append(stage.transitions_read("shard"))

    task = Task(dataclasses.replace(unit(0, source), read=read), synthetic.SPEC, "shard", stage)
    assert stage.transitions_read("shard") == 0
    pipeline.do(task)
    assert seen == [3, 3 + 4, 3 + 4 + 5, 3 + 4 + 5 + 6]
    assert stage.settled() == {"shard"}
    assert stage.transitions_read("shard") == 0
