"""The collected folder that `rl-datasets collect` writes: its format, and its reader.

    collection.json   written last, so its presence says that the collection is complete
    unit-00000.npz    the first unit: one policy's episodes, at most 50,000 transitions
    unit-00001.npz    ...

A unit is a NumPy archive without pickles:

    steps/<field>     [sum of episode_length, ...], the steps of its episodes, one after another
    episode_length    [episodes] int64, steps of each episode, one more than its transitions
    metadata/<name>   [episodes, ...]
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import dm_env.specs
import numpy as np

from rl_datasets import episode, errors, files, npz, toml_tables

FORMAT_VERSION = 1
COLLECTION_FILE = "collection.json"
RECOLLECTED = "-recollected"  # Part of the name of a published dataset that was collected again.
_MEND = "delete it and run the same collection again"
_OF_ANOTHER_FORM = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

# Every step has the id of its policy. Every episode has its number, the seed with which its
# environment was reset, and whether the unit's budget cut it.
EXTRAS = {"policy_id": dm_env.specs.Array((), np.int32)}
METADATA = {
    "episode_id": dm_env.specs.Array((), np.int64),
    "environment_seed": dm_env.specs.Array((), np.int64),
    "is_cut": dm_env.specs.Array((), np.bool_),
}


@dataclasses.dataclass(frozen=True)
class PolicyRecord:
    """One behaviour policy of a collection.

    Attributes:
      id: the steps' `policy_id`.
      name: its name in the mixture.
      kind: `uniform` or `tanh_gaussian`.
      mode: whether it takes the mode of its distribution instead of sampling.
      sigma: standard deviation of the Gaussian noise on its actions; 0 for none.
      epsilon: probability of a uniform action instead; 0 for none.
      source: (file name, sha256) of every file that holds its weights.
      transitions: number of its transitions in the collection.
    """

    id: int
    name: str
    kind: str
    mode: bool
    sigma: float
    epsilon: float
    source: tuple[tuple[str, str], ...]
    transitions: int


@dataclasses.dataclass(frozen=True)
class UnitRecord:
    """One unit file: its name within the folder, the sha256 of its bytes, and what it holds."""

    file: str
    sha256: str
    episodes: int
    transitions: int


@dataclasses.dataclass(frozen=True)
class Collection:
    """A complete collection, as described by its `collection.json`.

    Attributes:
      folder: its folder.
      dataset: name of the dataset, such as `halfcheetah-eps1-recollected`.
      environment: gymnasium's name of the environment.
      mixture: name of the data configuration.
      seed: the seed of the whole collection.
      observation: shape and dtype of an observation.
      action: shape, dtype, minimum and maximum of an action.
      policies: the behaviour policies, by id.
      units: the unit files, in order.
      versions: versions of this code and of the libraries that affect the data.
      protocol: `brac` or `d4rl`, the rule by which episodes were kept; see `mixtures`.
    """

    folder: pathlib.Path
    dataset: str
    environment: str
    mixture: str
    seed: int
    observation: Mapping[str, Any]
    action: Mapping[str, Any]
    policies: tuple[PolicyRecord, ...]
    units: tuple[UnitRecord, ...]
    versions: Mapping[str, str]
    protocol: str = "brac"

    @property
    def num_episodes(self) -> int:
        return sum(unit.episodes for unit in self.units)

    @property
    def num_transitions(self) -> int:
        return sum(unit.transitions for unit in self.units)

    def episode_spec(self) -> episode.EpisodeSpec:
        """The spec of the collection's episodes."""
        observation, action = self.observation, self.action
        return episode.EpisodeSpec(
            observation=dm_env.specs.Array(observation["shape"], np.dtype(observation["dtype"])),
            action=dm_env.specs.BoundedArray(
                action["shape"], np.dtype(action["dtype"]), action["minimum"], action["maximum"]
            ),
            extras=EXTRAS,
            metadata=METADATA,
        )


def read_unit(path: str | pathlib.Path) -> Iterator[episode.Episode]:
    """Reads the episodes of a unit file, in order.

    Raises:
      DatasetError: the file is missing, truncated or damaged, holds a pickle, lacks a field, or has
        a field of the wrong length or with a value that is not finite.
    """
    arrays = npz.read_arrays(pathlib.Path(path), _MEND)
    lengths = arrays.pop("episode_length", np.zeros(0, np.int64))
    fields = {name: array for name, array in arrays.items() if name.startswith("steps/")}
    metadata = {
        name.removeprefix("metadata/"): array
        for name, array in arrays.items()
        if name.startswith("metadata/")
    }
    _check_unit(path, lengths, fields, metadata)
    ends = np.cumsum(lengths)
    for i, end in enumerate(ends):
        rows = slice(end - lengths[i], end)
        yield episode.Episode.from_steps(
            {name.removeprefix("steps/"): field[rows] for name, field in fields.items()},
            {name: _metadata_value(values[i]) for name, values in metadata.items()},
        )


def read_collection(folder: str | pathlib.Path, check_units: bool = True) -> Collection:
    """Reads `collection.json`, and checks that every unit exists and has the recorded sha256.

    Args:
      folder: the collected folder.
      check_units: whether to check the units.

    Raises:
      DatasetError: the collection is not complete, has another format, or a unit is missing or has
        other bytes.
    """
    folder = pathlib.Path(folder)
    path = folder / COLLECTION_FILE
    if not path.is_file():
        raise errors.DatasetError(
            f"{path} does not exist, so {folder} holds no complete collection: collect it, or run "
            "the same collection again to continue it"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format_version")
        if version == FORMAT_VERSION:
            for name, kind in (("policies", PolicyRecord), ("units", UnitRecord)):
                content[name] = tuple(toml_tables.build(kind, each, name) for each in content[name])
            collection = Collection(folder=folder, **content)
            collection.episode_spec()
    except (*_OF_ANOTHER_FORM, errors.DatasetError) as error:
        raise errors.DatasetError(
            f"{path} is damaged ({errors.in_words(error)}): delete {folder} and collect again"
        ) from error
    if version != FORMAT_VERSION:
        raise errors.DatasetError(
            f"{path} has format version {version}, and this code reads {FORMAT_VERSION}: "
            "collect again, or use the version of this package that wrote it"
        )
    for unit in collection.units:
        if not isinstance(unit.file, str) or not files.NAME.fullmatch(unit.file):
            raise errors.DatasetError(
                f"{path} names a unit {unit.file!r:.80}, which is not a file of {folder}: delete "
                f"{folder} and collect again"
            )
    for unit in collection.units if check_units else ():
        file = folder / unit.file
        if not file.is_file() or files.sha256_of(file) != unit.sha256:
            raise errors.DatasetError(
                f"{file} is missing or is not what {path} says: run the same collection again to "
                "repair it"
            )
    return collection


def _check_unit(
    path: str | pathlib.Path,
    lengths: np.ndarray,
    fields: dict[str, np.ndarray],
    metadata: dict[str, np.ndarray],
) -> None:
    problem = None
    missing = {f"steps/{name}" for name in episode.STEP_FIELDS} - fields.keys()
    if missing:
        problem = f"lacks {sorted(missing)}"
    elif lengths.ndim != 1 or lengths.dtype != np.int64 or len(lengths) < 1 or lengths.min() < 2:
        problem = "must have an episode_length of two steps or more for each episode"
    elif any(field.ndim < 1 or len(field) != lengths.sum() for field in fields.values()):
        problem = f"must have {lengths.sum()} rows in every field of the steps"
    elif any(values.ndim < 1 or len(values) != len(lengths) for values in metadata.values()):
        problem = f"must have {len(lengths)} rows in every field of the metadata"
    else:
        inexact = {n: f for n, f in fields.items() if np.issubdtype(f.dtype, np.inexact)}
        bad = [name for name, field in inexact.items() if not np.all(np.isfinite(field))]
        if bad:
            problem = f"has values that are not finite in {bad[0]}"
    if problem:
        raise errors.DatasetError(f"{path} {problem}: {_MEND}")


def _metadata_value(value: Any) -> Any:
    return str(value) if isinstance(value, np.str_) else value
