"""Published versions for tests of exports, written without Beam."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Mapping, Sequence

import dm_env.specs
import numpy as np
from hypothesis import strategies as st

from rl_datasets import records
from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.episode_check import check_episode
from rl_datasets.published import encoding, manifest

VECTORS = EpisodeSpec(
    observation=dm_env.specs.Array((3,), np.float32),
    action=dm_env.specs.BoundedArray((2,), np.float32, -1.0, 1.0),
    extras={"policy_id": dm_env.specs.Array((), np.int32)},
    metadata={
        "episode_id": dm_env.specs.Array((), np.int64),
        "agent": dm_env.specs.StringArray(()),
        "goal": dm_env.specs.Array((2,), np.float64),
    },
)
FRAMES = EpisodeSpec(
    observation=dm_env.specs.Array((84, 84, 1), np.uint8),
    action=dm_env.specs.BoundedArray((), np.int64, 0, 17),
    metadata={"episode_id": dm_env.specs.Array((), np.int64)},
)


def vectors(seed: int, length: int, is_terminal: bool) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode.from_transitions(
        rng.normal(size=(length + 1, 3)).astype(np.float32),
        rng.uniform(-1, 1, size=(length, 2)).astype(np.float32),
        rng.normal(size=length),
        is_terminal=is_terminal,
        extras={"policy_id": rng.integers(-9, 9, size=length, dtype=np.int32)},
        metadata={
            "episode_id": np.int64(seed),
            "agent": f"agent é {seed}",
            "goal": rng.normal(size=2),
        },
    )


def frames(seed: int, length: int, is_terminal: bool) -> Episode:
    """Frames that bear their number, and are black but for it: never all zero."""
    rng = np.random.default_rng(seed)
    observation = np.zeros((length + 1, 84, 84, 1), np.uint8)
    observation[:, 0, :8, 0] = np.frombuffer(
        (np.arange(length + 1) + 1_000_000 * (seed + 1)).tobytes(), np.uint8
    ).reshape(-1, 8)
    return Episode.from_transitions(
        observation,
        rng.integers(18, size=length),
        rng.integers(-1, 2, size=length),
        is_terminal=is_terminal,
        metadata={"episode_id": np.int64(seed)},
    )


def episodes(make, max_size: int = 5, max_length: int = 12) -> st.SearchStrategy:
    """Lists of episodes that `make(seed, length, is_terminal)` makes."""
    one = st.builds(make, st.integers(0, 2**31), st.integers(1, max_length), st.booleans())
    return st.lists(one, min_size=1, max_size=max_size)


def write(
    folder: pathlib.Path, spec: EpisodeSpec, splits: Mapping[str, Sequence[Episode]]
) -> pathlib.Path:
    """A published version, as far as a reader of ours can tell."""
    folder.mkdir(parents=True)
    entries, statistics = {}, {}
    for split, of_split in splits.items():
        name = f"synthetic-{split}.tfrecord-00000-of-00001"
        with open(folder / name, "wb") as file:
            for episode in of_split:
                check_episode(episode, spec)
                file.write(records.frame(encoding.encode_episode(episode, spec)))
        entries[name] = manifest.file_entry(folder / name)
        statistics[split] = manifest.statistics(
            [each.num_transitions for each in of_split], [each.episode_return for each in of_split]
        )
    plan = {
        "dataset": "synthetic",
        "config": "",
        "version": "1.0.0",
        "spec": manifest.spec_to_json(spec),
        "sources": {},
        "lineage": {},
    }
    manifest.write(folder, manifest.make(plan, statistics, entries, counted={}, skipped={}))
    return folder


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
