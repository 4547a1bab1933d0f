"""What holds for every export: whole or not at all, repeatable, bounded in memory."""

import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys

import filelock
import numpy as np
import pyarrow.parquet as pq
import pytest

from rl_datasets.collection import replay_log
from rl_datasets.errors import DatasetError
from rl_datasets.exporting import columns, hdf5
from rl_datasets.exporting.export import KINDS, export
from rl_datasets.frames import EncodedFrames, encode_png
from tests.rl_datasets.exporting import versions

ROOT = pathlib.Path(__file__).resolve().parents[3]
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def version(tmp_path):
    episodes = [versions.frames(i, 40 + i, i % 2 == 0) for i in range(4)]
    splits = {"train": episodes[:3], "test": episodes[3:]}
    return versions.write(tmp_path / "1.0.0", versions.FRAMES, splits)


def fails(message, version, kind, target, split="train"):
    with pytest.raises(DatasetError, match=message):
        export(version, kind, target, split)


def contents(target):
    """Bytes by relative path, of a folder or of a file."""
    paths = sorted(target.rglob("*")) if target.is_dir() else [target]
    return {str(p.relative_to(target)): p.read_bytes() for p in paths if p.is_file()}


def left_beside(target):
    return sorted(path.name for path in target.parent.iterdir())


@every_kind
def test_the_same_export_gives_the_same_bytes(tmp_path, version, kind):
    one, two = tmp_path / "one" / "out", tmp_path / "two" / "out"
    first, second = export(version, kind, one, "all"), export(version, kind, two, "all")
    assert contents(one) == contents(two)
    assert first.to_json() == second.to_json()
    assert first.episodes == 4
    assert first.transitions == 40 + 41 + 42 + 43
    assert left_beside(one) == ["out"]


@every_kind
def test_what_stands_at_the_target_is_left_alone(tmp_path, version, kind):
    target = tmp_path / "target"
    target.write_text("mine")
    fails("target already exists; delete it, or name another", version, kind, target)
    assert target.read_text() == "mine"


@every_kind
def test_a_split_that_is_not_there(tmp_path, version, kind):
    fails(
        "no split 'valid'; it has .'train', 'test'.",
        version,
        kind,
        tmp_path / "out",
        "valid",
    )


def test_a_kind_that_is_not_there(tmp_path, version):
    fails(
        "no export 'csv'; choose one of arrays, d4rl, minari, parquet, replay-logs",
        version,
        "csv",
        tmp_path / "out",
    )


@every_kind
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_source_leaves_nothing(tmp_path, version, kind, damage):
    shard = version / "synthetic-test.tfrecord-00000-of-00001"
    content = bytearray(shard.read_bytes())
    if damage == "cut":
        del content[-20:]
    else:
        content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    out = tmp_path / "somewhere" / "out"
    what = "not what was published" if damage == "cut" else "damaged"
    fails(f"synthetic-test.tfrecord-00000-of-00001 is {what}", version, kind, out, "all")
    assert left_beside(out) == []


@every_kind
@pytest.mark.parametrize("change", [-1, 1])
def test_a_source_with_other_counts_than_it_says(tmp_path, version, kind, change):
    path = version / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"]["transitions"] += change
    path.write_text(json.dumps(manifest))
    out = tmp_path / "somewhere" / "out"
    fails(f"holds 3 episodes with 123 transitions, not 3 with {123 + change}", version, kind, out)
    assert left_beside(out) == []


@every_kind
def test_a_write_that_goes_wrong_is_seen_when_it_is_read_back(tmp_path, version, kind, monkeypatch):
    flush = columns.Column._flush

    def flip_a_bit(column):
        if column._pending:
            column._pending[0] = column._pending[0].copy()
            column._pending[0].reshape(-1).view(np.uint8)[0] ^= 1
        flush(column)

    class ForgetsTheFirstReward(replay_log.ReplayLog):
        def add(self, observation, action, reward, terminal):
            reward = reward if self.add_count else reward + 1
            super().add(observation, action, reward, terminal)

    def one_more(group, name, rows):
        create(group, name, rows + 1 if rows.dtype == np.float32 else rows)

    def without_the_first_row(writer, table):
        write_table(writer, table.slice(1))

    create, write_table = hdf5.create, pq.ParquetWriter.write_table
    monkeypatch.setattr(hdf5, "create", one_more)
    monkeypatch.setattr(pq.ParquetWriter, "write_table", without_the_first_row)
    monkeypatch.setattr(columns.Column, "_flush", flip_a_bit)
    monkeypatch.setattr(replay_log, "ReplayLog", ForgetsTheFirstReward)
    out = tmp_path / "somewhere" / "out"
    fails("field .* reads back as .* that was written; check that disk", version, kind, out)
    assert left_beside(out) == []


@every_kind
def test_a_disk_that_fills(tmp_path, kind):
    """A real failure of a write, by the limit on the size of a file."""
    rng = np.random.default_rng(0)
    version = versions.write(tmp_path / "1.0.0", versions.FRAMES, {"train": [noise(rng, 30)]})
    out = tmp_path / "somewhere" / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        fails("out could not be written: .*; fix that and run the same", version, kind, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_beside(out) == []
    assert export(version, kind, out).transitions == 30


@every_kind
def test_a_damaged_frame_leaves_nothing(tmp_path, kind):
    """A frame that the records' checksums cannot know to be damaged."""
    episode = versions.frames(0, 9, True)
    pngs = encode_png(episode.observation)
    pngs[-1] = pngs[-1][:50] + bytes([pngs[-1][50] ^ 1]) + pngs[-1][51:]
    frames = EncodedFrames(pngs, (84, 84, 1))
    episode = dataclasses.replace(episode, observation=frames)
    version = versions.write(tmp_path / "1.0.0", versions.FRAMES, {"train": [episode]})
    out = tmp_path / "somewhere" / "out"
    fails("a frame of the dataset cannot be decoded .*; copy or publish it", version, kind, out)
    assert left_beside(out) == []


def noise(rng, length):
    """An episode of frames that do not compress."""
    episode = versions.frames(0, length, True)
    episode.observation[:] = rng.integers(0, 256, episode.observation.shape)
    return episode


def test_arrays_that_cannot_fit_are_not_begun(tmp_path, version, monkeypatch):
    usage = type("usage", (), {"free": 500_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    fails(
        "takes 0.0 GB as arrays, and the disk of .* export to another",
        version,
        "arrays",
        tmp_path / "out",
    )


@every_kind
def test_a_second_exporter_is_turned_away(tmp_path, version, kind):
    with filelock.FileLock(tmp_path / ".out.lock"):
        fails("another process is writing .*out; wait", version, kind, tmp_path / "out")
    export(version, kind, tmp_path / "out")


SCRIPT = """
import os, pathlib, signal, sys
from rl_datasets.exporting import source, export
version, kind, target = sys.argv[1:]
read = source.Source.read
def read_then_kill(self, doing="exporting"):
    for index, episode in enumerate(read(self, doing)):
        if index == 2 and doing == "exporting":
            os.kill(os.getpid(), signal.SIGKILL)
        yield episode
source.Source.read = read_then_kill
export.export(version, kind, target)
"""


@every_kind
def test_a_killed_export_leaves_no_target_and_the_next_one_clears_up(tmp_path, version, kind):
    out = tmp_path / "somewhere" / "out"
    killed = run(SCRIPT, version, kind, out)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    assert any(path.name.endswith(".partial") for path in out.parent.iterdir())
    export(version, kind, out)
    assert left_beside(out) == ["out"]
    fresh = tmp_path / "fresh" / "out"
    export(version, kind, fresh)
    assert contents(out) == contents(fresh)


@pytest.mark.parametrize("name", ["../../climbs", "/climbs", "a/../../climbs", ""])
def test_a_field_that_climbs_out_of_the_folder(tmp_path, version, name):
    path = version / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    manifest["plan"]["spec"]["metadata"][name] = {"shape": [], "dtype": "int64"}
    path.write_text(json.dumps(manifest))
    fails(
        "names a field .*, which cannot be the name of a file", version, "arrays", tmp_path / "out"
    )


# Mapped files are left out: the system takes their pages back when it needs them.
MEMORY = """
import sys, threading
from rl_datasets.exporting.export import export
small, large, kind, target = sys.argv[1:]
peak = 0
def watch():
    global peak
    while not done.wait(0.005):
        status = open("/proc/self/status").read()
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
def peak_of(version, name):
    global peak, done
    peak, done = 0, threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    export(version, kind, target + name)
    done.set()
    watcher.join()
    return peak
before = peak_of(small, "/small")
print(peak_of(large, "/large") - before)
"""


@pytest.fixture(scope="module")
def small_and_large(tmp_path_factory):
    """Two versions with episodes of the same size, the larger one of 42 MB of PNG, 148 decoded.

    An episode is 3.5 MB, a small part of the bound: how many an allocator keeps varies by two.
    """
    folder = tmp_path_factory.mktemp("memory")
    episodes = [versions.frames(i, 500, i % 2 == 0) for i in range(42)]
    noise = np.random.default_rng(0).integers(0, 256, (501, 24, 84, 1), np.uint8)
    for episode in episodes:
        episode.observation[:, 40:64] = noise
    return [
        versions.write(folder / str(count), versions.FRAMES, {"train": episodes[:count]})
        for count in (6, 42)
    ]


@every_kind
def test_memory_does_not_grow_with_the_data(tmp_path, small_and_large, kind):
    result = run(MEMORY, *small_and_large, kind, tmp_path)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 20_000, f"{result.stdout} kB more for 127 MB more of frames"


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
