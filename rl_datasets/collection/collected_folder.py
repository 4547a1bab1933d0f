"""Writes the collected folder, whose format and reader are in `rl_datasets.sources.collected`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import pathlib
from collections.abc import Iterable

import numpy as np

from rl_datasets import episode, files, npz
from rl_datasets._version import __version__
from rl_datasets.sources import collected


def write_unit(
    path: str | pathlib.Path, episodes: Iterable[episode.Episode]
) -> collected.UnitRecord:
    """Writes a unit file: first under a temporary name, then by one rename.

    Args:
      path: the unit file.
      episodes: at least one, all with the same fields.

    Raises:
      DatasetError: the disk is full or the folder cannot be written; no half unit is left.
      ValueError: there is no episode, or the episodes' fields differ.
    """
    path, episodes = pathlib.Path(path), list(episodes)
    steps = [each.steps() for each in episodes]
    metadata = [each.metadata for each in episodes]
    if not episodes or any(each.keys() != steps[0].keys() for each in steps):
        raise ValueError("a unit must have episodes, all with the same fields")
    arrays = {
        **{f"steps/{name}": np.concatenate([each[name] for each in steps]) for name in steps[0]},
        "episode_length": np.array([each.num_steps for each in episodes], np.int64),
        **{f"metadata/{name}": np.array([each[name] for each in metadata]) for name in metadata[0]},
    }
    npz.write_arrays(path, arrays)
    return collected.UnitRecord(
        file=path.name,
        sha256=files.sha256_of(path),
        episodes=len(episodes),
        transitions=sum(each.num_transitions for each in episodes),
    )


def write_collection(collection: collected.Collection) -> None:
    """Writes `collection.json`, which declares the collection complete.

    Raises:
      DatasetError: the disk is full or the folder cannot be written.
    """
    content = {"format_version": collected.FORMAT_VERSION, **dataclasses.asdict(collection)}
    del content["folder"]
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    files.write(collection.folder / collected.COLLECTION_FILE, text)


def versions() -> dict[str, str]:
    """Versions of the packages that decide what is collected, by name."""
    packages = ("gymnasium", "mujoco", "numpy")
    return {
        "rl-datasets": __version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }
