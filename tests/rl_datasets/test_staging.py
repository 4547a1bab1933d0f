"""Locks that one process holds, and targets that are there whole or not at all."""

import fcntl
import os
import subprocess
import sys

import pytest

from rl_datasets import staging
from rl_datasets.errors import DatasetError

HOLD = """
import pathlib, sys
from rl_datasets import staging
with staging.lock(pathlib.Path(sys.argv[1]), "holding"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def elsewhere(tmp_path):
    """A lock that another process holds, and what makes that process let go of it."""
    path = tmp_path / "target.lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"held\n"
        yield path, process.communicate


def test_a_lock_is_of_one_process(elsewhere):
    path, let_go = elsewhere
    with staging.try_lock(path) as is_ours:
        assert not is_ours
    with (
        pytest.raises(DatasetError, match=r"^another process is making it; wait until it has fin"),
        staging.lock(path, "making it"),
    ):
        pass
    let_go()
    assert not path.exists()
    with staging.try_lock(path) as is_ours:
        assert is_ours
    assert not path.exists()


def test_a_lock_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DatasetError, match=r"cannot write .*file/lock \(.+\): fix that"),
        staging.try_lock(tmp_path / "file" / "lock"),
    ):
        pass


def test_a_lock_file_that_its_holder_removes_as_another_takes_it(tmp_path, monkeypatch):
    """The other has the removed file open, and a third may lock a new one beside it."""
    path, flock, removed = tmp_path / "1.0.0.lock", fcntl.flock, []

    def late(descriptor, operation):
        if not removed:
            path.unlink()
            removed.append(path)
        return flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(DatasetError, match="another process is"), staging.lock(path, "at it"):
        pass
    with staging.lock(path, "at it"), staging.try_lock(path) as is_ours:
        assert not is_ours


def test_what_is_committed_is_safe_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    target, done = tmp_path / "1.0.0", []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def renamed(*paths):
        done.append("rename")
        rename(*paths)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    with staging.staged(target) as path:
        (path / "steps").mkdir(parents=True)
        (path / "steps" / "reward.npy").write_bytes(b"1")
        assert not target.exists()
    *before, last, after = done
    assert last == "rename"
    assert {name.removeprefix(str(path)) for name in before} == {
        "",
        "/steps",
        "/steps/reward.npy",
    }
    assert after == str(tmp_path)
    assert (target / "steps" / "reward.npy").read_bytes() == b"1"
    assert list(tmp_path.iterdir()) == [target]


def test_what_fails_while_it_is_staged_leaves_nothing(tmp_path):
    def interrupted():
        with staging.staged(tmp_path / "out") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(DatasetError, match="out already exists"), staging.staged(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "mine"
