"""What is published in a folder: list it, show it, prove it whole."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import os
import pathlib
import re
from typing import Any

import numpy as np

from rl_datasets import files
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames
from rl_datasets.published import kinds, manifest, reader

_FRAMES_AT_ONCE = 1024
_NUMBER = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclasses.dataclass(frozen=True)
class PublishedVersion:
    """One line of the list of what is published.

    Attributes:
      name: as `tfds.load` takes it, such as `brac/halfcheetah-eps1-recollected:1.0.0`.
      path: folder of the version.
      episodes: of all splits; 0 where each transition is a record of its own.
      transitions: of all splits.
      size: of all files, in bytes.
    """

    name: str
    path: pathlib.Path
    episodes: int
    transitions: int
    size: int


def list_published(
    data_dir: str | os.PathLike[str],
) -> tuple[list[PublishedVersion], list[DatasetError]]:
    """Every version that was published under `data_dir`, by name, and why others cannot be read."""
    data_dir = pathlib.Path(data_dir)
    versions, errors = [], []
    for pattern in ("*/*", "*/*/*"):
        for path in sorted(data_dir.glob(f"{pattern}/{manifest.FILE_NAME}")):
            try:
                versions.append(_summary(path.parent))
            except DatasetError as error:
                errors.append(error)
    return sorted(versions, key=lambda version: version.name), errors


def find(version: str, data_dir: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of a published version, as a user may name it.

    Args:
      version: `builder/config:1.0.0`; without the number, the newest; or the version's folder.
      data_dir: where published datasets lie.

    Raises:
      DatasetError: there is no such version; the sentence names the nearest that there is.
    """
    folder = files.local_path(version)
    if (folder / manifest.FILE_NAME).is_file():
        return folder
    name, _, number = version.strip("/").partition(":")
    published = _folders(pathlib.Path(data_dir))
    numbers = published.get(name, {})
    number = number or max(numbers, key=_order, default="")
    if number in numbers:
        return numbers[number]
    if folder.is_dir():
        raise DatasetError(
            f"{version!r} is a folder, but not of a published version, which holds a "
            f"{manifest.FILE_NAME}: name one, such as brac/halfcheetah-eps1-recollected:1.0.0"
        )
    every = [f"{name}:{number}" for name, numbers in published.items() for number in numbers]
    nearest = difflib.get_close_matches(version, every, n=1, cutoff=0)
    told = f"the nearest there is {nearest[0]}" if nearest else "nothing is published there"
    raise DatasetError(
        f"{version!r} is not published in {os.fspath(data_dir)}: {told}; publish it, or name the "
        "--data-dir where it is"
    )


def show(version_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of the version's MANIFEST.json, as `manifest` describes it.

    Raises:
      DatasetError: the folder holds no published version.
    """
    return manifest.read(pathlib.Path(version_dir))


def read_episode(version_dir: str | os.PathLike[str], split: str, place: int) -> Episode:
    """One episode of a published version, by its place in a split.

    Raises:
      DatasetError: there is no such version, split or episode.
    """
    episodes = reader.read_episodes(version_dir, split)
    episode = next(itertools.islice(episodes, place, None), None)
    if episode is None:
        raise DatasetError(
            f"split {split!r} of {os.fspath(version_dir)} has no episode {place}; `rl-datasets "
            "show` says how many it has"
        )
    return episode


def verify(version_dir: str | os.PathLike[str], *, deep: bool = True) -> dict[str, Any]:
    """Proves that a published version is whole, and gives its manifest.

    Size and sha256 of every file are compared with the manifest, and TFDS's own counts with the
    manifest's. `deep` also reads every episode, decodes its frames, checks it against the alignment
    rule and its spec, and counts.

    Raises:
      DatasetError: the first file that is missing, unknown or differs, or the episode at fault.
    """
    folder = pathlib.Path(version_dir)
    published = manifest.read(folder)
    _verify_files(folder, published["files"])
    _verify_tfds_counts(folder, published["splits"])
    if deep:
        for split in published["splits"]:
            _verify_records(folder, published, split)
    return published


def _folders(data_dir: pathlib.Path) -> dict[str, dict[str, pathlib.Path]]:
    """Folders of published versions, by name and number; nothing in them is opened."""
    found: dict[str, dict[str, pathlib.Path]] = {}
    for depth in ("*/*", "*/*/*"):
        for path in sorted(data_dir.glob(f"{depth}/{manifest.FILE_NAME}")):
            folder = path.parent
            if _NUMBER.fullmatch(folder.name):
                name = folder.parent.relative_to(data_dir).as_posix()
                found.setdefault(name, {})[folder.name] = folder
    return found


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))


def _summary(folder: pathlib.Path) -> PublishedVersion:
    published = manifest.read(folder)
    plan, splits = published["plan"], published["splits"].values()
    config = f"/{plan['config']}" if plan["config"] else ""
    return PublishedVersion(
        name=f"{plan['dataset']}{config}:{plan['version']}",
        path=folder,
        episodes=sum(split.get("episodes", 0) for split in splits),
        transitions=sum(split["transitions"] for split in splits),
        size=sum(entry["size"] for entry in published["files"].values()),
    )


def _verify_files(folder: pathlib.Path, entries: dict[str, dict[str, Any]]) -> None:
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            raise DatasetError(f"{path} is missing; copy or publish this version anew")
        if path.stat().st_size != entry["size"] or files.sha256_of(path) != entry["sha256"]:
            raise reader.not_as_published(path)
    strangers = {path.name for path in folder.iterdir()} - entries.keys() - {manifest.FILE_NAME}
    if strangers:
        raise DatasetError(
            f"{folder / min(strangers)} does not belong to this version; move it elsewhere"
        )


def _verify_tfds_counts(folder: pathlib.Path, splits: dict[str, dict[str, Any]]) -> None:
    path = folder / "dataset_info.json"
    counted = {
        split["name"]: sum(int(length) for length in split["shardLengths"])
        for split in json.loads(path.read_text(encoding="utf-8"))["splits"]
    }
    if counted != {name: manifest.records(split) for name, split in splits.items()}:
        raise DatasetError(
            f"{path} counts other episodes than {manifest.FILE_NAME}; publish this version anew"
        )


def _verify_records(folder: pathlib.Path, published: dict[str, Any], split: str) -> None:
    kind = kinds.of(manifest.any_spec_from_json(published["plan"]["spec"]))
    for place, item in enumerate(reader.read_any(folder, split)):  # which counts them
        try:
            kind.check(item)
            for frames in kind.frames(item):
                _decode(frames)
        except ValueError as error:
            raise DatasetError(
                f"{kind.noun} {place} of split {split!r} of {folder} breaks a rule: {error}; "
                "mend its source and publish it by --version"
            ) from error


def _decode(frames: EncodedFrames) -> None:
    """Raises `ValueError` where a frame is damaged; a few at a time, which bounds the memory."""
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        np.asarray(frames[start : start + _FRAMES_AT_ONCE])
