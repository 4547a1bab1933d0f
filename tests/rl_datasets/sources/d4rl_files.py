"""Files in D4RL's layout: the real slices, and files written by hand."""

from __future__ import annotations

import pathlib
from typing import Any

import h5py
import numpy as np

from rl_datasets.episode_check import check_episode
from rl_datasets.sources import d4rl
from rl_datasets.sources.d4rl_tasks import Task, task

SLICES = {  # By file below shared/d4rl.
    **{
        f"{name}-{data}-{version}.hdf5": f"{name}-{data}-{version}"
        for name in ("door", "pen")
        for data in ("human", "cloned", "expert")
        for version in ("v0", "v1")
    },
    **{
        f"{name}_{file}.hdf5": f"{name}-{data}"
        for name in ("halfcheetah", "hopper", "walker2d")
        for file, data in {
            "medium": "medium-v0",
            "random-v1": "random-v1",
            "medium_replay-v1": "medium-replay-v1",
            "medium-v2": "medium-v2",
        }.items()
    },
}


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every dataset of a file by its path."""
    content = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            content[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return content


def write(path: pathlib.Path, content: dict[str, Any]) -> pathlib.Path:
    """A file with these datasets; None leaves one out."""
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            if value is not None:
                file[name] = value
    return path


def content(of: Task | str, rows: int, terminals=(), timeouts=(), **changes: Any) -> dict[str, Any]:
    """A content of random rows, with flags in the rows that are named."""
    of = task(of) if isinstance(of, str) else of
    rng = np.random.default_rng(rows)
    flags = {"terminals": terminals, "timeouts": timeouts}
    return {
        "observations": rng.normal(size=(rows, of.observation_size)).astype(np.float32),
        "actions": rng.uniform(-1, 1, size=(rows, of.action_size)).astype(np.float32),
        "rewards": rng.normal(size=rows).astype(np.float32),
        **{name: np.isin(np.arange(rows), marked) for name, marked in flags.items()},
        **changes,
    }


def with_next_observations(content: dict[str, Any]) -> dict[str, Any]:
    """Stores next observations, which continue from row to row except after flags."""
    observations = content["observations"]
    following = np.roll(observations, -1, axis=0)
    ends = content["terminals"] | content["timeouts"]
    ends[-1] = True
    final = np.random.default_rng(1).normal(size=observations.shape).astype(observations.dtype)
    return {**content, "next_observations": np.where(ends[:, None], final, following)}


def read(path, name):
    """The episodes of a file, each checked."""
    of = task(name)
    spec = d4rl.read_contents(path, of).episode_spec()
    episodes = list(d4rl.read_episodes(path, of))
    for episode in episodes:
        check_episode(episode, spec)
    return episodes


def transitions(episodes):
    """(row, observation, action, reward, discount, next observation, extras) of each."""
    found = []
    for episode in episodes:
        for t in range(episode.num_transitions):
            row = episode.metadata["first_row"] + t
            found.append(
                (
                    int(row),
                    episode.observation[t],
                    episode.action[t],
                    episode.reward[t],
                    episode.discount[t],
                    episode.observation[t + 1],
                    {name: extra[t] for name, extra in episode.extras.items()},
                )
            )
    return found
