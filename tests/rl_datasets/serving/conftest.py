"""Transitions whose every field tells which one they are, and small published versions."""

import pathlib

import dm_env.specs
import numpy as np
import pytest

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.published import manifest
from rl_datasets.publishing import units
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.serving.transitions import Transition
from tests.rl_datasets.publishing import synthetic


def make_transitions(size: int) -> Transition:
    """Transition i has reward i and policy_id i, and every other field follows from i."""
    number = np.arange(size)
    return Transition(
        observation=np.stack([number, -number], axis=1).astype(np.float32),
        action=number[:, None].astype(np.float32) / 2,
        reward=number.astype(np.float32),
        discount=(number % 7 > 0).astype(np.float32),
        next_observation=np.stack([number + 1, -number - 1], axis=1).astype(np.float32),
        extras={"policy_id": number.astype(np.int32)},
    )


def make_episode(number: int, length: int, shape=(5, 6, 1), dtype=np.uint8) -> Episode:
    """An episode whose frames are never zeros; odd ones are terminal."""
    rng = np.random.default_rng(number)
    return Episode.from_transitions(
        rng.integers(1, 200, (length + 1, *shape)).astype(dtype),
        rng.integers(0, 18, length),
        rng.normal(size=length),
        is_terminal=number % 2 == 1,
        extras={"policy_id": rng.integers(0, 9, length, dtype=np.int32)},
    )


LENGTHS = [30, 1, 40, 2, 100, 17, 16, 63]
FRAMES_SPEC = EpisodeSpec(
    observation=dm_env.specs.Array((5, 6, 1), np.uint8),
    action=dm_env.specs.BoundedArray((), np.int64, 0, 17),
    extras={"policy_id": dm_env.specs.Array((), np.int32)},
)


def frames_unit(first: int, count: int) -> SourceUnit:
    """Episodes `first` to `first + count`, of `LENGTHS` transitions."""
    return SourceUnit(
        name=f"unit-{first}",
        split="train",
        num_episodes=None,
        num_transitions=None,
        files=(),
        read=lambda: map(make_episode, range(first, first + count), LENGTHS[first:]),
    )


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> pathlib.Path:
    """Folder of a version of 12 episodes with extras of several types: a shard and a manifest."""
    sources = [synthetic.unit(0, "", count=12)]
    return publish_units(sources, synthetic.SPEC, tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def published_frames(tmp_path_factory) -> pathlib.Path:
    """Folder of a version of 8 episodes of frames, in two shards."""
    sources = [frames_unit(0, 5), frames_unit(5, 3)]
    return publish_units(sources, FRAMES_SPEC, tmp_path_factory.mktemp("published"))


def publish_units(sources, spec, folder) -> pathlib.Path:
    """Shards and manifest as publishing writes them, without Beam and without TFDS's metadata."""
    receipts = folder / "receipts"
    receipts.mkdir()
    shards = [
        folder / f"synthetic-train.tfrecord-{index:05}-of-{len(sources):05}"
        for index in range(len(sources))
    ]
    lengths, returns = [], []
    for source, shard in zip(sources, shards, strict=True):
        units.write_unit(source, spec, shard, receipts / shard.name)
        receipt = units.read_receipt(receipts / shard.name)
        lengths += receipt.lengths
        returns += receipt.returns
    plan = {
        "dataset": "synthetic",
        "config": "",
        "version": "1.0.0",
        "spec": manifest.spec_to_json(spec),
        "sources": {},
        "lineage": {},
    }
    splits = {"train": manifest.statistics(lengths, returns)}
    entries = {shard.name: manifest.file_entry(shard) for shard in shards}
    manifest.write(folder, manifest.make(plan, splits, entries, counted={}, skipped={}))
    return folder
