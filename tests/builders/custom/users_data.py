"""A user's own data: random episodes, and files that hold them in each layout."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import dm_env.specs
import h5py
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from rl_datasets.episode import Episode, EpisodeSpec, by_name

VECTOR = EpisodeSpec(
    observation=dm_env.specs.Array((3,), np.float32),
    action=dm_env.specs.BoundedArray((2,), np.float32, -5.0, 5.0),
)
SEVERAL = EpisodeSpec(
    observation={
        "position": dm_env.specs.Array((3,), np.float64),
        "camera": dm_env.specs.Array((2, 3, 3), np.uint8),
        "floor": dm_env.specs.Array((), np.int64),
    },
    action=dm_env.specs.BoundedArray((), np.int64, 0, 3),
)


def random_episode(
    rng: np.random.Generator, spec: EpisodeSpec, length: int, is_terminal: bool
) -> Episode:
    def rows(number: int, of: dm_env.specs.Array) -> np.ndarray:
        shape = (number, *of.shape)
        if isinstance(of, dm_env.specs.BoundedArray) and of.dtype.kind == "f":
            return rng.uniform(of.minimum, of.maximum, shape).astype(of.dtype)
        if of.dtype.kind in "iu":
            return rng.integers(0, getattr(of, "maximum", 200), shape, of.dtype, endpoint=True)
        return rng.normal(size=shape).astype(of.dtype)

    observations = {name: rows(length + 1, of) for name, of in by_name(spec.observation).items()}
    return Episode.from_transitions(
        observations.get("observation")
        if "observation" in observations
        else {name.partition("/")[2]: array for name, array in observations.items()},
        rows(length, spec.action),
        rng.normal(size=length),
        is_terminal=is_terminal,
        extras={name: rows(length, of) for name, of in spec.extras.items()},
    )


@st.composite
def episodes_of(draw: Callable, spec: EpisodeSpec) -> list[Episode]:
    """Up to four episodes with any finite values."""

    def rows(number: int, of: dm_env.specs.Array) -> np.ndarray:
        limits: dict[str, Any] = {}
        if of.dtype.kind == "f":
            limits = {"allow_nan": False, "allow_infinity": False}
        if isinstance(of, dm_env.specs.BoundedArray):
            limits |= {"min_value": of.minimum.item(), "max_value": of.maximum.item()}
        elements = of_numpy.from_dtype(of.dtype, **limits)
        return draw(of_numpy.arrays(of.dtype, (number, *of.shape), elements=elements))

    episodes = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, 5))
        observed = {name: rows(length + 1, of) for name, of in by_name(spec.observation).items()}
        several = {name.partition("/")[2]: array for name, array in observed.items()}
        episodes.append(
            Episode.from_transitions(
                observed.get("observation", several),
                rows(length, spec.action),
                rows(length, dm_env.specs.Array((), np.float32)),
                is_terminal=draw(st.booleans()),
            )
        )
    return episodes


def arrays_of(episode: Episode) -> dict[str, np.ndarray]:
    """An episode as `sources.episode_arrays` reads it."""
    observed = by_name(episode.observation)
    arrays = {f"observations{name[len('observation') :]}": of for name, of in observed.items()}
    return {
        **{name: np.asarray(of) for name, of in arrays.items()},
        "actions": episode.action[:-1],
        "rewards": episode.reward[:-1],
        "terminations": episode.is_terminal[1:],
        "truncations": episode.is_last[1:] & ~episode.is_terminal[1:],
        **{f"infos/{name}": of for name, of in episode.extras.items()},
        **{f"metadata/{name}": of for name, of in episode.metadata.items()},
    }


def write_npz(folder: pathlib.Path, episodes: Sequence[Episode]) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, episode in enumerate(episodes):
        np.savez(folder / f"episode_{number:03}.npz", **arrays_of(episode))
    return folder


def write_d4rl(path: pathlib.Path, episodes: Sequence[Episode]) -> pathlib.Path:
    """A file in D4RL's layout, with next observations."""
    columns = {
        "observations": [each.observation[:-1] for each in episodes],
        "next_observations": [each.observation[1:] for each in episodes],
        "actions": [each.action[:-1] for each in episodes],
        "rewards": [each.reward[:-1] for each in episodes],
        "terminals": [each.is_terminal[1:] for each in episodes],
        "timeouts": [each.is_last[1:] & ~each.is_terminal[1:] for each in episodes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, rows in columns.items():
            file[name] = np.concatenate(rows)
    return path


def write_minari(
    folder: pathlib.Path, episodes: Sequence[Episode], spec: EpisodeSpec
) -> pathlib.Path:
    """A dataset in Minari's layout; `minari_files` has those that Minari itself wrote."""
    is_discrete = spec.action.shape == ()
    action = {"type": "Discrete", "start": 0, "n": 4} if is_discrete else box(spec.action)
    metadata = {
        "total_episodes": len(episodes),
        "total_steps": sum(each.num_transitions for each in episodes),
        "data_format": "hdf5",
        "observation_space": json.dumps({"type": "Text"}),
        "action_space": json.dumps(action),
        "env_spec": json.dumps({"id": "Hopper-v5"}),
    }
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data/metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "data/main_data.hdf5", "w") as file:
        for number, episode in enumerate(episodes):
            for name, array in arrays_of(episode).items():
                file[f"episode_{number}/{name}"] = array
    return folder


def box(action: dm_env.specs.BoundedArray) -> dict:
    bounds = {"low": action.minimum, "high": action.maximum}
    return {
        "type": "Box",
        "shape": list(action.shape),
        **{name: np.broadcast_to(of, action.shape).tolist() for name, of in bounds.items()},
    }
