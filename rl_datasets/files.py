"""Files that are written whole or not at all, their names, and their sha256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import re
import uuid
from collections.abc import Iterator

from rl_datasets.errors import DatasetError

PARTIAL = ".partial"
DEFAULT_DATA_DIR = ".data"  # The folder of published datasets, if none is named.
NAME = re.compile(r"\w[\w.-]*")  # A file's or folder's name that does not lead elsewhere.


def local_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path, which must be on this machine.

    Pass what the user wrote, because a `pathlib.Path` of `gs://bucket` has lost a slash.

    Raises:
      DatasetError: the path is an address, such as `gs://bucket/folder`, or empty.
    """
    if not os.fspath(path):
        raise DatasetError("'' names no folder or file: the current folder is '.'")
    if "://" in os.fspath(path):
        raise DatasetError(
            f"{os.fspath(path)} cannot be used, because only local folders and files can: name "
            "one, and copy from or to the address with other tools"
        )
    return pathlib.Path(path)


def cache() -> pathlib.Path:
    """The folder of what can be fetched again (XDG base directory specification)."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "rl-datasets"


def check_can_write(folder: pathlib.Path) -> None:
    """Checks that files can be written into a folder, or that the folder can be created.

    Nothing is created.

    Raises:
      DatasetError: files could not be written into the folder.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        what = "is not writable" if nearest.is_dir() else "is a file"
        raise DatasetError(f"nothing can be written into {folder}: {nearest} {what}; name another")


def check_folder_name(name: str) -> None:
    """Raises `DatasetError` if a dataset cannot have this name, which is also its folder's."""
    if not NAME.fullmatch(name):
        raise DatasetError(
            f"{name!r} cannot be the name of a dataset's configuration, which is a folder: use "
            "letters, digits, '-', '_' and '.'"
        )


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary path; if the block succeeds, it is synced to the disk and renamed to `path`."""
    with partial_beside(path) as partial:
        yield partial
        sync(partial)
        os.replace(partial, path)


@contextlib.contextmanager
def partial_beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary path beside another; what is left there is removed at the end."""
    # The name is unique because a runner may let two workers attempt the same unit.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        yield partial
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == os.fspath(partial):
            error.filename = os.fspath(path)  # The user knows only this name.
        raise
    finally:
        partial.unlink(missing_ok=True)


def write(path: pathlib.Path, content: str | bytes | memoryview) -> None:
    """Writes a file whole or not at all, text as UTF-8.

    Raises:
      DatasetError: the file cannot be written.
    """
    try:
        with replacing(path) as partial:
            partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise DatasetError(
            f"cannot write {path} ({error.strerror or error}): fix that and run the same command "
            "again"
        ) from error


def remove_partial(folder: pathlib.Path) -> None:
    """Removes files that a killed process left half-written; nobody else may use the folder."""
    for partial in folder.glob(f".*{PARTIAL}"):
        partial.unlink()


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or a folder's list of files, is safe on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
