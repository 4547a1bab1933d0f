"""Reads and writes the same transitions by this project and by other libraries, for their rates.

    python other_libraries_rates.py FOLDER < names

The folder is what `other_libraries` makes, which also sets the variables that the libraries read
when they are imported. It runs in the environment of the other libraries, where this project has
what reading and exporting need.
"""

from __future__ import annotations

import itertools
import pathlib
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import datasets
import gymnasium
import minari
import numpy as np
import tensorflow_datasets as tfds
from minari.data_collector import EpisodeBuffer
from rates import BATCH_SIZE, Work, answer
from torch.utils.data import DataLoader

from rl_datasets.episode import Episode
from rl_datasets.exporting.export import export
from rl_datasets.published.version import Version
from rl_datasets.torch import TransitionDataset, loader

FOLDER = pathlib.Path(sys.argv[1])
LOADING = {"num_workers": 2, "persistent_workers": True}
MINARI_ID = "synthetic-v1"
COLUMNS = ["observation", "action", "reward", "discount"]


def endless(batches: Iterable[Any]) -> Iterator[Any]:
    """Its batches, epoch after epoch."""
    return itertools.chain.from_iterable(itertools.repeat(batches))


def our_batches() -> Iterable[Any]:
    dataset = TransitionDataset(FOLDER / "tfrecord")
    return loader(dataset, BATCH_SIZE, seed=0, num_workers=LOADING["num_workers"])


def our_stacked_batches() -> DataLoader:
    dataset = TransitionDataset(FOLDER / "tfrecord")
    return DataLoader(dataset, BATCH_SIZE, shuffle=True, drop_last=True, **LOADING)


def batches_of_datasets() -> DataLoader:
    """Of single steps, so without the next observations, which is less than a transition."""
    rows = datasets.load_dataset(str(FOLDER / "parquet"), split="train").select_columns(COLUMNS)
    rows = rows.with_format("torch")
    return DataLoader(rows, BATCH_SIZE, shuffle=True, drop_last=True, **LOADING)


class MinariTransitions:
    """Transitions by number: Minari reads an episode at a time."""

    def __init__(self) -> None:
        self.dataset = minari.load_dataset(MINARI_ID)
        described = self.dataset.storage.get_episode_metadata(range(len(self.dataset)))
        self.ends = np.cumsum([episode["total_steps"] for episode in described])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, number: int) -> dict[str, Any]:
        place = int(np.searchsorted(self.ends, number, side="right"))
        episode = self.dataset[place]
        step = number - (self.ends[place - 1] if place else 0)
        return {
            "observation": episode.observations[step],
            "action": episode.actions[step],
            "reward": episode.rewards[step],
            "discount": np.float32(not episode.terminations[step]),
            "next_observation": episode.observations[step + 1],
        }


def batches_of_minari() -> DataLoader:
    transitions = MinariTransitions()
    return DataLoader(transitions, BATCH_SIZE, shuffle=True, drop_last=True, **LOADING)


BATCHES = {
    "our_batches": our_batches,
    "our_stacked_batches": our_stacked_batches,
    "batches_of_datasets": batches_of_datasets,
    "batches_of_minari": batches_of_minari,
}


def our_episode(version: str) -> Callable[[int], object]:
    files = Version.open(FOLDER / version).episode_files()
    rng = random.Random(0)
    return lambda _: files[rng.randrange(len(files))].steps()


def episode_of_tfds() -> Callable[[int], object]:
    source = tfds.builder_from_directory(FOLDER / "array_record").as_data_source(split="train")
    rng = random.Random(0)

    def read(_: int) -> object:
        steps = list(source[rng.randrange(len(source))]["steps"])
        return {name: np.stack([step[name] for step in steps]) for name in steps[0]}

    return read


EPISODES = {
    "our_episode_of_array_record": lambda: our_episode("array_record"),
    "our_episode_of_tfrecord": lambda: our_episode("tfrecord"),
    "episode_of_tfds": episode_of_tfds,
}


def exported(kind: str) -> None:
    shutil.rmtree(FOLDER / "again", ignore_errors=True)
    export(FOLDER / "tfrecord", kind, FOLDER / "again")


def episodes_in_memory() -> list[Episode]:
    return list(Version.open(FOLDER / "tfrecord").episodes())


def written_by_minari() -> None:
    shutil.rmtree(FOLDER / "minari" / "written-v0", ignore_errors=True)
    episodes = episodes_in_memory()
    buffers = [
        EpisodeBuffer(
            id=number,
            observations=each.one_observation,
            actions=each.action[:-1],
            rewards=each.reward[:-1],
            terminations=each.is_terminal[1:],
            truncations=each.is_last[1:] & ~each.is_terminal[1:],
            infos=dict(each.extras),
        )
        for number, each in enumerate(episodes)
    ]
    box = gymnasium.spaces.Box
    minari.create_dataset_from_buffers(
        "written-v0",
        buffers,
        observation_space=box(-np.inf, np.inf, episodes[0].one_observation.shape[1:], np.float32),
        action_space=box(-1, 1, episodes[0].action.shape[1:], np.float32),
    )


def written_by_datasets() -> None:
    episodes = episodes_in_memory()
    columns = {
        name: np.concatenate([each.steps()[name] for each in episodes])
        for name in episodes[0].steps()
    }
    lengths = [each.num_steps for each in episodes]
    columns["episode_index"] = np.repeat(np.arange(len(episodes)), lengths)
    columns["step_index"] = np.concatenate([np.arange(length) for length in lengths])
    ids = [each.metadata["episode_id"] for each in episodes]
    columns["metadata/episode_id"] = np.repeat(ids, lengths)
    datasets.Dataset.from_dict(columns).to_parquet(FOLDER / "again.parquet")


WRITES = {
    "export_minari": lambda: exported("minari"),
    "export_parquet": lambda: exported("parquet"),
    "written_by_minari": written_by_minari,
    "written_by_datasets": written_by_datasets,
}


def work_of(name: str) -> Work:
    """What is timed, and how much one call of it does."""
    if name in BATCHES:
        batches = endless(BATCHES[name]())
        next(batches)  # Its workers have opened the data.
        return lambda _: next(batches), BATCH_SIZE
    if name in EPISODES:
        return EPISODES[name](), 1
    return lambda _: WRITES[name](), Version.open(FOLDER / "tfrecord").counts().transitions


if __name__ == "__main__":
    datasets.disable_progress_bars()
    answer(work_of)
