"""Files from servers that are slow, endless, or send something else."""

import contextlib
import http.server
import socket
import threading
import time

import h5py
import numpy as np
import pytest

from builders.d4rl.d4rl_dataset_builder import Builder
from rl_datasets.errors import DatasetError
from rl_datasets.sources import downloads

WHOLE = b"whole" * 1000


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0)


def check(path):
    if path.read_bytes() != WHOLE:
        raise DatasetError("something else")


@contextlib.contextmanager
def serving(*bodies, declares_length=False, content_type="application/octet-stream"):
    """The address of a server that gives one body after another, each a list of (wait, piece)."""
    left = iter(bodies)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            body = next(left)
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            if declares_length:
                self.send_header("Content-Length", str(sum(len(piece) for _, piece in body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                for wait, piece in body:
                    time.sleep(wait)
                    self.wfile.write(piece)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/data.hdf5"
        finally:
            server.shutdown()
            thread.join()


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("declares_length", [False, True])
def test_what_is_whole_is_asked_for_once(tmp_path, declares_length):
    with serving([(0, WHOLE)], declares_length=declares_length) as url:
        first = downloads.download([url], tmp_path, check)
        assert first.read_bytes() == WHOLE
        assert downloads.download([url], tmp_path, check) == first


@pytest.mark.parametrize("bad", [WHOLE[:-1], b"<html>Under maintenance</html>", b""])
def test_what_was_not_asked_for_is_not_kept(tmp_path, bad):
    with serving([(0, bad)], [(0, WHOLE)], content_type="text/html") as url:
        with pytest.raises(
            DatasetError, match=f"truncated file arrived, {len(bad):,} bytes of text/html"
        ):
            downloads.download([url], tmp_path, check)
        assert not files_below(tmp_path)
        assert downloads.download([url], tmp_path, check).read_bytes() == WHOLE


def test_what_was_kept_and_is_bad_is_asked_for_anew(tmp_path):
    with serving([(0, WHOLE)], [(0, WHOLE)]) as url:
        kept = downloads.download([url], tmp_path, check)
        kept.write_bytes(b"cut by an earlier release")
        assert downloads.download([url], tmp_path, check).read_bytes() == WHOLE


def test_an_endless_body_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "LARGEST", 100_000)
    with (
        serving((0, bytes(10_000)) for _ in iter(int, 1)) as url,
        pytest.raises(
            DatasetError, match=r"its length is not declared and exceeds 1[0-9]{5} bytes"
        ),
    ):
        downloads.download([url], tmp_path, check)
    assert not files_below(tmp_path)


def test_a_server_that_drips_is_given_up(tmp_path, monkeypatch):
    """Though it never stays silent, and says how long the file is."""
    monkeypatch.setattr(downloads, "PATIENCE", 0.2)
    with (
        serving([(0.02, b"x")] * 500, declares_length=True) as url,
        pytest.raises(DatasetError, match=r"only [0-9]+ bytes came in 0 seconds"),
    ):
        downloads.download([url], tmp_path, check)
    assert not files_below(tmp_path)


def test_a_server_that_drips_its_headers_is_given_up(tmp_path, monkeypatch):
    """Though it never stays silent for long, and would continue for ever."""
    monkeypatch.setattr(downloads, "ANSWER", 0.3)
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
                while not is_over.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/data.hdf5"
            with pytest.raises(
                DatasetError, match=r"its headers were not whole after 0\.3 seconds"
            ):
                downloads.download([url], tmp_path, check)
        finally:
            is_over.set()
            thread.join()
    assert not files_below(tmp_path)


def test_a_slow_start_is_no_drip(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.1)
    body = [(0.06, WHOLE[start : start + 1000]) for start in range(0, len(WHOLE), 1000)]
    with serving(body) as url:
        assert downloads.download([url], tmp_path, check).read_bytes() == WHOLE


def test_d4rls_files_are_held_to_hdf5(tmp_path):
    """A body cut short without a length is told as the download's fault, and not kept."""
    with h5py.File(tmp_path / "whole.hdf5", "w") as file:
        file["observations"] = np.zeros((1000, 45))
    cut = (tmp_path / "whole.hdf5").read_bytes()[:-1000]
    for bad in (cut, b"<html>"):
        with (
            serving([(0, bad)]) as url,
            pytest.raises(
                DatasetError, match=r"cannot be downloaded .*another or a truncated file arrived"
            ),
        ):
            Builder(config="pen-human-v1", source=url, data_dir=tmp_path / "data")
    assert not files_below(tmp_path / "data")
