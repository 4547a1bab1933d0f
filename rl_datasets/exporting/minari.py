"""Exports a published version as a dataset of github.com/Farama-Foundation/Minari, in HDF5.

    export.json                 what was exported, and the sha256 of every field
    data/metadata.json          what Minari reads first: id, spaces, environment, counts
    data/main_data.hdf5         a group `episode_<number>` for each episode of T transitions:
      observations              [T + 1, ...], or a group of the arrays of an observation
      actions                   [T, ...]
      rewards                   [T] float32
      terminations              [T] bool, the environment ended with this transition
      truncations               [T] bool, the episode was cut after it
      infos/<extra>             [T + 1, ...], further fields of the steps
      attributes                id, total_steps, metadata/<name>, and seed where it is known

Images are stored as they are, compressed by HDF5. Minari stores JPEG files by default, which change
them; so a dataset with images needs Minari 0.5.4, and any other 0.5.0.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import dm_env.specs
import h5py
import numpy as np

from rl_datasets import staging
from rl_datasets.episode import OBSERVATION, Episode, ObservationSpec, by_name
from rl_datasets.exporting import columns, hdf5
from rl_datasets.exporting.source import (
    BLOCK_BYTES,
    SUMMARY_FILE,
    Export,
    Source,
    blocks,
    open_source,
    summary,
)
from rl_datasets.published import manifest
from rl_datasets.published.version import ALL, VersionLike

KIND = "minari"
_SEED = "environment_seed"  # A gymnasium reset with it replays the episode, as Minari's `seed`.


def to_minari(version: VersionLike, folder: str | os.PathLike[str], split: str = ALL) -> Export:
    """Exports a split to a Minari dataset, in the layout that the module describes.

    Memory holds one episode as stored, and a block of every field.

    Args:
      version: a published version, as `Version.open` takes it.
      folder: the folder to create; it is created whole or not at all.
      split: name of a split, several joined by `+`, or "all".

    Raises:
      DatasetError: there is no such version or split, a file of it is damaged, or the folder
        exists or cannot be written.
    """
    source = open_source(version, split)
    with staging.staged(folder) as path:
        data = path / "data"
        data.mkdir(parents=True)
        file = data / "main_data.hdf5"
        with hdf5.creating(file) as (h5, raw):
            fields, discounted = _write(source, h5, raw)
        with hdf5.reading(file) as h5:
            columns.compare(folder, fields, _read_back(source, h5))
        described = _metadata(source, file.stat().st_size)
        (data / "metadata.json").write_text(
            json.dumps(described, indent=1) + "\n", encoding="utf-8"
        )
        differences = list(_differences(source, described, discounted))
        export = summary(KIND, pathlib.Path(folder), source, fields, differences)
        (path / SUMMARY_FILE).write_text(
            json.dumps(export.to_json(), indent=1) + "\n", encoding="utf-8"
        )
    return export


def dataset_id(source: Source) -> str:
    """Minari's id: namespace/name-v<number>, of letters, digits, `_` and `-`."""
    version = source.version
    config = version.config or version.dataset
    if source.splits != tuple(version.splits):
        config = "-".join([config, *source.splits])
    name = re.sub(r"[^\w-]", "-", config, flags=re.ASCII)
    namespace = f"{version.dataset}/" if version.config else ""
    number = version.manifest["plan"]["version"].partition(".")[0]
    return f"{namespace}{name}-v{number}"


def _write(
    source: Source, h5: h5py.File, raw: hdf5.CheckedFile
) -> tuple[dict[str, dict[str, Any]], int]:
    """Writes every episode; describes the fields, and counts discounts between 0 and 1."""
    digests = _digests(source)
    discounted = 0
    for number, episode in enumerate(source.read()):
        group = h5.create_group(f"episode_{number}")
        group.create_group("infos")
        for name, rows in _rows(episode).items():
            _create(group, name, rows, digests[name])
        group.attrs["id"] = number
        group.attrs["total_steps"] = episode.num_transitions
        if _SEED in episode.metadata:
            group.attrs["seed"] = episode.metadata[_SEED]
        for name, value in episode.metadata.items():
            digests[f"metadata/{name}"].update(_of_metadata(value))
            group.attrs[f"metadata/{name}"] = value
        raw.check()
        discounted += int(np.count_nonzero((episode.discount > 0) & (episode.discount < 1)))
    return {name: digest.entry() for name, digest in digests.items()}, discounted


def _create(group: h5py.Group, name: str, rows: Any, digest: columns.Digest) -> None:
    """Creates a dataset of these rows; images are compressed, in chunks of a frame."""
    if not (rows.dtype == np.uint8 and len(rows.shape) > 2):
        digest.update(rows)
        hdf5.create(group, name, rows)
        return
    how = {"chunks": (1, *rows.shape[1:]), "compression": "gzip", "compression_opts": 1}
    dataset = group.create_dataset(name, rows.shape, rows.dtype, **how)
    start = 0
    for block in blocks(rows):
        digest.update(block)
        dataset[start : start + len(block)] = block
        start += len(block)


def _rows(episode: Episode) -> dict[str, Any]:
    """The rows that an episode gives to every field."""
    is_terminal = episode.is_terminal[1:]
    return {
        **_observed(episode.observation),
        "actions": episode.action[:-1],
        "rewards": episode.reward[:-1],
        "terminations": is_terminal,
        "truncations": episode.is_last[1:] & ~is_terminal,
        **{f"infos/{name}": rows for name, rows in episode.extras.items()},
    }


def _observed(observation: Any) -> dict[str, Any]:
    """The arrays of an observation, or their specs, by name."""
    arrays = by_name(observation).items()
    return {name.replace(OBSERVATION, "observations", 1): array for name, array in arrays}


def _digests(source: Source) -> dict[str, columns.Digest]:
    spec = source.spec
    specs = {
        **_observed(spec.observation),
        "actions": spec.action,
        "rewards": dm_env.specs.Array((), np.float32),
        "terminations": dm_env.specs.Array((), np.bool_),
        "truncations": dm_env.specs.Array((), np.bool_),
        **{f"infos/{name}": each for name, each in spec.extras.items()},
        **{
            f"metadata/{name}": dm_env.specs.Array((), np.uint8)
            if isinstance(each, dm_env.specs.StringArray)
            else each
            for name, each in spec.metadata.items()
        },
    }
    return {name: columns.Digest(each.shape, np.dtype(each.dtype)) for name, each in specs.items()}


def _of_metadata(value: Any) -> np.ndarray:
    """A value as a row; text as the bytes of its UTF-8 and a zero."""
    if isinstance(value, str):
        return np.frombuffer(f"{value}\0".encode(), np.uint8)
    return np.asarray(value)[None]


def _read_back(source: Source, h5: h5py.File) -> dict[str, dict[str, Any]]:
    digests = _digests(source)
    for number in range(source.counts.episodes):
        group = h5[f"episode_{number}"]
        for name, digest in digests.items():
            if name.startswith("metadata/"):
                digest.update(_of_metadata(group.attrs[name]))
                continue
            for block in hdf5.blocks(group, name, BLOCK_BYTES):
                digest.update(block)
    return {name: digest.entry() for name, digest in digests.items()}


def _metadata(source: Source, size: int) -> dict[str, Any]:
    """The content of metadata.json."""
    spec, environment = source.spec, _env_spec(source)
    has_images = any(map(_is_minaris_image, [*by_name(spec.observation).values(), spec.action]))
    return {
        "dataset_id": dataset_id(source),
        "minari_version": "0.5.4" if has_images else "0.5.0",
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "total_episodes": source.counts.episodes,
        "total_steps": source.counts.transitions,
        "dataset_size": round(size / 1e6, 1),
        "observation_space": json.dumps(_space(spec.observation)),
        "action_space": json.dumps(_space(spec.action)),
        **({"env_spec": environment} if environment else {}),
        "description": f"{source.version.name}, splits {', '.join(source.splits)}, as rl-datasets "
        f"exported it; the sha256 of its {manifest.FILE_NAME} is {source.version.fingerprint}",
    }


def _is_minaris_image(spec: dm_env.specs.Array) -> bool:
    """Whether Minari before 0.5.4 would take the stored arrays for JPEG files."""
    return spec.dtype == np.uint8 and len(spec.shape) in (2, 3) and min(spec.shape[:2]) >= 32


def _space(spec: ObservationSpec) -> dict[str, Any]:
    """A gymnasium space, as Minari's `serialization` writes it."""
    if isinstance(spec, Mapping):
        return {"type": "Dict", "subspaces": {name: _space(spec[name]) for name in sorted(spec)}}
    least, most = _bounds(spec)
    if isinstance(spec, dm_env.specs.BoundedArray) and not spec.shape and spec.dtype.kind in "iu":
        start = int(least)
        return {"type": "Discrete", "dtype": "int64", "start": start, "n": int(most) - start + 1}
    return {
        "type": "Box",
        "dtype": np.dtype(spec.dtype).name,
        "shape": list(spec.shape),
        "low": least.tolist(),
        "high": most.tolist(),
    }


def _bounds(spec: dm_env.specs.Array) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest values, each of the spec's shape."""
    if isinstance(spec, dm_env.specs.BoundedArray):
        least, most = spec.minimum, spec.maximum
    elif spec.dtype.kind == "f":
        least, most = -np.inf, np.inf
    elif spec.dtype.kind == "b":
        least, most = False, True
    else:
        least, most = np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max
    whole = np.zeros(spec.shape, spec.dtype)
    return np.full_like(whole, least), np.full_like(whole, most)


def _env_spec(source: Source) -> str | None:
    """gymnasium's specification of the environment; None if it has none that can be made."""
    environment = source.version.lineage.environment
    if environment is None:
        return None
    try:
        import gymnasium
    except ImportError:
        return None
    try:
        return gymnasium.spec(environment).to_json()
    except (gymnasium.error.Error, ValueError):  # Of gym's v2 bodies it has only the names.
        return None


def _differences(source: Source, described: Mapping[str, Any], discounted: int) -> Iterator[str]:
    yield (
        f"Minari's id of it is {described['dataset_id']}: `minari.load_dataset` finds it in a "
        "folder of this name below MINARI_DATASETS_PATH, and `minari.MinariDataset` opens the "
        "folder data anywhere"
    )
    if discounted:
        yield f"{discounted} transitions lose their discounts, which are between 0 and 1"
    if "env_spec" not in described:
        named = source.version.lineage.environment
        of = f"{named}, which gymnasium cannot make" if named else "which the version does not name"
        yield f"Minari cannot recover the environment, {of}"
