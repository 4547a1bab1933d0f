"""Files from the web, copied to a folder whole or not at all.

A server may not say how long a file is, and may send something else without saying so. So the size
and the time of a download are bounded, and the caller checks the file.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import pathlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from rl_datasets import files
from rl_datasets.background import in_background
from rl_datasets.errors import DatasetError

SCHEMES = ("http://", "https://")
TIMEOUT = 30.0  # Seconds to connect, and to wait for the next bytes.
LARGEST = 16 << 30  # Bytes of a file whose length the server does not declare.
SLOWEST, PATIENCE = 1024, 60.0  # The least bytes per second, measured over so many seconds.
ANSWER = 60.0  # Seconds until the headers are whole, redirections included.
_PIECE = 1 << 20


def is_url(source: str) -> bool:
    """Whether the source is a web address."""
    return source.startswith(SCHEMES)


def download(url: str, folder: pathlib.Path, check: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Downloads the file at an address, or finds it in the folder if that was done before.

    Args:
      url: http:// or https://.
      folder: created if it does not exist; it has a subfolder for every address.
      check: raises `DatasetError` if a file is not what was asked for; the file is then not kept.

    Raises:
      DatasetError: the address does not answer, or the file does not arrive whole and in time, or
        does not pass the check.
      OSError: the file cannot be written.
    """
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    target = folder / digest / url.rstrip("/").rpartition("/")[2]
    if target.is_file() and _passes(target, check):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    files.remove_partial(target.parent)
    with files.replacing(target) as partial:
        kind = _copy(url, partial)
        if not _passes(partial, check):
            told = f"another or a truncated file arrived, {partial.stat().st_size:,} bytes"
            raise _failure(url, f"{told} of {kind}")
    return target


def _passes(path: pathlib.Path, check: Callable[[pathlib.Path], None]) -> bool:
    try:
        check(path)
    except DatasetError:
        return False
    return True


def _copy(url: str, target: pathlib.Path) -> str:
    """Writes what arrives to a file, and returns the content type that the server gives."""
    with _answer(url) as response, open(target, "wb") as file:
        expected, arrived = response.length, 0
        since, lately = time.monotonic(), 0
        while piece := _read(response, url):
            arrived += file.write(piece)
            lately += len(piece)
            if expected is None and arrived > LARGEST:
                raise _failure(url, f"its length is not declared and exceeds {LARGEST} bytes")
            if (seconds := time.monotonic() - since) > PATIENCE:
                if lately < SLOWEST * seconds:
                    raise _failure(url, f"only {lately} bytes came in {seconds:.0f} seconds")
                since, lately = time.monotonic(), 0
    if expected is not None and arrived != expected:
        raise _failure(url, f"it ended after {arrived} of {expected} bytes")
    return response.headers.get_content_type()


def _answer(url: str) -> http.client.HTTPResponse:
    """The response with its headers, within `ANSWER`; urllib bounds only the time between bytes."""
    answer = in_background(lambda: urllib.request.urlopen(url, timeout=TIMEOUT))
    if not concurrent.futures.wait([answer], ANSWER).done:
        raise _failure(url, f"its headers were not whole after {ANSWER:g} seconds")
    try:
        return answer.result()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failure(url, error) from error


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    """The next bytes, as soon as some arrive."""
    try:
        return response.read1(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _failure(url, error) from error


def _failure(url: str, error: Exception | str) -> DatasetError:
    reason = f"HTTP status {error.code}" if isinstance(error, urllib.error.HTTPError) else error
    return DatasetError(
        f"{url} cannot be downloaded ({reason}): name a mirror's address, or a file or folder that "
        "holds a copy"
    )
