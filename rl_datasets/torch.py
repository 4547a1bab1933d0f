"""Published versions as map-style datasets for `torch.utils.data.DataLoader`, without TensorFlow.

    dataset = TransitionDataset("brac/halfcheetah-pure-recollected")
    for batch in loader(dataset, batch_size=256, seed=0, num_workers=2):
        batch.observation, batch.action, batch.reward, batch.discount, batch.next_observation

Any DataLoader takes them: `DataLoader(dataset, batch_size=256, shuffle=True)` stacks single
transitions, and with `batch_size=None` and a `BatchSampler` a batch is taken at once. `loader` is
the fastest, because workers send it arrays: PyTorch passes every tensor of a batch through a file
descriptor of its own, which takes longer than making the batch.

A dataset is pickled as the path of its version, and each worker opens the version for itself. What
an index gives never changes, so the order of batches is the sampler's alone. Only `loader` imports
PyTorch: a map-style dataset is any object with `__len__` and `__getitem__`.
"""

from __future__ import annotations

import collections
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.files import DEFAULT_DATA_DIR
from rl_datasets.frames import EncodedFrames
from rl_datasets.published.random_access import EpisodeFiles
from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving import frame_windows, streaming
from rl_datasets.serving import transitions as tr
from rl_datasets.serving.cut import ONE_STEP, Cut
from rl_datasets.serving.loading import load_rows
from rl_datasets.serving.packing import pack, unpack
from rl_datasets.serving.transitions import Transition
from rl_datasets.stores.store import is_address

__all__ = ["EpisodeDataset", "TransitionDataset", "loader"]


class TransitionDataset:
    """The transitions of a split, by number, in the published order.

    `dataset[i]` is a `Transition` of NumPy arrays of one transition, and `dataset[[i, j, ...]]` one
    of B, with the leading axis [B]:

        observation         [B, *observation], frames stacked oldest first along the last axis
        action              [B, *action], in the dtypes of the version
        reward              [B] float32, the n-step return
        discount            [B] float32; a learner bootstraps with `gamma * discount * value(next)`
        next_observation    [B, *observation], n steps on
        extras              a dict of further fields of the step, and `next_action` of such a cut

    In a process that reads it, vectors are all in memory. Of images, the episodes that were read
    last are, as PNG files, and an episode that is not is read whole.

    Args:
      version: a published version, as `Version.open` takes it.
      split: name of the split, several joined by `+`, or `all`.
      cut: how episodes are cut into transitions.
      data_dir: the folder of published datasets.
      cache_bytes: the most bytes of images that a process keeps, but for one episode.

    Raises:
      DatasetError: there is no such version or split, its records are transitions, or a file is
        missing or damaged; an access raises it too, and IndexError for a number out of range.
    """

    def __init__(
        self,
        version: VersionLike,
        split: str = "train",
        cut: Cut = ONE_STEP,
        data_dir: str | os.PathLike[str] = DEFAULT_DATA_DIR,
        cache_bytes: int = 256 << 20,
    ):
        opened = Version.open(version, data_dir)
        self._place, self._split, self._cut = _place(opened), split, cut
        self._size, self._cache_bytes = opened.counts(split).transitions, cache_bytes
        self._starts: np.ndarray | None = None
        if frame_windows.has_images(opened.episode_spec):
            lengths = opened.episode_files(split).lengths()
            self._starts = np.cumsum([0, *lengths])
        self._take: Callable[[np.ndarray], Transition] | None = None

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int | Sequence[int] | np.ndarray) -> Transition:
        numbers = np.asarray(index)
        if numbers.size and not (-self._size <= numbers.min() and numbers.max() < self._size):
            raise IndexError(f"{index} is not within the {self._size} transitions")
        if self._take is None:
            self._take = self._open()
        batch = self._take(numbers.reshape(-1) % self._size)
        return batch if numbers.ndim else _each(operator.itemgetter(0), batch)

    def __getitems__(self, indices: Sequence[int]) -> list[Transition]:
        """One transition for each index; `DataLoader` calls it for a batch."""
        batch = self[indices]
        return [_each(operator.itemgetter(place), batch) for place in range(len(indices))]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_take": None}

    def _open(self) -> Callable[[np.ndarray], Transition]:
        version = Version.open(self._place)
        if self._starts is not None:
            files = version.episode_files(self._split)
            return _Images(files, self._starts, self._cut, self._cache_bytes).take
        rows = load_rows(version, self._split, self._cut)
        return lambda numbers: _each(_plain, unpack(np.take(rows, numbers)))


class EpisodeDataset:
    """The episodes of a split, by number, in the published order.

    `dataset[i]` is a dict of the fields of the T + 1 steps of an episode, arrays [T + 1, ...] by
    their names in the version, with images decoded, and its metadata as `metadata/<name>`. The
    steps obey the alignment rule of `rl_datasets.episode`. Episodes differ in length, so pass
    `batch_size=None` to the DataLoader.

    Args:
      version: a published version, as `Version.open` takes it.
      split: name of the split, several joined by `+`, or `all`.
      data_dir: the folder of published datasets.

    Raises:
      DatasetError: as `TransitionDataset`.
    """

    def __init__(
        self,
        version: VersionLike,
        split: str = "train",
        data_dir: str | os.PathLike[str] = DEFAULT_DATA_DIR,
    ):
        opened = Version.open(version, data_dir)
        self._place, self._split = _place(opened), split
        _ = opened.episode_spec  # It refuses a version of transitions.
        self._size = opened.counts(split).episodes
        self._files: EpisodeFiles | None = None

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self._files is None:
            self._files = Version.open(self._place).episode_files(self._split)
        episode = self._files[number]
        steps = {name: np.array(field) for name, field in episode.steps().items()}
        return steps | {f"metadata/{name}": value for name, value in episode.metadata.items()}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": None}


def _place(version: Version) -> str:
    """What opens a version again, in a process that may have another working directory."""
    is_local = not is_address(version.location)
    return os.path.abspath(version.location) if is_local else version.location


def loader(
    dataset: TransitionDataset, batch_size: int, seed: int, num_workers: int = 0
) -> _Tensors:
    """Batches of a dataset in random order, as `Transition` of tensors with the leading axis [B].

    One iteration is one epoch: every transition once, but for the last ones that fill no batch. The
    same seed gives the same epochs, whatever the number of workers.

    Args:
      dataset: the transitions.
      batch_size: B.
      seed: seeds the order of all epochs.
      num_workers: processes that read ahead; 0 reads in this one.

    Raises:
      DatasetError: PyTorch is not installed.
    """
    try:
        from torch import Generator
        from torch.utils.data import BatchSampler, DataLoader, RandomSampler
    except ImportError as error:
        raise DatasetError(
            "a loader needs PyTorch, which is not installed: `pip install torch`"
        ) from error
    order = RandomSampler(dataset, generator=Generator().manual_seed(seed))
    return _Tensors(
        DataLoader(
            dataset,
            batch_size=None,
            sampler=BatchSampler(order, batch_size, drop_last=True),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            collate_fn=_as_it_is,
        )
    )


class _Tensors:
    """What a DataLoader of arrays gives, as tensors that share their memory."""

    def __init__(self, arrays: Any):
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays)

    def __iter__(self) -> Iterator[Transition]:
        from torch import from_numpy

        return (_each(from_numpy, batch) for batch in self._arrays)


def _as_it_is(batch: Transition) -> Transition:
    return batch


class _Images:
    """Transitions of images by number; keeps the episodes that were read last."""

    def __init__(self, files: EpisodeFiles, starts: np.ndarray, cut: Cut, most_bytes: int):
        self._files, self._starts, self._cut = files, starts, cut
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: collections.OrderedDict[int, tuple[streaming.Segment, int]] = (
            collections.OrderedDict()
        )

    def take(self, numbers: np.ndarray) -> Transition:
        episodes = np.searchsorted(self._starts, numbers, side="right") - 1
        order = np.argsort(episodes, kind="stable")
        segments = []
        for episode in np.unique(episodes):
            whole = self._episode(int(episode))
            rows = whole.rows[numbers[episodes == episode] - self._starts[episode]]
            segments.append(streaming.Segment(*frame_windows.reached(whole.observation, rows)))
        frames, rows = streaming.decoded(segments)
        return _each(_plain, frame_windows.cut_out(frames, rows[np.argsort(order)]))

    def _episode(self, number: int) -> streaming.Segment:
        """All transitions of an episode."""
        if number not in self._kept:
            episode = self._files[number]
            rows = pack(tr.step_windows(episode, self._cut))
            observation = episode.one_observation
            assert isinstance(observation, EncodedFrames)
            size = rows.nbytes + sum(len(png) for png in observation.pngs)
            self._kept[number] = streaming.Segment(observation, rows), size
            self._bytes += size
        self._kept.move_to_end(number)
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][1]
        return self._kept[number][0]


def _each(change: Callable[[Any], Any], batch: Transition) -> Transition:
    """The transitions with every field changed."""
    changed = {name: change(getattr(batch, name)) for name in Transition._fields[:-1]}
    extras = {name: change(field) for name, field in batch.extras.items()}
    return Transition(**changed, extras=extras)


def _plain(field: np.ndarray) -> np.ndarray:
    """A field of packed rows as an array of its own; stacks stay frame after frame in memory."""
    return np.array(field, order="K")
