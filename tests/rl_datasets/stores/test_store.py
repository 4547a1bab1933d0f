"""What every store promises: files are created once, whole, and by one of many."""

import concurrent.futures
import pickle

import pytest

from rl_datasets.errors import DatasetError
from rl_datasets.stores.store import Conflict, open_store
from tests.rl_datasets.stores import emulators

LARGE = bytes(range(256)) * (80 << 10)  # 20 MiB: more than one piece, in every store.


@pytest.fixture
def store(address):
    return open_store(address)


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "a byte", "20 MiB"])
def test_what_is_created_is_what_is_read(store, tmp_path, content):
    (tmp_path / "source").write_bytes(content)
    store.create("a/b", tmp_path / "source")
    assert store.read("a/b") == content
    assert store.stat("a/b").size == len(content)
    store.copy("a/b", "c/d")
    assert store.read("c/d") == content
    assert store.stat("c/d") == store.stat("a/b")


def test_a_file_never_changes(store):
    store.write("a", "first")
    store.write("a", "first")
    for other in ("second", "firs", "first!", ""):
        with pytest.raises(Conflict, match=f"{store.url}/a exists with other content"):
            store.write("a", other)
    store.write("b", "another")
    store.copy("b", "a")
    assert store.read("a") == b"first"


def test_names_are_those_of_the_files_below_the_address(store):
    for name in ("b", "a/x", "a/y", "a.z"):
        store.write(name, name)
    assert store.names() == ["a.z", "a/x", "a/y", "b"]
    assert store.names("a") == ["a.z", "a/x", "a/y"]
    assert store.names("a/") == ["a/x", "a/y"]
    store.delete("a/x")
    store.delete("a/x")
    assert store.names("a/") == ["a/y"]
    assert store.names("absent/") == []


def test_what_is_not_there(store):
    assert store.stat("absent") is None
    for act in (
        lambda: store.read("absent"),
        lambda: store.copy("absent", "b"),
    ):
        with pytest.raises(FileNotFoundError):
            act()
    store.delete("absent")
    assert store.names() == []


@pytest.mark.parametrize("race", range(10))
def test_of_eight_writers_one_wins(store, race):
    name, contents = f"race-{race}", [f"writer {number}" * 1000 for number in range(8)]

    def write(content):
        try:
            store.write(name, content)
        except Conflict:
            return None
        return content

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = [content for content in pool.map(write, contents) if content is not None]
    assert len(won) == 1
    assert store.read(name).decode() == won[0]


def test_a_store_is_pickled_without_its_connection(store):
    store.write("a", "content")
    assert pickle.loads(pickle.dumps(store)).read("a") == b"content"


def test_a_store_that_cannot_be_reached_is_named(kind_of_store, tmp_path, monkeypatch):
    from rl_datasets.stores import google_errors

    monkeypatch.setattr(google_errors, "RETRY_SECONDS", 0)
    nowhere = f"http://127.0.0.1:{emulators.free_port()}"
    (tmp_path / "file").write_text("not a folder")
    folder = {"file": tmp_path, "gs": "bucket", "s3": "bucket"}[kind_of_store]
    store = open_store(f"{kind_of_store}://{folder}/file")
    variables = {"STORAGE_EMULATOR_HOST": nowhere, "AWS_ENDPOINT_URL": nowhere}
    with emulators.environment(variables):
        for act in (lambda: store.write("a", "x"), lambda: store.read("a")):
            with pytest.raises(DatasetError, match=f"{store.url}/a cannot be used"):
                act()


def test_a_bucket_that_does_not_exist_is_named(kind_of_store):
    if kind_of_store == "file":
        return
    store = open_store(f"{kind_of_store}://no-such-bucket/folder")
    with pytest.raises(DatasetError, match="no-such-bucket/folder/a"):
        store.write("a", "x")
