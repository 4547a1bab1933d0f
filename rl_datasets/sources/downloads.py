"""Files from the web, copied to a folder whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import pathlib
import urllib.error
import urllib.request

from rl_datasets import files
from rl_datasets.errors import DatasetError

SCHEMES = ("http://", "https://")
TIMEOUT = 30.0  # Seconds to connect, and to wait for the next bytes.
_PIECE = 1 << 20


def is_url(source: str) -> bool:
    """Whether the source is an address of the web."""
    return source.startswith(SCHEMES)


def download(url: str, folder: pathlib.Path) -> pathlib.Path:
    """The file at an address, from the folder if it was downloaded before.

    Args:
      url: http:// or https://.
      folder: made if absent; it has a folder of its own for every address.

    Raises:
      DatasetError: the address does not answer, or the file does not arrive whole.
      OSError: the file cannot be written.
    """
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    target = folder / digest / url.rstrip("/").rpartition("/")[2]
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    files.remove_partial(target.parent)
    with files.replacing(target) as partial:
        _copy(url, partial)
    return target


def _copy(url: str, target: pathlib.Path) -> None:
    try:
        response = urllib.request.urlopen(url, timeout=TIMEOUT)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failure(url, error) from error
    with response, open(target, "wb") as file:
        expected, arrived = response.length, 0
        while piece := _read(response, url):
            arrived += file.write(piece)
    if expected is not None and arrived != expected:
        raise _failure(url, ValueError(f"it ended after {arrived} of {expected} bytes"))


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _failure(url, error) from error


def _failure(url: str, error: Exception) -> DatasetError:
    reason = f"HTTP status {error.code}" if isinstance(error, urllib.error.HTTPError) else error
    return DatasetError(
        f"{url} cannot be downloaded ({reason}): name a mirror's address, or a file or folder that "
        "holds a copy"
    )
