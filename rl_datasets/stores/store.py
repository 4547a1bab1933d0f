"""What every store can do, and how one is opened by its address.

A store has no rename and no locks. What it has is creation: of many writers of one name, exactly
one succeeds, and readers see the whole file or none. All else is built on that.
"""

from __future__ import annotations

import abc
import importlib
import io
import os
from collections.abc import Iterator
from typing import IO, NamedTuple

from rl_datasets.errors import DatasetError

_MODULES = {"gs": "gcs", "s3": "s3", "file": "folder"}
PIECE = 1 << 20  # Bytes that memory holds of a file.


class Conflict(DatasetError):
    """A file with other content has the name already."""


class Stat(NamedTuple):
    """What a store says of a file.

    Attributes:
      size: its size in bytes.
      checksum: the name of an algorithm of `checksums`, a colon, and the checksum of the content in
        base64; empty if the store has none.
    """

    size: int
    checksum: str = ""


class Store(abc.ABC):
    """Files below an address; instances can be pickled, and hold no connection.

    Names are relative to the address, with `/` between their parts.

    Attributes:
      url: the address, such as `gs://bucket/folder`, without a slash at its end.

    Every method raises `DatasetError` if the store cannot be reached or refuses.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")

    def at(self, name: str) -> str:
        """The address of a file."""
        return f"{self.url}/{name}"

    def create(self, name: str, path: str | os.PathLike[str]) -> None:
        """Creates a file with the content of a local one; it may exist with the same content.

        Raises:
          Conflict: it exists with other content.
          OSError: the local file cannot be read.
        """
        with open(path, "rb") as file:
            self._create(name, file)

    def write(self, name: str, content: str | bytes) -> None:
        """Creates a file with this content, text as UTF-8; it may exist with the same content.

        Raises:
          Conflict: it exists with other content.
        """
        self._create(name, io.BytesIO(content.encode() if isinstance(content, str) else content))

    def read(self, name: str) -> bytes:
        """The content of a small file.

        Raises:
          FileNotFoundError: there is no such file.
        """
        return b"".join(self.pieces(name))

    @abc.abstractmethod
    def put(self, name: str, file: IO[bytes]) -> bool:
        """Creates a file with the content of an open one, if there is none; whether it did."""

    @abc.abstractmethod
    def pieces(self, name: str) -> Iterator[bytes]:
        """The content of a file, piece by piece.

        Raises:
          FileNotFoundError: there is no such file.
        """

    @abc.abstractmethod
    def stat(self, name: str) -> Stat | None:
        """What the store says of a file; None if there is none."""

    @abc.abstractmethod
    def copy(self, name: str, to: str) -> None:
        """Copies a file within the store, if there is none of the new name.

        Raises:
          FileNotFoundError: there is no such file.
        """

    @abc.abstractmethod
    def names(self, beginning: str = "") -> list[str]:
        """The names of all files that begin so, sorted."""

    @abc.abstractmethod
    def delete(self, name: str) -> None:
        """Deletes a file, if there is one."""

    def _create(self, name: str, file: IO[bytes]) -> None:
        if not self.put(name, file) and not self._holds(name, file):
            raise Conflict(
                f"{self.at(name)} exists with other content, and a file in a store never changes: "
                "delete it if nobody needs it"
            )

    def _holds(self, name: str, file: IO[bytes]) -> bool:
        """Whether a file has the same content as an open one."""
        file.seek(0)
        try:
            same = all(piece == file.read(len(piece)) for piece in self.pieces(name))
        except FileNotFoundError:  # It was deleted meanwhile.
            return False
        return same and not file.read(1)


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether a place is an address of a store, and not a path."""
    return "://" in os.fspath(place)


def open_store(url: str) -> Store:
    """The store of the files below an address.

    Raises:
      DatasetError: there is no store of this kind, the address names no bucket.
      ModuleNotFoundError: the library of the store is not installed.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _MODULES:
        raise DatasetError(
            f"{url} is not the address of a store: name a local folder, or one of "
            f"{', '.join(f'{known}://' for known in _MODULES)}"
        )
    if not rest.strip("/"):
        raise DatasetError(f"{url} names no bucket or folder: write {scheme}://<bucket>/<folder>")
    return importlib.import_module(f"rl_datasets.stores.{_MODULES[scheme]}").open_store(url)
