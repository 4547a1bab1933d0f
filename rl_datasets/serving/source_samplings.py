"""How the authors of scores drew their batches of DQN Replay's data, by name.

The default everywhere is `ArrayFeed`, whose batches are uniform over the whole split. These are for
scores that were measured otherwise. A file is a split of the version, such as a checkpoint, and a
row is a transition. Rows of DQN Replay's own files are others: three of padding precede an episode,
and an episode that does not end in a file continues in the next one.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np

from rl_datasets.background import ahead
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving import frame_windows
from rl_datasets.serving.cut import ONE_STEP, Cut, observation_bytes
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.streaming import shuffled
from rl_datasets.serving.transitions import Transition

Count = Annotated[int, "[1, inf)"]

# What a generator is for; each is seeded apart.
_FILES, _BATCH, _SHARDS = range(3)


@dataclasses.dataclass(frozen=True)
class Files:
    """Some files at a time. A batch is of one of them, uniform and with replacement in it.

    Attributes:
      files: that are held at once, drawn without replacement.
      rows: of each file, the first ones that are drawn from; all where it is None.
      redraw: batches after which other files are drawn; None to draw them once.
    """

    files: Count
    rows: Count | None = None
    redraw: Count | None = None

    def sizes(self, sizes: Sequence[int]) -> list[int]:
        """The rows that may be drawn of files that have so many."""
        return [min(size, self.rows or size) for size in sizes]

    def most(self, sizes: Sequence[int]) -> int:
        """The most rows that are held at once, of files of these sizes."""
        return sum(sorted(self.sizes(sizes))[-self.files :])

    def held(self, count: int, seed: int, draw: int) -> list[int]:
        """The numbers of the files of a draw, of so many.

        Raises:
          DatasetError: there are fewer than are held at once.
        """
        if self.files > count:
            raise DatasetError(
                f"{self.files} files are to be held at once, and there are {count}: join more "
                "splits, or set a smaller number of files"
            )
        return [*_rng(seed, _FILES, draw).permutation(count)[: self.files]]

    def indices(
        self, sizes: Sequence[int], batch_size: int, seed: int, batch: int
    ) -> Iterator[np.ndarray]:
        """Rows [B] of every batch from the given one on, of files of these sizes that are held."""
        starts = np.cumsum([0, *sizes])
        for number in itertools.count(batch):
            rng = _rng(seed, _BATCH, number)
            file = rng.integers(len(sizes))
            yield starts[file] + rng.integers(sizes[file], size=batch_size)


@dataclasses.dataclass(frozen=True)
class Shards:
    """Shards of shuffled transitions, read again and again through two shuffle buffers.

    All transitions are dealt to the shards at random. Which shard is read next is drawn by a
    shuffle buffer of as many names as there are shards. Transitions go through another one.

    Attributes:
      shards: the number of shards.
      shuffle: transitions in the shuffle buffer.
    """

    shards: Count
    shuffle: Count
    redraw: ClassVar[None] = None

    def sizes(self, sizes: Sequence[int]) -> list[int]:
        """As of `Files`."""
        return [*sizes]

    def most(self, sizes: Sequence[int]) -> int:
        """As of `Files`."""
        return sum(sizes)

    def held(self, count: int, seed: int, draw: int) -> list[int]:
        """As of `Files`: all of them."""
        return [*range(count)]

    def indices(
        self, sizes: Sequence[int], batch_size: int, seed: int, batch: int
    ) -> Iterator[np.ndarray]:
        """As of `Files`; what comes before the batch is drawn again."""
        rng = _rng(seed, _SHARDS)
        shards = np.array_split(rng.permutation(sum(sizes)), self.shards)
        names = shuffled(itertools.cycle(range(self.shards)), self.shards, rng)
        rows = through_buffer((shards[name] for name in names), self.shuffle, rng)
        return itertools.islice(_in_batches(rows, batch_size), batch, None)


Sampling = Files | Shards

SAMPLINGS: Mapping[str, Sampling] = {
    # google-research/batch_rl, fixed_replay: five files anew at each iteration of 62,500 steps.
    "batch_rl": Files(files=5, redraw=62_500),
    # aviralkumar2907/CQL, atari: reloading does nothing, and files are loaded to their 10,000th
    # row; the code's comment on 1% of the data wants 50 files, the README 1,000 rows.
    "cql": Files(files=10, rows=10_000),
    # slimRL/slimCQL: three files anew at each epoch of 62,500 steps, to their 100,000th element.
    "slimcql": Files(files=3, rows=100_000, redraw=62_500),
    # google-deepmind/deepmind-research, rl_unplugged/atari.py. That it reads several shards by
    # turns is left out: all are of shuffled transitions.
    "rl_unplugged": Shards(shards=100, shuffle=100_000),
}


class SourceFeed(Iterator[Transition]):
    """Batches drawn as a source drew them; it holds no more frames than the sampling holds rows.

    The same seed gives the same batches, and K batches given at once are the same as K single ones.

    Args:
      version: a published version, as `Version.open` takes it.
      sampling: one of `SAMPLINGS`, or like them.
      batch_size: B.
      seed: seeds every draw.
      steps: K, to give [K, B, ...] at a time; None gives [B, ...].
      split: its files: a split, several joined by `+`, or `all`.
      cut: how episodes are cut into transitions.

    Raises:
      ValueError: batch_size or steps is below 1, or steps does not divide the sampling's `redraw`.
      DatasetError: there is no such version or split, or it has too few files. A file that is
        missing or damaged raises it from `next`; one of which only the first rows are read is not
        compared with its sha256 (`published.reader.check_shards` does that).
    """

    def __init__(
        self,
        version: VersionLike,
        sampling: Sampling,
        batch_size: int,
        seed: int,
        steps: int | None = None,
        split: str = "all",
        cut: Cut = ONE_STEP,
    ):
        if min(batch_size, steps or 1) < 1 or (sampling.redraw or 0) % (steps or 1):
            raise ValueError(
                f"batch_size={batch_size} and steps={steps} must be positive, and steps divide "
                f"redraw={sampling.redraw}"
            )
        self._version = Version.open(version)
        self._names = self._version.split_names(split)
        counts = [self._version.counts(name).transitions for name in self._names]
        self._sizes = sampling.sizes(counts)
        sampling.held(len(self._names), seed, 0)  # refuses too few files
        self._sampling, self._seed, self._cut = sampling, seed, cut
        self._batch_size, self._steps = batch_size, steps
        self.seek(0)

    def seek(self, batch: int) -> None:
        """Continues from the given batch, counted in batches of [B, ...] whatever `steps` is.

        Raises:
          ValueError: `steps` does not divide it, and other files are drawn after some batches.
        """
        if self._sampling.redraw and batch % (self._steps or 1):
            raise ValueError(f"steps={self._steps} must divide batch={batch}")
        frame_bytes = observation_bytes(self._version.episode_spec)
        at_once = frame_windows.batches_a_chunk(
            frame_bytes, self._cut.frame_stack, self._batch_size * (self._steps or 1)
        )
        self._batches = ahead(self._from(batch), at_once)

    def __next__(self) -> Transition:
        return next(self._batches)

    def _from(self, batch: int) -> Iterator[Transition]:
        period = self._sampling.redraw
        for draw in itertools.count(batch // period if period else 0):
            held = self._sampling.held(len(self._names), self._seed, draw)
            yield from self._of_draw(held, batch, period and (draw + 1) * period)
            batch = (draw + 1) * (period or 0)

    def _of_draw(self, held: Sequence[int], batch: int, end: int | None) -> Iterator[Transition]:
        """The batches from `batch` to `end`; with its end, what it holds leaves the memory."""
        sizes = [self._sizes[file] for file in held]
        frames, rows = _load(self._version, [self._names[file] for file in held], sizes, self._cut)
        indices = self._sampling.indices(sizes, self._batch_size, self._seed, batch)
        wanted = itertools.islice(indices, None if end is None else end - batch)
        while chunk := list(itertools.islice(wanted, self._steps or 1)):
            numbers = chunk[0] if self._steps is None else np.stack(chunk)
            yield frame_windows.cut_out(frames, np.take(rows, numbers, mode="clip"))


def _load(version: Version, names: Sequence[str], sizes: Sequence[int], cut: Cut) -> FrameWindows:
    """The first transitions of each split, so many of each, one split after another."""
    pieces = itertools.chain.from_iterable(
        _first(version.episodes(name), size, cut) for name, size in zip(names, sizes, strict=True)
    )
    # An episode has a frame more than transitions; the last rows reach n_step frames on.
    num_frames = sum(
        size + min(version.counts(name).episodes, size) + cut.n_step - 1
        for name, size in zip(names, sizes, strict=True)
    )
    return frame_windows.joined(pieces, num_frames, sum(sizes))


def _first(episodes: Iterable[Episode], size: int, cut: Cut) -> Iterator[FrameWindows]:
    """The first transitions of episodes, and the frames that they reach."""
    for episode in episodes:  # The last one is asked for, after which a reader checks the file.
        if not size:
            return
        frames, rows = frame_windows.of_episode(episode, cut)
        rows = rows[:size]
        yield FrameWindows(frames[: rows["next_observation"].max() + 1], rows)
        size -= len(rows)


def through_buffer(
    pieces: Iterable[np.ndarray], held: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Passes numbers through a shuffle buffer, as `streaming.shuffled`, but many at a time.

    The pieces have no end: numbers that are left in the buffer are never given.

    Args:
      pieces: arrays [n] of numbers.
      held: numbers in the buffer.
      rng: draws the place of each number that leaves it.
    """
    buffer = np.empty(0, np.int64)
    for piece in pieces:
        filling, piece = np.split(piece, [held - len(buffer)])
        buffer = np.concatenate([buffer, filling])
        places = rng.integers(held, size=len(piece))
        order = np.argsort(places, kind="stable")
        again = places[order[1:]] == places[order[:-1]]
        given = buffer[places]
        given[order[1:][again]] = piece[order[:-1][again]]  # put into the same place before
        buffer[places] = piece  # of those with one place, NumPy keeps the last
        yield given


def _in_batches(pieces: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    rest = np.empty(0, np.int64)
    for piece in pieces:
        rest = np.concatenate([rest, piece])
        whole = len(rest) // size * size
        yield from rest[:whole].reshape(-1, size)
        rest = rest[whole:]


def _rng(seed: int, purpose: int, number: int = 0) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, number)))
