"""Measures exporting a version and reading it back against the work that no export can avoid.

Frames are 84 x 84, about 1.5 kB as PNG. Vectors are 17 observations and 6 actions, all float32.
Episodes have 1,000 transitions. The anchor of a format reads and decodes the version into memory,
and writes it in one call of the format's own library; it reads nothing back.
"""

from __future__ import annotations

import functools
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
import tensorflow_datasets as tfds
from isal import igzip

from benchmarks.speed import publishing
from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.exporting.export import export
from rl_datasets.published.version import Version
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.publish import publish
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import atari

EPISODE_LENGTH = 1_000
SPRITES = 20


def synthetic_episode(episode_id: int) -> Episode:
    """Frames of a still scene with moving sprites, like those of games."""
    rng = np.random.default_rng(episode_id)
    scene = np.repeat(rng.integers(0, 256, (14, 14), np.uint8), 6, axis=0).repeat(6, axis=1)
    sprites = rng.integers(0, 256, (SPRITES, 6, 5), np.uint8)
    place = rng.integers(0, 78, (SPRITES, 2))
    observation = np.empty((EPISODE_LENGTH + 1, *atari.FRAME_SHAPE), np.uint8)
    for frame in observation[..., 0]:
        place = np.clip(place + rng.integers(-2, 3, place.shape), 0, 78)
        frame[:] = scene
        for (top, left), sprite in zip(place, sprites, strict=True):
            frame[top : top + 6, left : left + 5] = sprite
    return Episode.from_transitions(
        observation,
        rng.integers(18, size=EPISODE_LENGTH),
        rng.integers(-1, 2, size=EPISODE_LENGTH),
        is_terminal=True,
        metadata={
            "checkpoint_id": np.int64(0),
            "episode_id": np.int64(episode_id),
            "episode_return": np.float32(0),
        },
    )


class Frames(PublishedDatasetBuilder, skip_registration=True):  # type: ignore[call-arg]
    """As many episodes of frames as `source` says."""

    VERSION = tfds.core.Version("1.0.0")

    def episode_spec(self) -> EpisodeSpec:
        return atari.atari_episode_spec()

    def source_units(self) -> Sequence[SourceUnit]:
        count = int(self.source or 0)
        read = functools.partial(map, synthetic_episode, range(count))
        return [SourceUnit("all", "train", count, count * EPISODE_LENGTH, (), read)]

    def lineage(self) -> Mapping[str, Any]:
        return {"source": "synthetic", "repaired": []}


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Transitions exported per second; `ratio` is relative to `anchor`."""
    episodes, transitions = (4, 100_000) if quick else (40, 1_000_000)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        frames = publish(Frames(source=str(episodes), data_dir=scratch)).path
        vectors = publish(publishing.Synthetic(source=str(transitions), data_dir=scratch)).path
        for of, version, kind, save in (
            ("frames", frames, "arrays", _save_arrays),
            ("frames", frames, "d4rl", _save_hdf5),
            ("frames", frames, "replay-logs", _save_gzip),
            ("vectors", vectors, "arrays", _save_arrays),
            ("vectors", vectors, "d4rl", _save_hdf5),
        ):
            target, anchor = scratch / "target", f"{kind} of {of} in one call"
            ours = _rate(functools.partial(_export, version, kind, target), target)
            plain = _rate(functools.partial(_in_one_call, version, save, target), target)
            rows += [
                _row(f"export {of} to {kind}", ours, anchor, plain),
                _row(anchor, plain, anchor, plain),
            ]
    return rows


def _row(name: str, rate: float, anchor: str, anchor_rate: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": rate,
        "unit": "transitions/s",
        "anchor": anchor,
        "ratio": rate / anchor_rate,
    }


def _rate(write: Callable[[], int], target: pathlib.Path) -> float:
    """Transitions per second in the second of two runs."""
    for _ in range(2):
        start = time.perf_counter()
        transitions = write()
        seconds = time.perf_counter() - start
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    return transitions / seconds


def _export(version: pathlib.Path, kind: str, target: pathlib.Path) -> int:
    return export(version, kind, target).transitions


def _in_one_call(
    version: pathlib.Path,
    save: Callable[[Mapping[str, np.ndarray], pathlib.Path], None],
    target: pathlib.Path,
) -> int:
    episodes = list(Version.open(version).episodes())
    save(
        {
            name: np.concatenate([np.asarray(each.steps()[name]) for each in episodes])
            for name in episodes[0].steps()
        },
        target,
    )
    return sum(each.num_transitions for each in episodes)


def _save_arrays(fields: Mapping[str, np.ndarray], target: pathlib.Path) -> None:
    target.mkdir()
    for name, field in fields.items():
        np.save(target / name, field)


def _save_hdf5(fields: Mapping[str, np.ndarray], target: pathlib.Path) -> None:
    with h5py.File(target, "w") as file:
        for name, field in fields.items():
            file.create_dataset(name, data=field, compression="gzip", compression_opts=1)
        if fields["observation"].ndim == 2:  # D4RL stores next observations as well.
            file.create_dataset(
                "next", data=fields["observation"], compression="gzip", compression_opts=1
            )


def _save_gzip(fields: Mapping[str, np.ndarray], target: pathlib.Path) -> None:
    with igzip.open(target, "wb") as file:
        for field in fields.values():
            file.write(field.tobytes())
