"""Copies of the files of versions in stores, on this machine.

They are kept in a folder that the manifest's sha256 names, so no copy is ever stale, and every file
is held against the manifest when it arrives. A folder may be deleted whenever nobody reads it.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.stores.store import open_store
from rl_datasets.terminal import progress


def of_version(address: str) -> pathlib.Path:
    """The folder for copies of a version in a store, with its manifest.

    Raises:
      DatasetError: there is no version at this address, or the store cannot be reached.
    """
    try:
        content = open_store(address).read(manifest.FILE_NAME)
    except FileNotFoundError:
        raise manifest.absent(address) from None
    manifest.parse(content, f"{address}/{manifest.FILE_NAME}")
    folder = files.cache() / "versions" / hashlib.sha256(content).hexdigest()
    if not (folder / manifest.FILE_NAME).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        files.write(folder / manifest.FILE_NAME, content)
    return folder


def fetch(address: str, folder: pathlib.Path, name: str, entry: Mapping[str, Any]) -> None:
    """Fetches a file of a version, if it was not yet.

    Args:
      address: of the version.
      folder: the folder for its copies.
      name: the name of the file.
      entry: its size and sha256, as in the manifest.

    Raises:
      DatasetError: the store does not have it, or not as it was published.
    """
    if (folder / name).is_file():
        return
    store, digest = open_store(address), hashlib.sha256()
    try:
        with files.replacing(folder / name) as partial:
            with open(partial, "wb") as file, progress(f"fetching {name}", entry["size"]) as tell:
                for piece in store.pieces(name):
                    digest.update(piece)
                    file.write(piece)
                    tell(len(piece))
            if digest.hexdigest() != entry["sha256"]:
                raise DatasetError(
                    f"{store.at(name)} is not what was published: its sha256 differs from "
                    f"{manifest.FILE_NAME}; copy or publish this version again"
                )
    except FileNotFoundError as error:
        raise DatasetError(
            f"{store.at(name)} is missing; copy or publish this version again"
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{store.at(name)} cannot be copied to {folder} ({error.strerror or error}): make room "
            "there, or name another folder with XDG_CACHE_HOME"
        ) from error
