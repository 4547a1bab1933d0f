"""A small source with every kind of field, and the ways in which a source can fail."""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
import pathlib
import signal
import time
from collections.abc import Iterator

import dm_env.specs
import numpy as np
import tensorflow_datasets as tfds

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames, encode_png
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.publish import Publication, publish
from rl_datasets.publishing.units import SourceUnit

ROOT = pathlib.Path(__file__).resolve().parents[3]

SPEC = EpisodeSpec(
    observation=dm_env.specs.Array((3,), np.float32),
    action=dm_env.specs.BoundedArray((2,), np.float32, -1.0, 1.0),
    extras={
        "policy_id": dm_env.specs.Array((), np.int32),
        "goal": dm_env.specs.Array((2,), np.float64),
        "frame": dm_env.specs.Array((4, 4, 1), np.uint8),
    },
    metadata={
        "episode_id": dm_env.specs.Array((), np.int64),
        "weight": dm_env.specs.Array((), np.float32),
        "agent": dm_env.specs.StringArray(()),
    },
)


def episode(episode_id: int) -> Episode:
    """Episode `episode_id`, of 3 to 7 transitions; odd ones are terminal."""
    rng = np.random.default_rng(episode_id)
    length = 3 + episode_id % 5
    return Episode.from_transitions(
        rng.normal(size=(length + 1, 3)).astype(np.float32),
        rng.uniform(-1, 1, size=(length, 2)).astype(np.float32),
        rng.normal(size=length),
        is_terminal=episode_id % 2 == 1,
        extras={
            "policy_id": rng.integers(-300, 300, size=length, dtype=np.int32),
            "goal": rng.normal(size=(length, 2)),
            "frame": rng.integers(0, 256, size=(length, 4, 4, 1), dtype=np.uint8),
        },
        metadata={
            "episode_id": np.int64(episode_id),
            "weight": np.float32(0.1 * episode_id),
            "agent": f"agent é {episode_id}",
        },
    )


def read(first: int, count: int) -> Iterator[Episode]:
    return (episode(i) for i in range(first, first + count))


def read_nan(first: int, count: int) -> Iterator[Episode]:
    for good in read(first, count):
        reward = good.reward.copy()
        reward[0] = np.nan
        yield dataclasses.replace(good, reward=reward)


def read_damaged(first: int, count: int, source: str) -> Iterator[Episode]:
    yield episode(first)
    raise DatasetError(f"{source} is damaged; copy it again")


def read_cut_frame(first: int, count: int) -> Iterator[Episode]:
    for good in read(first, count):
        pngs = encode_png(good.extras["frame"])
        pngs[2] = pngs[2][:-3]
        frame = EncodedFrames(pngs, (4, 4, 1))
        yield dataclasses.replace(good, extras={**good.extras, "frame": frame})


def read_full_disk(first: int, count: int) -> Iterator[Episode]:
    yield episode(first)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_then_kill(first: int, count: int, once: str) -> Iterator[Episode]:
    """Kills its own process in the middle, the first time that it is read."""
    yield episode(first)
    if not os.path.exists(once):
        pathlib.Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield from read(first + 1, count - 1)


def read_then_wait(first: int, count: int, once: str) -> Iterator[Episode]:
    """Waits in the middle, the first time that it is read."""
    yield episode(first)
    if not os.path.exists(once):
        pathlib.Path(once).touch()
        time.sleep(60)
    yield from read(first + 1, count - 1)


def unit(index: int, source: str, count: int = 4, reader=read, **kwargs) -> SourceUnit:
    """Unit `index` of episodes `count * index` and on, said to be read from the file `source`."""
    episodes = list(read(count * index, count))
    return SourceUnit(
        name=f"unit-{index}",
        split="train",
        num_episodes=count,
        num_transitions=sum(each.num_transitions for each in episodes),
        files=(source,),
        read=functools.partial(reader, count * index, count, **kwargs),
    )


class Synthetic(PublishedDatasetBuilder, skip_registration=True):
    """Publishes the units that it is given."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = tfds.core.Path(__file__).parent  # TFDS cannot tell, as `tests` is no package.

    def __init__(self, *, units=(), lineage=None, source="synthetic", **kwargs):
        self.units, self._lineage = units, lineage or {"source": "synthetic", "repaired": []}
        super().__init__(source=source, **kwargs)

    def episode_spec(self):
        return SPEC

    def source_units(self):
        return self.units

    def lineage(self):
        return self._lineage


def published(folder: pathlib.Path, units: int) -> Publication:
    """A version of so many units, published in the folder."""
    source = folder / "source.bin"
    source.write_bytes(b"raw logs")
    made = [unit(index, str(source)) for index in range(units)]
    return publish(Synthetic(units=made, data_dir=folder / "data"))
