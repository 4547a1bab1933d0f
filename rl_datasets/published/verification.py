"""The proof that a published version is whole."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames
from rl_datasets.published import manifest, reader
from rl_datasets.published.version import Version
from rl_datasets.stores.store import Store, is_address, open_store

_FRAMES_AT_ONCE = 1024


def verify(version: Version, *, deep: bool = True) -> None:
    """Proves that a published version is whole.

    The size and the sha256 of every file are compared with the manifest, and TFDS's own counts with
    the manifest's. With `deep`, every record is also read and counted, its frames are decoded, and
    it is checked against its spec and, if it is an episode, the alignment rule.

    Raises:
      DatasetError: a file is missing, unknown or different, or a record is faulty; the message
        names the first.
    """
    _verify_files(version)
    _verify_tfds_counts(version)
    if deep:
        for split in version.splits:
            _verify_records(version, split)


def _verify_files(version: Version) -> None:
    entries = version.manifest["files"]
    if is_address(version.location):
        names = _verify_objects(open_store(version.location), entries)
    else:
        names = _verify_folder(version.folder, entries)
    if strangers := names - entries.keys() - {manifest.FILE_NAME}:
        raise DatasetError(
            f"{version.location}/{min(strangers)} does not belong to this version; move it "
            "elsewhere"
        )


def _verify_folder(folder: pathlib.Path, entries: Mapping[str, Any]) -> set[str]:
    """Checks the files of a folder; the names of all that is there."""
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            raise reader.missing(path)
        if path.stat().st_size != entry["size"] or files.sha256_of(path) != entry["sha256"]:
            raise reader.not_as_published(path)
    return {path.name for path in folder.iterdir()}


def _verify_objects(store: Store, entries: Mapping[str, Any]) -> set[str]:
    """Checks the files of a store, and not their copies; the names of all that is there."""
    for name, entry in entries.items():
        digest = hashlib.sha256()
        try:
            for piece in store.pieces(name):
                digest.update(piece)
        except FileNotFoundError:
            raise reader.missing(store.at(name)) from None
        if digest.hexdigest() != entry["sha256"]:
            raise reader.not_as_published(store.at(name))
    return set(store.names())


def _verify_tfds_counts(version: Version) -> None:
    path = version.file("dataset_info.json")
    counted = {
        split["name"]: sum(int(length) for length in split["shardLengths"])
        for split in json.loads(path.read_text(encoding="utf-8"))["splits"]
    }
    if counted != {name: manifest.records(split) for name, split in version.splits.items()}:
        raise DatasetError(
            f"{path} and {manifest.FILE_NAME} count different episodes; publish this version again"
        )


def _verify_records(version: Version, split: str) -> None:
    kind = version.kind
    for place, item in enumerate(reader.records(version, split)):  # The reader counts them.
        try:
            kind.check(item)
            for frames in kind.frames(item):
                _decode(frames)
        except ValueError as error:
            raise DatasetError(
                f"{kind.noun} {place} of split {split!r} of {version.location} breaks a rule: "
                f"{error}; repair its source and publish it under another --version"
            ) from error


def _decode(frames: EncodedFrames) -> None:
    """Raises `ValueError` if a frame is damaged; decodes a few at a time to bound the memory."""
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        np.asarray(frames[start : start + _FRAMES_AT_ONCE])
