"""Datasets of Minari (Farama Foundation), version 0.5: their description and their episodes.

    data/metadata.json      what the data are: the spaces, the environment, who made them
    data/main_data.hdf5     a group for each episode, episode_0 to episode_<N - 1>:
        observations            [T + 1, ...]; a group of arrays where the space is a Dict
        actions                 [T, ...]
        rewards                 [T]
        terminations            [T] bool
        truncations             [T] bool
        infos/...               not read

`episode_arrays` says what these mean. Minari's id of an episode becomes its `episode_id`. Frames of
32 x 32 pixels and more are JPEG files, unless the dataset was made with `jpeg_encoding=False`.

Minari itself is not needed.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import dm_env.specs
import h5py
import numpy as np

from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec
from rl_datasets.errors import DatasetError, in_words
from rl_datasets.sources import episode_arrays, hdf5

METADATA_FILE, DATA_FILE = "data/metadata.json", "data/main_data.hdf5"
UNIT = "main_data"
_FACTS = (  # Of its description, those that say where the data come from.
    "dataset_id",
    "algorithm_name",
    "author",
    "author_email",
    "code_permalink",
    "description",
    "requirements",
    "minari_version",
    "combined_datasets",
    "ref_min_score",
    "ref_max_score",
)
_SMALLEST_JPEG = 32
_OF_ANOTHER_FORM = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


@dataclasses.dataclass(frozen=True)
class Description:
    """What a dataset's `metadata.json` says.

    Attributes:
      folder: of the dataset.
      episodes: number of its episodes.
      action_space: as Minari writes it, with its type.
      jpegs: names of the arrays of an episode that hold JPEG files.
      environment: gymnasium's id of the environment to score policies in; None if it has none.
      facts: where the data come from, as plain data.
    """

    folder: pathlib.Path
    episodes: int
    action_space: Mapping[str, Any]
    jpegs: frozenset[str]
    environment: str | None
    facts: Mapping[str, Any]

    @property
    def data(self) -> pathlib.Path:
        """The path of the file with the episodes."""
        return self.folder / DATA_FILE

    @property
    def files(self) -> tuple[str, str]:
        """The paths of both files."""
        return str(self.data), str(self.folder / METADATA_FILE)


def is_minari(folder: pathlib.Path) -> bool:
    """Whether a folder looks like a dataset of Minari."""
    return any((folder / name).exists() for name in (METADATA_FILE, DATA_FILE))


def read_description(folder: pathlib.Path) -> Description:
    """Reads a dataset's description.

    Raises:
      DatasetError: it is missing or damaged, or says that the data have another format, actions
        that are not supported, or no episodes.
    """
    path = folder / METADATA_FILE
    try:
        # Of facts that become JSON again, nan and infinities are none of its numbers.
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=str)
        spaces = {name: json.loads(content[f"{name}_space"]) for name in ("observation", "action")}
        kind, form = spaces["action"]["type"], content["data_format"]
        is_jpeg = content.get("jpeg_encoding", True)
        found = Description(
            folder=folder,
            episodes=int(content["total_episodes"]),
            action_space=spaces["action"],
            jpegs=frozenset(_jpegs("observations", spaces["observation"]) if is_jpeg else ()),
            environment=next(iter(_environments(content)), None),
            facts={name: content[name] for name in _FACTS if name in content},
        )
    except _OF_ANOTHER_FORM as error:
        raise DatasetError(
            f"{path} is not the description of a dataset of Minari 0.5 ({in_words(error)}): copy "
            "the dataset again, or write it with that version"
        ) from error
    if form != "hdf5":
        raise DatasetError(
            f"{folder} has Minari's format {form!r:.80}, and only 'hdf5' is read: make it with "
            "data_format='hdf5'"
        )
    if found.episodes < 1:
        raise DatasetError(f"{folder} has no episodes: name a dataset that has some")
    if kind not in ("Box", "Discrete"):
        raise DatasetError(
            f"{folder} has actions in a {kind!r:.80} space, and only Box and Discrete ones are "
            "supported: convert them to one of these"
        )
    return found


def action_spec(described: Description, action: dm_env.specs.Array) -> dm_env.specs.Array:
    """The spec of an action with the bounds of its space, if these are finite.

    Args:
      described: the dataset.
      action: the spec of the actions in its data.

    Raises:
      DatasetError: the space is not that of these actions.
    """
    space = described.action_space
    try:
        if space["type"] == "Discrete":
            start = int(space.get("start", 0))
            low, high = np.array(start), np.array(start + int(space["n"]) - 1)
        else:
            low, high = (np.array(space[name], np.float64) for name in ("low", "high"))
        if not low.shape == high.shape == action.shape:
            raise ValueError(f"actions have shape {action.shape}, and their space {low.shape}")
        if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
            return action
        return dm_env.specs.BoundedArray(
            action.shape, action.dtype, low.astype(action.dtype), high.astype(action.dtype)
        )
    except _OF_ANOTHER_FORM as error:
        raise DatasetError(
            f"{described.folder / METADATA_FILE} has an action_space that does not fit its data "
            f"({in_words(error)}): repair it"
        ) from error


def repairs(described: Description) -> list[str]:
    """The ways in which the published episodes differ from Minari's, one sentence each."""
    told = ["the infos are left out", "rewards are float32"]
    if described.jpegs:
        told.append(
            f"{', '.join(sorted(described.jpegs))} are what Minari's JPEG files show, which have "
            "lost detail"
        )
    return told


def read_episodes(
    described: Description, spec: EpisodeSpec | None = None
) -> Iterator[Episode | EpisodeError]:
    """Reads the episodes of a dataset by their number, or says what is wrong with one.

    Memory holds one episode.

    Args:
      described: the dataset.
      spec: the spec that every episode must have; None if it may have any.

    Raises:
      DatasetError: the file cannot be read, or has other episodes than the description says.
    """
    path = described.data
    with hdf5.opened(path) as file:
        with hdf5.reading(path):
            found = set(file)
        names = [f"episode_{number}" for number in range(described.episodes)]
        for name in sorted(found.symmetric_difference(names)):
            raise DatasetError(
                f"{path} {'has' if name in found else 'lacks'} {name!r:.80}, and its description "
                f"counts {described.episodes} episodes from episode_0 on: copy the dataset again"
            )
        for number, name in enumerate(names):
            load = functools.partial(_load, file, name, number, described)
            yield episode_arrays.read(path, name, load, spec)


def _load(file: h5py.File, name: str, number: int, described: Description) -> dict[str, np.ndarray]:
    path = described.data
    group = hdf5.group(file, name, path)
    arrays = {"metadata/episode_id": np.array(number, np.int64)}
    for part, dataset in hdf5.datasets(group, path, leave_out="infos").items():
        with hdf5.reading(path):
            arrays[part] = dataset[()]
        if part in described.jpegs:
            arrays[part] = _decoded(arrays[part], part)
    return arrays


def _environments(content: Mapping[str, Any]) -> list[str]:
    """The ids of the environments that a description names, the one for evaluation first."""
    specs = [content[name] for name in ("eval_env_spec", "env_spec") if name in content]
    return [str(json.loads(each)["id"]) for each in specs]


def _jpegs(name: str, space: Mapping[str, Any]) -> list[str]:
    """The arrays of a space that Minari writes as JPEG files, by its own rule."""
    if space["type"] == "Dict":
        return [
            each for key, of in space["subspaces"].items() for each in _jpegs(f"{name}/{key}", of)
        ]
    is_jpeg = (
        space["type"] == "Box"
        and space["dtype"] == "uint8"
        and len(space["shape"]) in (2, 3)
        and min(space["shape"][:2]) >= _SMALLEST_JPEG
        and np.all(np.equal(space["low"], 0))
        and np.all(np.equal(space["high"], 255))
    )
    return [name] if is_jpeg else []


def _decoded(files: np.ndarray, name: str) -> np.ndarray:
    """The frames [T, ...] of JPEG files."""
    import PIL.Image

    try:
        return np.stack([np.asarray(PIL.Image.open(io.BytesIO(bytes(each)))) for each in files])
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{name!r} has a frame that is no JPEG file ({error})") from error
