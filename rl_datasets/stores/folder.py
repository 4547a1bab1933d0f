"""A folder as a store, for file systems that many machines share and that have no working locks."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator
from typing import IO

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.stores.store import PIECE, Stat, Store

SCHEME = "file://"


class FolderStore(Store):
    """Files below a folder; a hard link creates a file, because it fails if there is one."""

    def put(self, name: str, file: IO[bytes]) -> bool:
        path = self._path(name)
        with self._naming(name):
            while True:
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with files.partial_beside(path) as partial:
                        with open(partial, "wb") as copy:
                            shutil.copyfileobj(file, copy, PIECE)
                        return self._link(partial, path)
                except FileNotFoundError:  # A deletion has just removed the empty folder.
                    file.seek(0)

    def pieces(self, name: str) -> Iterator[bytes]:
        with self._naming(name), open(self._path(name), "rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def stat(self, name: str) -> Stat | None:
        path = self._path(name)
        with self._naming(name):
            try:
                return Stat(path.stat().st_size)
            except FileNotFoundError:
                return None

    def copy(self, name: str, to: str) -> None:
        source, path = self._path(name), self._path(to)
        with self._naming(name):
            while True:
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._link(source, path)
                    return
                except FileNotFoundError:  # A deletion has just removed the empty folder.
                    if not source.exists():
                        raise

    def names(self, beginning: str = "") -> list[str]:
        root = self._path("")
        every = (path for path in root.rglob("*") if path.is_file())
        found = (path.relative_to(root).as_posix() for path in every)
        return sorted(
            name
            for name in found
            if name.startswith(beginning) and not name.endswith(files.PARTIAL)
        )

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._naming(name):
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # The folders that held nothing else.
                for parent in path.parents:
                    if parent == self._path(""):
                        break
                    parent.rmdir()

    def _path(self, name: str) -> pathlib.Path:
        return pathlib.Path(self.url.removeprefix(SCHEME), name)

    @staticmethod
    def _link(path: pathlib.Path, to: pathlib.Path) -> bool:
        files.sync(path)
        try:
            to.hardlink_to(path)
        except FileExistsError:
            return False
        files.sync(to.parent)
        return True

    @contextlib.contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DatasetError(
                f"{self.at(name)} cannot be used ({error.strerror or error}): fix that and run "
                "the same command again"
            ) from error


def open_store(url: str) -> FolderStore:
    """The store of the files below `file:///folder`.

    Raises:
      DatasetError: the folder's path is not absolute.
    """
    if not url.startswith(f"{SCHEME}/"):
        raise DatasetError(f"{url} is not the address of a folder: write file:///mnt/folder")
    return FolderStore(url)
