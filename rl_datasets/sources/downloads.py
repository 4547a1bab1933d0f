"""Files from the web, copied to a folder whole or not at all.

A server need not say how long a file is, nor that it sends something else, so what arrives is
bounded in size and in time, and whoever asks for it says whether it is what was asked for.
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
SLOWEST, PATIENCE = 1024, 60.0  # Bytes a second, at least, in any so many seconds.
ANSWER = 60.0  # Seconds until the headers are whole, redirections included.
_PIECE = 1 << 20


def is_url(source: str) -> bool:
    """Whether the source is an address of the web."""
    return source.startswith(SCHEMES)


def download(url: str, folder: pathlib.Path, check: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """The file at an address, from the folder if it was downloaded before.

    Args:
      url: http:// or https://.
      folder: made if absent; it has a folder of its own for every address.
      check: raises `DatasetError` if a file is not what was asked for, which is not kept then.

    Raises:
      DatasetError: the address does not answer, or the file does not arrive whole, in time and as
        it should be.
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
            told = f"what arrived is another file or cut short, {partial.stat().st_size:,} bytes"
            raise _failure(url, f"{told} of {kind}")
    return target


def _passes(path: pathlib.Path, check: Callable[[pathlib.Path], None]) -> bool:
    try:
        check(path)
    except DatasetError:
        return False
    return True


def _copy(url: str, target: pathlib.Path) -> str:
    """Writes what arrives to a file, and gives what the server calls it."""
    with _answer(url) as response, open(target, "wb") as file:
        expected, arrived = response.length, 0
        since, lately = time.monotonic(), 0
        while piece := _read(response, url):
            arrived += file.write(piece)
            lately += len(piece)
            if expected is None and arrived > LARGEST:
                raise _failure(url, f"it has no declared length and goes on after {arrived} bytes")
            if (seconds := time.monotonic() - since) > PATIENCE:
                if lately < SLOWEST * seconds:
                    raise _failure(url, f"only {lately} bytes came in {seconds:.0f} seconds")
                since, lately = time.monotonic(), 0
    if expected is not None and arrived != expected:
        raise _failure(url, f"it ended after {arrived} of {expected} bytes")
    return response.headers.get_content_type()


def _answer(url: str) -> http.client.HTTPResponse:
    """The response with its headers, which urllib bounds only from one byte to the next."""
    answer = in_background(lambda: urllib.request.urlopen(url, timeout=TIMEOUT))
    if not concurrent.futures.wait([answer], ANSWER).done:
        raise _failure(url, f"its headers were not whole after {ANSWER:g} seconds")
    try:
        return answer.result()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failure(url, error) from error


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    """The next bytes, as soon as there are some."""
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
