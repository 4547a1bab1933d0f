"""Files that are there whole or not at all."""

import os
import signal
import subprocess
import sys

import pytest

from rl_datasets import files
from rl_datasets.errors import DatasetError

# A process that is killed after it has written half of the new content.
KILLED = """
import os, pathlib, signal, sys
from rl_datasets import files
with files.replacing(pathlib.Path(sys.argv[1])) as partial:
    partial.write_text("half", encoding="utf-8")
    os.kill(os.getpid(), signal.SIGKILL)
"""

# A disk that is full after 1,000 bytes.
FULL = """
import pathlib, resource, signal, sys
from rl_datasets import errors, files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    files.write(pathlib.Path(sys.argv[1]), bytes(2_000))
except errors.DatasetError as error:
    print(error)
"""


def run(script, path):
    return subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
    )


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(tmp_path):
    with (
        pytest.raises(OSError, match=r"absent/x\.gif'$"),
        files.replacing(tmp_path / "absent/x.gif") as partial,
    ):
        partial.write_bytes(b"")


@pytest.mark.parametrize(
    ("content", "stored"),
    [("Größe\n", "Größe\n".encode()), (b"\x00\xff", b"\x00\xff"), (memoryview(b"ab"), b"ab")],
)
def test_a_file_is_written_over_the_old_one(tmp_path, content, stored):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a longer content than the new one")
    files.write(path, content)
    assert path.read_bytes() == stored
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_leaves_the_old_file_and_what_can_be_removed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    assert run(KILLED, path).returncode == -signal.SIGKILL
    assert path.read_text(encoding="utf-8") == "old"
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.read_text(encoding="utf-8") == "half"
    files.remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_is_told(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    told = run(FULL, path).stdout
    assert told.startswith(f"cannot write {path} (File too large): ")
    assert told.endswith("and run the same command again\n")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_its_name_only_once_it_is_safe_on_the_disk(tmp_path, monkeypatch):
    path, done = tmp_path / "a.txt", []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def replaced(source, target):
        done.append((os.fspath(source), os.fspath(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    files.write(path, "new")
    (partial, target) = done[1]
    assert done == [partial, (partial, str(path))]
    assert target == str(path)


def test_an_exception_in_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    def interrupted():
        with files.replacing(path) as partial:
            partial.write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_hidden_files_are_not_removed(tmp_path):
    for name in (".a.txt.0f.partial", ".keep", "a.partial"):
        (tmp_path / name).touch()
    files.remove_partial(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".keep", "a.partial"}


@pytest.mark.parametrize("address", ["gs://bucket/folder", "https://host/file"])
def test_an_address_is_not_a_path_of_this_machine(address):
    with pytest.raises(DatasetError, match=f"^{address} cannot be used, because only local"):
        files.local_path(address)


def test_an_empty_path_is_refused():
    with pytest.raises(DatasetError, match=r"^'' names no folder or file"):
        files.local_path("")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "-n"])
def test_a_name_that_leads_elsewhere_is_no_folders_name(name):
    with pytest.raises(DatasetError, match="cannot be the name of a dataset's configuration"):
        files.check_folder_name(name)


def test_the_sha256_is_that_of_the_standard(tmp_path):
    """FIPS 180-2, appendix B.1: the digest of "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_nothing_can_be_written_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"file/a/b: .*file is a file; name another"):
        files.check_can_write(tmp_path / "file" / "a" / "b")
    files.check_can_write(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
