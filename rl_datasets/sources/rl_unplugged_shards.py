"""RL Unplugged's shards: where they are, and how their records are read.

Gulcehre et al. 2020, "RL Unplugged: A Suite of Benchmarks for Offline Reinforcement Learning". A
shard is a TFRecord file of `tf.train.Example`s in gs://rl_unplugged. It is named
`<prefix>-<shard>-of-<shards>`, with five digits each, and in most suites the whole file is
compressed with gzip. A shard may hold no record.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from rl_datasets import records, wire
from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.sources import buckets

BUCKET = "gs://rl_unplugged"
Shard = pathlib.Path | buckets.Object
Features = Mapping[str, wire.Feature]
Record = TypeVar("Record")

_NUMBERS = re.compile(r"-\d{5}-of-(\d{5})")
_GZIP = b"\x1f\x8b\x08"


@dataclasses.dataclass(frozen=True)
class ShardSet:
    """The shards of a dataset.

    Attributes:
      folder: their folder in the bucket, such as `dm_control_suite_episodes/cartpole_swingup`; its
        first part is the suite's, and the others say which dataset it is.
      prefix: the beginning of their names, such as `train`.
      what: what they are of, as an error names it.
      count: how many there are in the bucket.
    """

    folder: str
    prefix: str
    what: str
    count: int

    def find(self, source: str | os.PathLike[str], otherwise: str = "") -> list[Shard]:
        """All shards, in order; a missing one is where the others' names put it.

        Args:
          source: the bucket, gs://rl_unplugged, or a copy of it; or a folder of it from the suite's
            to that of the shards.
          otherwise: the end of the error that says that there are none.

        Raises:
          DatasetError: the source holds none of the shards, holds those of two copies that were
            split differently, or is a bucket that cannot be listed.
        """
        root = _root(os.fspath(source))
        for folder in self._folders(root):
            found = self._list(folder)
            counts = {int(name.rpartition("-")[2]) for name in found}
            if len(counts) > 1:
                raise DatasetError(
                    f"{folder} holds shards of two copies of {self.what}, one split into "
                    f"{min(counts)} and the other into {max(counts)}; leave only one of the copies "
                    "there"
                )
            for count in counts:
                names = [f"{self.prefix}-{index:05d}-of-{count:05d}" for index in range(count)]
                return [found.get(name) or _place(folder, name) for name in names]
        raise DatasetError(
            f"{root} has no shard of {self.what}, such as "
            f"{self.folder.partition('/')[2]}/{self.prefix}-00000-of-{self.count:05d}; name "
            f"{BUCKET}, or copy them there from {BUCKET}/{self.folder}/{self.prefix}-*{otherwise}"
        )

    def _folders(self, root: str) -> Iterator[str]:
        """Where the shards are if `root` is the bucket, the suite's folder, or one below it."""
        parts = self.folder.split("/")
        for depth in range(len(parts) + 1):
            # A folder of another name may hold another dataset, and shards do not say which.
            if depth < 2 or root.split("/")[1 - depth :] == parts[1:depth]:
                yield "/".join([root, *parts[depth:]])

    def _list(self, folder: str) -> dict[str, Shard]:
        """The shards in a folder, by their names."""
        entries: Mapping[str, Shard] = {}
        if buckets.is_url(folder):
            entries = buckets.list_folder(folder, f"{self.prefix}-")
        elif os.path.isdir(folder):
            entries = {path.name: path for path in pathlib.Path(folder).iterdir()}
        return {
            name: entry
            for name, entry in entries.items()
            if name.startswith(self.prefix) and _NUMBERS.fullmatch(name, len(self.prefix))
        }


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the records of a suite are.

    Attributes:
      suite: its folder in the bucket, such as `dm_control_suite_episodes`.
      noun: what a record is, as an error names it.
      is_gzip: whether its shards are compressed.
    """

    suite: str
    noun: str = "an episode"
    is_gzip: bool = True

    def read(
        self,
        path: str | os.PathLike[str],
        parse: Callable[[Features], Record],
        name: str = "the shard",
    ) -> Iterator[Record | EpisodeError]:
        """Reads every record of a shard, in order; in place of a faulty one an error.

        Args:
          path: the shard.
          parse: makes a record of features, and raises `ValueError` or `KeyError` if it cannot.
          name: how an error in place of a record names the shard.

        Raises:
          DatasetError: the file cannot be read, is damaged, or lacks a feature.
        """
        for index, record in enumerate(self._records(path)):
            try:
                yield parse(wire.decode_example(record))
            except KeyError as error:
                raise DatasetError(
                    f"record {index} of {path} has no feature {error}, so it is not {self.noun} of "
                    f"RL Unplugged; name a folder of {self.suite}"
                ) from error
            except ValueError as error:
                yield EpisodeError(
                    f"record {index} of {name} is not {self.noun} of RL Unplugged's: {error}"
                )

    def read_all(
        self, parse: Callable[[Features], Record], names: Sequence[str], *paths: str
    ) -> Iterator[Record | EpisodeError]:
        """Reads shards one after the other; an error stands for what of a shard cannot be read.

        That is the rest of one that is damaged, or in which a record lacks a feature, because it is
        then another dataset's.

        Args:
          parse: as for `read`.
          names: of the shards, for errors.
          *paths: of the shards.
        """
        for name, path in zip(names, paths, strict=True):
            try:
                yield from self.read(path, parse, name)
            except DatasetError as error:
                yield EpisodeError(str(error).replace(str(path), name))

    def _records(self, path: str | os.PathLike[str]) -> Iterator[bytes]:
        try:
            if self.is_gzip and records.is_uncompressed(path):
                raise DatasetError(
                    f"{path} was decompressed, and RL Unplugged's shards are gzip files: compress "
                    "it with gzip under this name, or copy it from the bucket again"
                )
            if not self.is_gzip and _is_compressed(path):
                raise DatasetError(
                    f"{path} was compressed, and shards of {self.suite} are not: decompress it "
                    "under this name, or copy it from the bucket again"
                )
            yield from records.read_records(path, is_gzip=self.is_gzip)
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be read: {error.strerror or error}; copy the file again"
            ) from error


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset of episodes: its shards, what is in them, and what is made of it.

    Attributes:
      shards: where it is.
      layout: what its records are.
      parse: makes an episode of the features of a record; see `Layout.read`.
      spec: the spec of the episodes.
    """

    shards: ShardSet
    layout: Layout
    parse: Callable[[Features], Episode]
    spec: EpisodeSpec


def floats(features: Features, name: str, *shape: int) -> np.ndarray:
    """A list of floats as an array of float32.

    Args:
      features: of a record.
      name: of the list.
      *shape: of the array; without it, the list may have any length.

    Raises:
      KeyError: there is no such feature.
      ValueError: it does not hold floats, or another number of them.
    """
    try:
        values = wire.float_values(features[name])
    except ValueError as error:
        raise ValueError(f"{name!r} is {error}") from error
    if shape and len(values) != math.prod(shape):
        raise ValueError(
            f"{name!r} has {len(values)} values, and {' x '.join(map(str, shape))} are needed"
        )
    return values.reshape(shape) if shape else values


def check_step_types(step_type: np.ndarray) -> None:
    """Raises `ValueError` unless step types, [N], are dm_env's of a whole episode."""
    if len(step_type) < 2:
        raise ValueError(f"it has {len(step_type)} rows, and a transition takes two")
    if not np.array_equal(step_type, [0, *[1] * (len(step_type) - 2), 2]):
        raise ValueError("its step types are not 0, then 1, and 2 in the last row")


def _is_compressed(path: str | os.PathLike[str]) -> bool:
    with open(path, "rb") as file:
        begins = file.read(len(_GZIP)) == _GZIP
    return begins and not records.is_uncompressed(path)


def _root(source: str) -> str:
    if buckets.is_url(source):
        return buckets.SCHEME + source.removeprefix(buckets.SCHEME).strip("/")
    if "://" in source:
        raise DatasetError(f"{source} cannot be read: name a folder, or a bucket such as {BUCKET}")
    return str(pathlib.Path(source).absolute())


def _place(folder: str, name: str) -> Shard:
    return (
        buckets.Object(f"{folder}/{name}") if buckets.is_url(folder) else pathlib.Path(folder, name)
    )
