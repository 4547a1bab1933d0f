"""A folder of npz files, each of which holds one episode; `episode_arrays` has the layout.

The episodes are in the order of the files' names. Files are read without pickles.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Sequence

from rl_datasets import npz
from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec
from rl_datasets.sources import episode_arrays


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """The npz files of a folder, in order."""
    return sorted(path for path in folder.glob("*.npz") if not path.name.startswith("."))


def read_episodes(
    paths: Sequence[str], spec: EpisodeSpec | None = None
) -> Iterator[Episode | EpisodeError]:
    """Reads the episode of each file, in order, or says what is wrong with the file.

    Args:
      paths: of the files.
      spec: the spec that every episode must have; None if it may have any.
    """
    for path in map(pathlib.Path, paths):
        load = functools.partial(npz.read_arrays, path, "write it again, with numbers alone")
        yield episode_arrays.read(path, path.name, load, spec)
