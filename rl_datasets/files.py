"""Files that are there whole or not at all, and what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import uuid
from collections.abc import Iterator

PARTIAL = ".partial"


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary name, which becomes `path`, safe on the disk, if the block succeeds."""
    # The name is unique because a runner may have two workers attempt one unit.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partial(folder: pathlib.Path) -> None:
    """Removes what a killed process left half-written in a folder that nobody else writes to."""
    for partial in folder.glob(f".*{PARTIAL}"):
        partial.unlink()


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or the list of files of a folder, is safe on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
