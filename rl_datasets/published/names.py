"""Finds a published version by the name that a user gives."""

from __future__ import annotations

import difflib
import os
import pathlib
import re
from typing import NamedTuple

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.stores.store import is_address, open_store

_VERSION = re.compile(r"(.+)/((\d+)\.(\d+)\.(\d+))")


class Place(NamedTuple):
    """Where a version is.

    Attributes:
      name: `builder/config/1.0.0`, as in the folder of published datasets.
      location: its folder, or its address in a store.
    """

    name: str
    location: str


def find(version: str | os.PathLike[str], data_dir: str | os.PathLike[str]) -> str:
    """The folder of a published version, or its address.

    Args:
      version: `builder/config:1.0.0`; without the number, the newest; or the version's folder or
        address.
      data_dir: the folder of published datasets, or its address.

    Raises:
      DatasetError: there is no such version; the message names the nearest one.
    """
    version = os.fspath(version)
    if is_address(version):
        return open_store(version).url
    folder = files.local_path(version)
    if (folder / manifest.FILE_NAME).is_file():
        return version
    name, _, number = version.strip("/").partition(":")
    published: dict[str, dict[str, str]] = {}
    for place in places(data_dir):
        if parts := _VERSION.fullmatch(place.name):
            published.setdefault(parts[1], {})[parts[2]] = place.location
    numbers = published.get(name, {})
    number = number or max(numbers, key=_order, default="")
    if number in numbers:
        return numbers[number]
    if folder.is_dir():
        return version  # Reading it names the missing manifest.
    every = [f"{name}:{number}" for name, numbers in published.items() for number in numbers]
    nearest = difflib.get_close_matches(version, every, n=1, cutoff=0)
    told = f"the nearest there is {nearest[0]}" if nearest else "nothing is published there"
    raise DatasetError(
        f"{version!r} is not published in {os.fspath(data_dir)}: {told}; publish it, or give the "
        "--data-dir that has it"
    )


def places(data_dir: str | os.PathLike[str]) -> list[Place]:
    """Where all published versions under `data_dir` are; nothing in them is opened."""
    if is_address(data_dir):
        store = open_store(os.fspath(data_dir))
        found = [name.rpartition("/") for name in store.names()]
        return [
            Place(folder, store.at(folder))
            for folder, _, name in found
            if name == manifest.FILE_NAME and folder.count("/") in (1, 2)
        ]
    root = pathlib.Path(data_dir)
    return [
        Place(path.parent.relative_to(root).as_posix(), os.fspath(path.parent))
        for depth in ("*/*", "*/*/*")
        for path in sorted(root.glob(f"{depth}/{manifest.FILE_NAME}"))
    ]


def is_published(path: str | os.PathLike[str], data_dir: str | os.PathLike[str]) -> bool:
    """Whether there is a version in this folder below `data_dir`."""
    if is_address(data_dir):
        store = open_store(os.fspath(data_dir))
        return store.stat(f"{os.fspath(path)}/{manifest.FILE_NAME}") is not None
    return pathlib.Path(data_dir, path, manifest.FILE_NAME).is_file()


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))
