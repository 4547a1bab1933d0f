"""Finds the folder of a published version by the name that a user gives."""

from __future__ import annotations

import difflib
import os
import pathlib
import re

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest

_NUMBER = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def find(version: str | os.PathLike[str], data_dir: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of a published version.

    Args:
      version: `builder/config:1.0.0`; without the number, the newest; or the version's folder.
      data_dir: the folder of published datasets.

    Raises:
      DatasetError: there is no such version; the message names the nearest one.
    """
    version = os.fspath(version)
    folder = files.local_path(version)
    if (folder / manifest.FILE_NAME).is_file():
        return folder
    name, _, number = version.strip("/").partition(":")
    published: dict[str, dict[str, pathlib.Path]] = {}
    for each in folders(data_dir):
        if _NUMBER.fullmatch(each.name):
            of_name = each.parent.relative_to(data_dir).as_posix()
            published.setdefault(of_name, {})[each.name] = each
    numbers = published.get(name, {})
    number = number or max(numbers, key=_order, default="")
    if number in numbers:
        return numbers[number]
    if folder.is_dir():
        return folder  # Reading it names the missing manifest.
    every = [f"{name}:{number}" for name, numbers in published.items() for number in numbers]
    nearest = difflib.get_close_matches(version, every, n=1, cutoff=0)
    told = f"the nearest there is {nearest[0]}" if nearest else "nothing is published there"
    raise DatasetError(
        f"{version!r} is not published in {os.fspath(data_dir)}: {told}; publish it, or give the "
        "--data-dir that has it"
    )


def folders(data_dir: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The folders of all published versions under `data_dir`; nothing in them is opened."""
    return [
        path.parent
        for depth in ("*/*", "*/*/*")
        for path in sorted(pathlib.Path(data_dir).glob(f"{depth}/{manifest.FILE_NAME}"))
    ]


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))
