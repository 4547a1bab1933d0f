"""Files from the web, copied to a folder whole or not at all.

A download that was cut, or interrupted, continues where it ended, if the server can send a part of
a file and says how to tell whether the file has changed since (RFC 9110, sections 13.1.5 and 14.2).
What may still succeed is tried again, and after that the next mirror.

A server may not say how long a file is, and may send something else without saying so. So the size
and the time of a download are bounded, and the caller checks the file.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import os
import pathlib
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

from rl_datasets import files, staging, terminal
from rl_datasets.background import in_background
from rl_datasets.errors import DatasetError

SCHEMES = ("http://", "https://")
TIMEOUT = 30.0  # Seconds to connect, and to wait for the next bytes.
LARGEST = 16 << 30  # Bytes of a file whose length the server does not declare.
SLOWEST, PATIENCE = 1024, 60.0  # The least bytes per second, measured over so many seconds.
ANSWER = 60.0  # Seconds until the headers are whole, redirections included.
TRIES, PAUSE = 3, 1.0  # Tries in a row that bring less than a piece, and seconds after the first.
_PIECE, _MB = 1 << 20, 1_000_000
_MAY_SUCCEED = (408, 425, 429, 500, 502, 503, 504)  # Statuses of a server in trouble.
_SHA256 = re.compile(r"(.*)#sha256=([0-9a-f]{64})")


class _Failure(Exception):
    """A file does not come from an address, for the reason that the message is."""


class _Cut(_Failure):
    """As `_Failure`, but it may come if it is asked for again.

    Attributes:
      arrived: number of bytes that came.
    """

    def __init__(self, reason: str, arrived: int = 0):
        super().__init__(reason)
        self.arrived = arrived


def is_url(source: str) -> bool:
    """Whether the source is a web address, or several."""
    return source.startswith(SCHEMES)


def file_name(url: str) -> str:
    """The name of the file at an address, which may end in its sha256."""
    return url.partition("#")[0].rstrip("/").rpartition("/")[2]


def download(
    urls: Sequence[str], folder: pathlib.Path, check: Callable[[pathlib.Path], None]
) -> pathlib.Path:
    """Downloads a file from the first address that gives it, or finds it in the folder.

    Args:
      urls: http:// or https:// addresses of copies of one file, in the order in which they are
        tried. The file is held to a sha256 that one of them ends in: `#sha256=` and 64 digits.
      folder: created if it does not exist; it has a subfolder for every first address.
      check: raises `DatasetError` if a file is not what was asked for; the file is then not kept.

    Raises:
      DatasetError: no address gives the file whole, in time, and as it should be; an address ends
        in something else than a sha256; or another process is downloading the file.
      OSError: the file cannot be written.
    """
    addresses, sha256s = _parsed(urls)

    def fault(path: pathlib.Path) -> str | None:
        if sha256s and (found := files.sha256_of(path)) not in sha256s:
            return f"its sha256 is {found}, and not {min(sha256s)}"
        try:
            check(path)
        except DatasetError:
            return "another or a truncated file arrived"
        return None

    digest = hashlib.sha256(addresses[0].encode()).hexdigest()[:16]
    target = folder / digest / file_name(addresses[0])
    if target.is_file() and fault(target) is None:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    with staging.lock(target.with_name(f".{target.name}.lock"), f"downloading {addresses[0]}"):
        for url in addresses:
            try:
                _fetch(url, target, fault)
            except _Failure as error:
                failures.append(f"{url} cannot be downloaded ({error})")
            else:
                files.remove_partial(target.parent)
                return target
    raise DatasetError(
        f"{', and '.join(failures)}: name a mirror's address, or a file or folder that holds a copy"
    )


def _parsed(urls: Sequence[str]) -> tuple[list[str], set[str]]:
    """The addresses without the sha256s that they end in, and these."""
    addresses, sha256s = [], set()
    for url in urls:
        found = _SHA256.fullmatch(url)
        if found is None and "#" in url:
            raise DatasetError(
                f"{url} ends in what is no sha256: end it in #sha256= and 64 hexadecimal digits"
            )
        addresses.append(url if found is None else found[1])
        sha256s |= set() if found is None else {found[2]}
    if len(sha256s) > 1:
        raise DatasetError(f"{' '.join(urls)} name two files: give one sha256")
    return addresses, sha256s


def _fetch(url: str, target: pathlib.Path, fault: Callable[[pathlib.Path], str | None]) -> None:
    """Downloads a file, trying again what may succeed, and renames it if it has no fault."""
    tries = 0
    while True:
        try:
            part, kind = _receive(url, target)
            break
        except _Cut as cut:
            tries = 1 if cut.arrived >= _PIECE else tries + 1
            if tries >= TRIES:
                raise
            time.sleep(PAUSE * 2 ** (tries - 1))
    if told := fault(part):
        size = part.stat().st_size
        part.unlink()
        raise _Failure(f"{told}, {size:,} bytes of {kind}")
    files.sync(part)
    os.replace(part, target)


def _receive(url: str, target: pathlib.Path) -> tuple[pathlib.Path, str]:
    """The file to which the whole body was written, and the content type that the server gives.

    Where the server gives what tells one content from another, a part that is there is completed,
    and a part that arrives is kept.
    """
    with _answer(url) as response:
        etag, modified = (response.headers.get(name) for name in ("ETag", "Last-Modified"))
        mark = etag if etag and not etag.startswith("W/") else modified
        identity = hashlib.sha256(f"{url}\n{mark}\n{response.length}".encode()).hexdigest()[:16]
        part = target.with_name(f".{target.name}.{identity}{files.PARTIAL}")
        start = part.stat().st_size if mark and part.exists() else 0
        if not start or start >= (response.length or 0):
            return part, _write(response, part, target.name, 0, keeps=mark is not None)
    with _answer(url, {"Range": f"bytes={start}-", "If-Range": str(mark)}) as response:
        sent = response.headers.get("Content-Range", "")
        is_rest = response.status == 206 and sent.startswith(f"bytes {start}-")
        if response.status == 206 and not is_rest:
            raise _Failure(f"bytes from {start} on were asked for, and {sent!r:.80} came")
        return part, _write(response, part, target.name, start if is_rest else 0, keeps=True)


def _write(
    response: http.client.HTTPResponse, part: pathlib.Path, name: str, start: int, keeps: bool
) -> str:
    """Writes what arrives to a file from `start` on, and returns its content type."""
    total = None if response.length is None else start + response.length
    arrived, shown = 0, 0
    since, lately = time.monotonic(), 0
    try:
        with (
            terminal.progress(name, total and -(-total // _MB), "MB") as advance,
            open(part, "ab" if start else "wb") as file,
        ):
            while piece := _read(response, arrived):
                file.write(piece)
                arrived += len(piece)
                lately += len(piece)
                advance((start + arrived) // _MB - shown)
                shown = (start + arrived) // _MB
                if total is None and arrived > LARGEST:
                    raise _Failure(f"its length is not declared and exceeds {LARGEST} bytes")
                if (seconds := time.monotonic() - since) > PATIENCE:
                    if lately < SLOWEST * seconds:
                        raise _Failure(f"only {lately} bytes came in {seconds:.0f} seconds")
                    since, lately = time.monotonic(), 0
        if total is not None and start + arrived != total:
            raise _Cut(f"it ended after {start + arrived} of {total} bytes", arrived)
    except BaseException:
        if not keeps:
            part.unlink(missing_ok=True)
        raise
    return response.headers.get_content_type()


def _answer(url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    """The response with its headers, within `ANSWER`; urllib bounds only the time between bytes."""
    answer = in_background(
        lambda: urllib.request.urlopen(
            urllib.request.Request(url, headers=headers or {}), timeout=TIMEOUT
        ),
        may_hang=True,
    )
    if not concurrent.futures.wait([answer], ANSWER).done:
        raise _Failure(f"its headers were not whole after {ANSWER:g} seconds")
    try:
        return answer.result()
    except urllib.error.HTTPError as error:
        kind = _Cut if error.code in _MAY_SUCCEED else _Failure
        raise kind(f"HTTP status {error.code}") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise _Failure(str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(str(error)) from error


def _read(response: http.client.HTTPResponse, arrived: int) -> bytes:
    """The next bytes, as soon as some arrive."""
    try:
        return response.read1(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(str(error) or type(error).__name__, arrived) from error
