"""Public buckets, read by Google's library from a server on this machine."""

import hashlib
import io
import os
import pickle
import socket

import pytest

from rl_datasets.errors import DatasetError
from rl_datasets.sources import buckets
from rl_datasets.stores import google_errors
from tests.rl_datasets.sources.fake_bucket import serving

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """A bucket with a folder of five objects, and others beside it; nothing is tried twice."""
    folder = tmp_path / "shards" / "Pong"
    (folder / "deeper").mkdir(parents=True)
    for name in ("run_1-0", "run_1-1", "run_1-2", "run_2-0", "run_2-1", "deeper/run_1-3"):
        (folder / name).write_bytes(name.encode() + CONTENT)
    (tmp_path / "shards" / "Ponger").touch()
    monkeypatch.setattr(google_errors, "RETRY_SECONDS", 0)
    with serving(public=tmp_path) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def listed(storage) -> buckets.Object:
    return buckets.list_folder("gs://public/shards/Pong")["run_1-0"]


def copied(listed: buckets.Object) -> bytes:
    file = io.BytesIO()
    sha256 = listed.copy_to(file)
    assert sha256 == hashlib.sha256(file.getvalue()).hexdigest()
    return file.getvalue()


def raising_after(calls: int):
    """What does nothing so many times, and then raises."""
    left = ["nothing"] * calls

    def check() -> None:
        if not left:
            raise KeyError("stop")
        left.pop()

    return check


def fails(listed: buckets.Object, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence) as caught:
        listed.copy_to(io.BytesIO())
    assert listed.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_listed_page_by_page_without_what_lies_deeper(storage):
    runs = ["run_1-0", "run_1-1", "run_1-2", "run_2-0", "run_2-1"]
    assert list(buckets.list_folder("gs://public/shards/Pong/")) == runs
    assert len(storage.requested) == 3
    found = buckets.list_folder("gs://public/shards/Pong", "run_1-")
    assert list(found) == runs[:3]
    assert found["run_1-2"].name == "gs://public/shards/Pong/run_1-2"
    assert found["run_1-2"].identity["size"] == len(CONTENT) + 7
    assert buckets.list_folder("gs://public/shards/Breakout") == {}
    assert list(buckets.list_folder("gs://public")) == []


def test_an_object_is_copied_piece_by_piece(storage, listed, monkeypatch):
    monkeypatch.setattr(buckets, "PIECE", 10_000)
    checks = []
    file = io.BytesIO()
    pickle.loads(pickle.dumps(listed)).copy_to(file, lambda: checks.append(file.tell()))
    assert file.getvalue() == b"run_1-0" + CONTENT
    assert checks == [0, 10_000, 20_000]
    spans = [span for path, span in storage.requested if path.startswith("/download")]
    assert spans == ["bytes=0-9999", "bytes=10000-19999", "bytes=20000-25606"]


def test_a_bucket_that_gives_no_checksums_is_read(storage):
    storage.checksums = ()
    (plain, *_) = buckets.list_folder("gs://public/shards/Pong").values()
    assert plain.identity == {"size": len(CONTENT) + 7}
    assert copied(plain) == b"run_1-0" + CONTENT


def test_an_empty_object_is_copied(storage):
    empty = buckets.list_folder("gs://public/shards")["Ponger"]
    assert copied(empty) == b""


def test_a_transfer_that_breaks_off_is_tried_again(storage, listed, monkeypatch):
    monkeypatch.setattr(google_errors, "RETRY_SECONDS", 10)
    cuts = [5_000]
    storage.spoil = lambda body: body[: cuts.pop()] if cuts else body
    checks = []
    file = io.BytesIO()
    listed.copy_to(file, lambda: checks.append(len(cuts)))
    assert file.getvalue() == b"run_1-0" + CONTENT
    assert checks == [1, 0]
    storage.spoil = lambda body: body[:5_000]
    with pytest.raises(KeyError, match="stop"):
        listed.copy_to(file, raising_after(1))


def test_a_transfer_that_always_breaks_off_is_told(storage, listed):
    storage.spoil = lambda body: body[:-1]
    fails(listed, "cannot be used .*1 more expected")


def test_an_object_that_is_shorter_than_the_bucket_said_is_told(storage, listed):
    storage.length = 100
    fails(listed, "is truncated: only 100 of bytes 0 to 25607 of 25607 arrived; publish again, or")


@pytest.mark.parametrize("checksum", ["crc32c", "md5Hash"])
def test_other_bytes_than_the_bucket_has_are_told(storage, checksum):
    storage.checksums = (checksum,)
    (found, *_) = buckets.list_folder("gs://public/shards/Pong").values()
    storage.spoil = lambda body: body[:-1] + b"?"
    fails(found, f"did not arrive as it is in the bucket: its {checksum.removesuffix('Hash')} is")


def test_an_object_that_was_replaced_or_removed_since_is_told(storage, listed):
    path = storage.buckets["public"] / "shards" / "Pong" / "run_1-0"
    path.write_bytes(CONTENT)
    os.utime(path, ns=(0, 0))
    fails(listed, "does not exist: name another bucket, or a folder that holds a copy")
    path.unlink()
    fails(listed, "does not exist")
    fails(buckets.Object("gs://public/shards/Pong/run_1-9"), "does not exist")


def test_a_bucket_that_does_not_exist_is_told(storage):
    with pytest.raises(DatasetError, match="gs://absent does not exist: name another bucket, or a"):
        buckets.list_folder("gs://absent/shards")
    with pytest.raises(DatasetError, match="gs:// names no bucket"):
        buckets.list_folder("gs://")


@pytest.mark.parametrize("status", [401, 403])
def test_a_closed_bucket_is_told(storage, listed, status):
    storage.closed["public"] = status
    fails(listed, "is closed to anonymous readers: copy it with an account that may read it")
    with pytest.raises(DatasetError, match="gs://public is closed to anonymous readers"):
        buckets.list_folder("gs://public/shards")


def test_a_server_in_trouble_is_told(storage, listed):
    storage.closed["public"] = 503
    fails(
        listed,
        r"cannot be used \(HTTP status 503\): run the same command again when it can be reached",
    )
    with pytest.raises(DatasetError, match=r"gs://public cannot be used \(HTTP status 503\)"):
        buckets.list_folder("gs://public/shards")


def test_a_server_that_never_answers_is_given_up(storage, listed, monkeypatch):
    monkeypatch.setattr(google_errors, "TIMEOUT", (0.2, 0.2))
    storage.requested.clear()
    storage.spoil = lambda body: body * storage.is_over.wait()
    fails(listed, r"cannot be used \(timed out\)")
    storage.silent.add("shards/Pong/run_1-0")
    fails(listed, r"cannot be used \(timed out\)")
    assert len(storage.requested) == 2  # each asked for once
    # Connections are accepted by the kernel, and no one ever reads from them.
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(DatasetError, match=r"gs://public cannot be used \(timed out\)"):
            buckets.list_folder("gs://public/shards")


def test_a_server_that_is_not_there_is_told(listed, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    fails(listed, r"cannot be used \(\[Errno 111\] Connection refused\)")


def test_no_credentials_are_looked_for(storage, monkeypatch):
    """Neither a file that the environment names, nor a machine of Google's that knows some."""
    assert buckets.list_folder("gs://public/shards")
    assert storage.authorized == [False]
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")  # With which the library looks for none anyway.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_HOST", storage.url.removeprefix("http://"))
    for file in ("/absent/credentials.json", ""):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
        with pytest.raises(DatasetError, match=r"gs://public cannot be used .*Connection refused"):
            buckets.list_folder("gs://public/shards")
    assert len(storage.requested) == 1
