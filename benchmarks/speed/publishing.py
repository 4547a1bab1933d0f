"""Measures publishing against plain TFDS, and against writing the same bytes with no other work.

The data are 1,000,000 transitions of 17 observations and 6 actions, all float32, in episodes of
1,000. Each way is first warmed up on a small dataset in the same process, so that start-up does not
count.
"""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dm_env.specs
import numpy as np
import tensorflow_datasets as tfds

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.published.features import features_dict
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.publish import publish
from rl_datasets.publishing.units import SourceUnit

EPISODE_LENGTH = 1000
UNIT_EPISODES = 50
SPEC = EpisodeSpec(
    observation=dm_env.specs.Array((17,), np.float32),
    action=dm_env.specs.BoundedArray((6,), np.float32, -1.0, 1.0),
    extras={"policy_id": dm_env.specs.Array((), np.int32)},
    metadata={"episode_id": dm_env.specs.Array((), np.int64)},
)


def synthetic_episodes(first: int, count: int) -> Iterator[Episode]:
    """`count` episodes of `SPEC`, numbered from `first`; each depends only on its number."""
    for episode_id in range(first, first + count):
        rng = np.random.default_rng(episode_id)
        yield Episode.from_transitions(
            rng.random((EPISODE_LENGTH + 1, 17), np.float32),
            2 * rng.random((EPISODE_LENGTH, 6), np.float32) - 1,
            rng.random(EPISODE_LENGTH, np.float32),
            is_terminal=episode_id % 2 == 0,
            extras={"policy_id": np.full(EPISODE_LENGTH, episode_id % 3, np.int32)},
            metadata={"episode_id": np.int64(episode_id)},
        )


class Synthetic(PublishedDatasetBuilder, skip_registration=True):  # type: ignore[call-arg]
    """As many synthetic transitions as `source` says, in units of 50 episodes."""

    VERSION = tfds.core.Version("1.0.0")

    def episode_spec(self) -> EpisodeSpec:
        return SPEC

    def source_units(self) -> Sequence[SourceUnit]:
        episodes = int(self.source or 0) // EPISODE_LENGTH
        return [
            SourceUnit(
                name=f"episodes from {first}",
                split="train",
                num_episodes=(count := min(UNIT_EPISODES, episodes - first)),
                num_transitions=count * EPISODE_LENGTH,
                files=(),
                read=functools.partial(synthetic_episodes, first, count),
            )
            for first in range(0, episodes, UNIT_EPISODES)
        ]

    def lineage(self) -> Mapping[str, Any]:
        return {"source": "synthetic", "repaired": []}


class Plain(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """The anchor: a TFDS builder of the same episodes, written as TFDS's documentation shows."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, transitions: int, **kwargs: Any):
        self._transitions = transitions
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=features_dict(SPEC))

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for episode in synthetic_episodes(0, self._transitions // EPISODE_LENGTH):
            key = int(episode.metadata["episode_id"])
            yield key, {"steps": episode.steps(), **episode.metadata}


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Transitions published per second, and peak memory; `ratio` is relative to `anchor`."""
    transitions = 100_000 if quick else 1_000_000
    tfds.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        plain = _rate(_publish_plain, scratch / "plain", transitions)
        ours = _rate(publish_ours, scratch / "ours", transitions)
        bare = _rate_of_bare_writing(scratch / "ours" / "timed", scratch / "bare", transitions)
    anchor = "tfds GeneratorBasedBuilder"
    rows = [("publish", ours), (anchor, plain), ("the same bytes written with no work", bare)]
    return [
        {
            "name": name,
            "value": rate,
            "unit": "transitions/s",
            "anchor": anchor,
            "ratio": rate / plain,
        }
        for name, rate in rows
    ] + _memory(quick)


def _memory(quick: bool) -> list[dict[str, Any]]:
    sizes = (100_000, 1_000_000) if quick else (200_000, 2_000_000)
    peaks = [peak_memory(size) / 2**20 for size in sizes]
    return [
        {
            "name": f"peak memory of publishing {size:,} transitions",
            "value": peak,
            "unit": "MiB",
            "anchor": f"{sizes[0]:,} transitions",
            "ratio": peak / peaks[0],
        }
        for size, peak in zip(sizes, peaks, strict=True)
    ]


def peak_memory(transitions: int) -> int:
    """Peak resident bytes of a separate process that publishes so many transitions."""
    script = (
        "import sys, pathlib; from benchmarks.speed import publishing;"
        "publishing.publish_ours(pathlib.Path(sys.argv[1]), int(sys.argv[2]));"
        "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", script, folder, str(transitions)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return 1024 * int(output.split()[-1])


def _rate(
    publish_into: Callable[[pathlib.Path, int], None], folder: pathlib.Path, transitions: int
) -> float:
    publish_into(folder / "warm-up", EPISODE_LENGTH)
    start = time.perf_counter()
    publish_into(folder / "timed", transitions)
    return transitions / (time.perf_counter() - start)


def publish_ours(folder: pathlib.Path, transitions: int) -> None:
    publish(Synthetic(source=str(transitions), data_dir=folder))


def _publish_plain(folder: pathlib.Path, transitions: int) -> None:
    Plain(transitions=transitions, data_dir=folder).download_and_prepare()


def _rate_of_bare_writing(published: pathlib.Path, folder: pathlib.Path, transitions: int) -> float:
    shards = [path.read_bytes() for path in sorted(published.rglob("*.tfrecord-*"))]
    folder.mkdir()
    start = time.perf_counter()
    for index, content in enumerate(shards):
        with open(folder / str(index), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return transitions / (time.perf_counter() - start)
