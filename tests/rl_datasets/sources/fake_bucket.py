"""Google Cloud Storage, as far as an anonymous reader of a public bucket sees it, on localhost."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import pathlib
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence

import google_crc32c

PAGE = 2  # Objects that one answer lists.


class FakeStorage(http.server.ThreadingHTTPServer):
    """Serves folders as buckets.

    Attributes:
      buckets: folder of each bucket, by its name.
      closed: buckets that answer with a status, such as 401.
      spoil: changes the body of every download after its headers were sent.
      length: every object is cut to so many bytes, which its description does not say.
      silent: paths of objects whose download stays without an answer.
      checksums: which of them are told.
      requested: path and Range of every request.
      authorized: whether each request bore credentials.
    """

    daemon_threads = True

    def __init__(self, **buckets: pathlib.Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets = buckets
        self.closed: dict[str, int] = {}
        self.spoil: Callable[[bytes], bytes] = lambda body: body
        self.length: int | None = None
        self.silent: set[str] = set()
        self.checksums: Sequence[str] = ("crc32c", "md5Hash")
        self.requested: list[tuple[str, str]] = []
        self.authorized: list[bool] = []
        self.is_over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is nothing to print."""


@contextlib.contextmanager
def serving(**buckets: pathlib.Path) -> Iterator[FakeStorage]:
    with FakeStorage(**buckets) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.is_over.set()
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeStorage

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.server.requested.append((url.path, self.headers.get("Range", "")))
        self.server.authorized.append("Authorization" in self.headers)
        found = re.fullmatch(r"(/download)?/storage/v1/b/([^/]+)/o(?:/([^/]+))?", url.path)
        assert found, url.path
        bucket, name = found[2], urllib.parse.unquote(found[3] or "")
        if bucket in self.server.closed:
            self._answer(self.server.closed[bucket], b"{}")
        elif bucket not in self.server.buckets:
            self._answer(404, b"{}")
        elif found[1]:
            self._download(bucket, name, query)
        else:
            self._list(bucket, query)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        root, prefix = self.server.buckets[bucket], query.get("prefix", "")
        names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        names = [name for name in names if name.startswith(prefix)]
        if delimiter := query.get("delimiter"):
            names = [name for name in names if delimiter not in name[len(prefix) :]]
        start = int(query.get("pageToken", 0))
        page: dict = {"items": [self._describe(root, name) for name in names[start:][:PAGE]]}
        if start + PAGE < len(names):
            page["nextPageToken"] = str(start + PAGE)
        self._answer(200, json.dumps(page).encode())

    def _describe(self, root: pathlib.Path, name: str) -> dict[str, str]:
        content = (root / name).read_bytes()
        digests = {
            "crc32c": google_crc32c.value(content).to_bytes(4, "big"),
            "md5Hash": hashlib.md5(content).digest(),
        }
        return {
            "name": name,
            "generation": _generation(root / name),
            "size": str(len(content)),
            **{key: base64.b64encode(digests[key]).decode() for key in self.server.checksums},
        }

    def _download(self, bucket: str, name: str, query: dict[str, str]) -> None:
        path = self.server.buckets[bucket] / name
        if name in self.server.silent:
            self.server.is_over.wait()
            self.close_connection = True
            return
        if not path.is_file() or query.get("generation") != _generation(path):
            self._answer(404, b"No such object")
            return
        content = path.read_bytes()[: self.server.length]
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert span, self.headers["Range"]
        start, stop = int(span[1]), min(int(span[2]) + 1, len(content))
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        self._answer(206, content[start:stop], headers, self.server.spoil)

    def _answer(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] = {},
        spoil: Callable[[bytes], bytes] = lambda body: body,
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        sent = spoil(body)
        self.wfile.write(sent)
        self.close_connection = len(sent) < len(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def _generation(path: pathlib.Path) -> str:
    return str(path.stat().st_mtime_ns)
