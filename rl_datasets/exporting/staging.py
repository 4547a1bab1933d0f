"""A file or folder that is there whole or not at all."""

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
def staged(target: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Gives a path where nothing stands yet; what is made there becomes `target` by one rename.

    The path lies in a hidden folder beside the target, which a killed process leaves behind and
    the next one clears.

    Raises:
      DatasetError: the target exists or is not local, another process is making it, or it cannot
        be written.
    """
    target = files.local_path(target).absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if target.exists():
                raise DatasetError(f"{target} exists already; delete it, or name another target")
            folder = _beside(target, files.PARTIAL)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder / target.name
                _sync(folder / target.name)
                os.rename(folder / target.name, target)
                files.sync(target.parent)
            finally:
                shutil.rmtree(folder)
    except OSError as error:
        raise DatasetError(
            f"{target} could not be written: {error.strerror or error}; mend that and export again"
        ) from error


@contextlib.contextmanager
def _locked(target: pathlib.Path) -> Iterator[None]:
    path = _beside(target, ".lock")
    try:
        with filelock.FileLock(path, timeout=0):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    except filelock.Timeout:
        raise DatasetError(
            f"another process is exporting to {target}; wait until it has finished"
        ) from None


def _beside(target: pathlib.Path, suffix: str) -> pathlib.Path:
    return target.with_name(f".{target.name}{suffix}")


def _sync(path: pathlib.Path) -> None:
    for entry in (*path.rglob("*"), path):
        files.sync(entry)
