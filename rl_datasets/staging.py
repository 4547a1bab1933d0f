"""Locks, and files and folders that are staged beside their target and committed by one rename."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import filelock

from rl_datasets import files
from rl_datasets.errors import DatasetError


@contextlib.contextmanager
def try_lock(path: pathlib.Path, seconds: float = 0) -> Iterator[bool]:
    """Tries to take the lock of a file; yields whether this process has it.

    The file is removed when the lock is released.

    Args:
      path: the file.
      seconds: how long to wait for it.

    Raises:
      DatasetError: the file cannot be created.
    """
    held = filelock.FileLock(path)
    try:
        held.acquire(timeout=seconds)
    except filelock.Timeout:
        yield False
        return
    except OSError as error:
        raise DatasetError(
            f"cannot write {path} ({error.strerror or error}): fix that and run the same command "
            "again"
        ) from error
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        held.release()


@contextlib.contextmanager
def lock(path: pathlib.Path, doing: str, seconds: float = 0) -> Iterator[None]:
    """Holds the lock of a file.

    Args:
      path: the file.
      doing: what no other process may do at the same time, such as `publishing 1.0.0`.
      seconds: how long to wait for it.

    Raises:
      DatasetError: another process holds the lock, or the file cannot be created.
    """
    with try_lock(path, seconds) as is_ours:
        if not is_ours:
            raise DatasetError(f"another process is {doing}; wait until it has finished")
        yield


@contextlib.contextmanager
def staged(target: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """A path where nothing exists yet; what is created there becomes `target` by one rename.

    The path is in a hidden folder beside the target. A killed process leaves the folder, and the
    next process removes it.

    Raises:
      DatasetError: the target exists or is not local, another process is writing it, or it cannot
        be written.
    """
    target = files.local_path(target).absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock(_beside(target, ".lock"), f"writing {target}"):
            if target.exists():
                raise DatasetError(f"{target} already exists; delete it, or name another target")
            folder = _beside(target, files.PARTIAL)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder / target.name
                commit(folder / target.name, target)
            finally:
                shutil.rmtree(folder)
    except OSError as error:
        raise DatasetError(
            f"{target} could not be written: {error.strerror or error}; fix that and run the same "
            "command again"
        ) from error


def commit(staged: pathlib.Path, target: pathlib.Path) -> None:
    """Renames what was staged to its target, once all of it is safe on the disk."""
    for path in (*staged.rglob("*"), staged):
        files.sync(path)
    os.rename(staged, target)
    files.sync(target.parent)


def _beside(target: pathlib.Path, suffix: str) -> pathlib.Path:
    return target.with_name(f".{target.name}{suffix}")
