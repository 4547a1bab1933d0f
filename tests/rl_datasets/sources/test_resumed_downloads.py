"""Downloads that are cut, refused or interrupted, continued from the same server or a mirror."""

import contextlib
import dataclasses
import hashlib
import http.server
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

from builders.custom.custom_dataset_builder import Builder
from rl_datasets import terminal
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import downloads
from tests.builders.custom.users_data import VECTOR, random_episode, write_d4rl

WHOLE = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(WHOLE).hexdigest()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0)


@dataclasses.dataclass
class Host:
    """A server of one file, and the requests that it got.

    Attributes:
      content: what the file holds.
      sends: for each request in turn, the number of bytes to send before the connection is cut, or
        a status to answer; later requests get everything.
      etag: tells one content from another; None for none.
      has_ranges: whether it sends parts.
      lie: added to the length that it declares.
    """

    content: bytes = WHOLE
    sends: list = dataclasses.field(default_factory=list)
    etag: str | None = '"one"'
    has_ranges: bool = True
    lie: int = 0
    asked: list = dataclasses.field(default_factory=list)
    url: str = ""

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        span = request.headers.get("Range")
        self.asked.append(span)
        sends = self.sends.pop(0) if self.sends else len(self.content)
        if isinstance(sends, str):
            request.send_error(int(sends))
            return
        start = 0
        if span and self.has_ranges and request.headers["If-Range"] == self.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", span)[1])
            request.send_response(206)
            size = len(self.content)
            request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(self.content) - start + self.lie))
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        with contextlib.suppress(OSError):
            request.wfile.write(self.content[start : start + sends])


@contextlib.contextmanager
def serving(host: Host):
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            host.answer(self)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        host.url = f"http://127.0.0.1:{server.server_port}/data.bin"
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def download(folder, *urls):
    return downloads.download(urls, folder, lambda path: None)


def is_whole(folder, *urls):
    path = download(folder, *urls)
    assert path.read_bytes() == WHOLE
    assert files_below(folder) == [path]
    return True


def test_a_cut_is_continued_where_it_ended(tmp_path):
    with serving(Host(sends=[1_000_000, 0, 500_000])) as host:
        assert is_whole(tmp_path, host.url)
    assert host.asked == [None, None, "bytes=1000000-", None, "bytes=1500000-"]


def test_a_download_of_another_process_is_continued(tmp_path):
    """Which was killed, so that it could clean nothing up."""
    script = (
        "import pathlib, sys; from rl_datasets.sources import downloads; downloads.PAUSE = 1e6; "
        "downloads.download(sys.argv[1:2], pathlib.Path(sys.argv[2]), print)"
    )
    with serving(Host(sends=[2_000_000])) as host:
        command = [sys.executable, "-c", script, host.url, str(tmp_path)]
        with subprocess.Popen(command) as killed:
            while not any(path.stat().st_size == 2_000_000 for path in files_below(tmp_path)):
                assert killed.poll() is None
            killed.kill()
        assert is_whole(tmp_path, host.url)
    assert host.asked[1:] == [None, "bytes=2000000-"]


def test_a_file_that_has_changed_since_is_not_continued(tmp_path):
    with serving(Host(content=bytes(3_000_000), sends=[2_000_000, "404"])) as host:
        with pytest.raises(DatasetError, match="HTTP status 404"):
            download(tmp_path, host.url)
        host.content, host.etag = WHOLE, '"two"'
        assert is_whole(tmp_path, host.url)
    assert host.asked == [None, None, None]


def test_a_file_that_changes_as_it_is_continued_begins_anew(tmp_path):
    """The server answers with all of it, because its mark is no longer the one asked for."""
    with serving(Host(sends=[2_000_000])) as host:
        answer = host.answer

        def answer_other(request):
            if request.headers.get("Range"):
                host.etag = '"two"'
            answer(request)

        host.answer = answer_other
        assert is_whole(tmp_path, host.url)
    assert host.asked == [None, None, "bytes=2000000-"]


@pytest.mark.parametrize("without", [{"etag": None}, {"etag": 'W/"weak"'}, {"has_ranges": False}])
def test_a_server_that_cannot_continue_begins_anew(without, tmp_path):
    with serving(Host(sends=[2_000_000], **without)) as host:
        assert is_whole(tmp_path, host.url)


def test_a_server_in_trouble_is_asked_again(tmp_path):
    with serving(Host(sends=["500", "503"])) as host:
        assert is_whole(tmp_path, host.url)
    assert len(host.asked) == 3
    with (
        serving(Host(sends=["500"] * 3)) as host,
        pytest.raises(DatasetError, match=r"cannot be downloaded \(HTTP status 500\): name a mirr"),
    ):
        download(tmp_path / "other", host.url)
    assert len(host.asked) == 3
    assert not files_below(tmp_path / "other")


def test_a_server_that_brings_nothing_more_is_given_up_and_what_came_is_kept(tmp_path):
    with serving(Host(sends=[2_000_000, *[0] * 20])) as host:
        with pytest.raises(DatasetError, match="it ended after 2000000 of 3000000 bytes"):
            download(tmp_path, host.url)
        assert len(host.asked) < 10
        (part,) = files_below(tmp_path)
        assert part.name.startswith(".data.bin.")
        host.sends = []
        assert is_whole(tmp_path, host.url)
    assert host.asked[-1] == "bytes=2000000-"


def test_a_server_that_declares_too_much_is_given_up(tmp_path):
    with (
        serving(Host(lie=10)) as host,
        pytest.raises(DatasetError, match="it ended after 3000000 of 3000010 bytes"),
    ):
        download(tmp_path, host.url)


def test_a_server_that_declares_too_little_is_told_by_the_sha256(tmp_path):
    with (
        serving(Host(lie=-10)) as host,
        pytest.raises(DatasetError, match=f"its sha256 is [0-9a-f]+, and not {SHA256}, 2,999,990"),
    ):
        download(tmp_path, f"{host.url}#sha256={SHA256}")
    assert not files_below(tmp_path)


def test_another_part_than_was_asked_for_is_told(tmp_path):
    with serving(Host(sends=[1_000_000])) as host:
        answer = host.answer

        def answer_other(request):
            if request.headers.get("Range"):
                request.headers.replace_header("Range", "bytes=7-")
            answer(request)

        host.answer = answer_other
        with pytest.raises(DatasetError, match="1000000 on were asked for, and 'bytes 7-"):
            download(tmp_path, host.url)


def test_mirrors_are_asked_in_order(tmp_path):
    bad = Host(content=WHOLE[:-1] + b"?")
    with serving(Host(sends=["404"])) as gone, serving(bad), serving(Host()) as good:
        unused = Host(url="http://127.0.0.1:9/data.bin")
        urls = [gone.url, f"{bad.url}#sha256={SHA256}", good.url, unused.url]
        assert is_whole(tmp_path, *urls)
        assert [len(host.asked) for host in (gone, bad, good)] == [1, 1, 1]
        assert is_whole(tmp_path, *urls)  # and what is there is not asked for again
        assert len(gone.asked) == 1


def test_mirrors_that_all_fail_are_all_told(tmp_path):
    with (
        serving(Host(sends=["404"])) as gone,
        serving(Host(sends=["403"])) as closed,
        pytest.raises(DatasetError) as caught,
    ):
        download(tmp_path, gone.url, closed.url)
    assert str(caught.value) == (
        f"{gone.url} cannot be downloaded (HTTP status 404), and {closed.url} cannot be downloaded "
        "(HTTP status 403): name a mirror's address, or a file or folder that holds a copy"
    )


def test_what_is_kept_is_held_to_the_sha256_too(tmp_path):
    with serving(Host(content=WHOLE[::-1])) as host:
        download(tmp_path, host.url)
        host.content, host.etag = WHOLE, '"two"'
        assert is_whole(tmp_path, f"{host.url}#sha256={SHA256}")


@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        (["http://a/b#sha256=12"], "http://a/b#sha256=12 ends in what is no sha256: end it in #sh"),
        (["http://a/b#md5=12"], "ends in what is no sha256"),
        ([f"http://a/b#sha256={digit * 64}" for digit in "12"], "name two files: give one sha256"),
        (["http://[a/b"], "cannot be downloaded"),
        (["http://127.0.0.1:port/b"], "cannot be downloaded .*port"),
        (["http://127.0.0.1:9/b"], "cannot be downloaded .*Connection refused"),
    ],
)
def test_addresses_that_lead_nowhere(urls, sentence, tmp_path):
    with pytest.raises(DatasetError, match=sentence):
        download(tmp_path, *urls)
    assert not files_below(tmp_path)


def test_progress_is_told_in_megabytes(tmp_path, monkeypatch):
    told = []

    @contextlib.contextmanager
    def progress(name, total, unit):
        told.append((name, total, unit, []))
        yield told[-1][-1].append

    monkeypatch.setattr(terminal, "progress", progress)
    with serving(Host(sends=[1_500_000])) as host:
        assert is_whole(tmp_path, host.url)
    assert [each[:3] for each in told] == [("data.bin", 3, "MB")] * 2
    assert [sum(each[3]) for each in told] == [1, 3]


def test_a_users_file_is_published_from_an_address(tmp_path):
    episodes = [random_episode(np.random.default_rng(0), VECTOR, 3, True)]
    content = write_d4rl(tmp_path / "mine.hdf5", episodes).read_bytes()
    with serving(Host(content=content, sends=["500"])) as host:
        source = f"{host.url}#sha256={hashlib.sha256(content).hexdigest()}"
        published = publish(Builder(config="mine", source=source, data_dir=tmp_path))
    (episode,) = Version.open(published.path).episodes()
    np.testing.assert_array_equal(episode.observation, episodes[0].observation)
