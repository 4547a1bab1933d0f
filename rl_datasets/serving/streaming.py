"""Batches read directly from the files of a published version, which may be larger than memory.

An epoch goes through all episodes in an order drawn from the seed and the epoch's number. Each
episode is cut into segments of consecutive transitions. The segments go through a shuffle buffer
with their frames still encoded. The segments that leave it are decoded a pool at a time, and the
transitions of a pool are shuffled again. So an epoch gives every transition once, and a frame is
decoded once, except for the few that a segment shares with the next one. Batches are cut from one
epoch after another.

Of a share, a segment holds transitions that follow one another in it, and the frames that they
reach. An epoch reads every episode that has one of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from rl_datasets.background import ahead
from rl_datasets.episode import Episode
from rl_datasets.frames import EncodedFrames
from rl_datasets.published.random_access import EpisodeFiles
from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving import frame_windows
from rl_datasets.serving import transitions as tr
from rl_datasets.serving.cut import ONE_STEP, Cut, flattened, observation_bytes
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.packing import pack
from rl_datasets.serving.share import Share
from rl_datasets.serving.transitions import Transition

T = TypeVar("T")

Choice = Callable[[int], np.ndarray | None]  # which of an episode's transitions are served

SEGMENT = 32  # transitions
SEGMENTS_A_POOL = 256


class Segment(NamedTuple):
    """Transitions of an episode in their order, and the observations that they reach.

    Attributes:
      observation: [F, *observation].
      rows: as in `frame_windows.FrameWindows`; number 1 is the first of the observations.
    """

    observation: np.ndarray | EncodedFrames
    rows: np.ndarray


class StreamFeed(Iterator[Transition]):
    """Endless batches from the files of a published version, in bounded memory.

    The same seed gives the same batches, and `seek(n)` continues bit for bit. Of N transitions,
    each is once among the first N that a feed gives, once among the next N, and so on.

    Args:
      version: a published version, as `Version.open` takes it.
      batch_size: B.
      seed: seeds every order.
      steps: K, to give [K, B, ...] at a time; None gives [B, ...].
      split: name of the split, several joined by `+`, or `all`.
      cut: how episodes are cut into transitions; a stream cannot give the next action.
      shuffle: transitions in the shuffle buffer; with 100,000 and Atari's frames the process takes
        0.6 GB, with 5,000 half of that, however many episodes the split has.
      share: the share of the split's transitions that is served; None serves all. All episodes are
        read once before, to find it, and it takes a byte of memory for each transition of the
        split. The shuffle buffer then holds up to five frames for each of its transitions, as
        few are shared, instead of little more than one.

    Raises:
      ValueError: batch_size, steps or shuffle is below 1, or the cut asks for the next action.
      DatasetError: there is no such version or split, or a file of it is missing or damaged. A
        damaged episode, or a file that disappears later, raises it from `next`.
    """

    def __init__(
        self,
        version: VersionLike,
        batch_size: int,
        seed: int,
        steps: int | None = None,
        split: str = "train",
        cut: Cut = ONE_STEP,
        shuffle: int = 100_000,
        share: Share | None = None,
    ):
        shape = (batch_size,) if steps is None else (steps, batch_size)
        if cut.next_action:
            raise ValueError("a StreamFeed gives no next action: use an ArrayFeed or a ReverbFeed")
        if min(*shape, shuffle) < 1:
            raise ValueError(
                f"batch_size={batch_size}, steps={steps} and shuffle={shuffle} must be positive"
            )
        version = Version.open(version)
        self._episodes = version.episode_files(split)
        every = version.counts(split).transitions
        self._size = every if share is None else share.size(every)
        self._choice = _choice(self._episodes, share, every)
        self._shape, self._seed, self._cut = shape, seed, cut
        self._held = -(-shuffle // SEGMENT)
        self._at_once = frame_windows.batches_a_chunk(
            observation_bytes(self._episodes.spec), cut.frame_stack, math.prod(shape)
        )
        self.seek(0)

    def seek(self, batch: int) -> None:
        """Continues from the given batch, counted in batches of [B, ...] whatever `steps` is.

        What the batch's epoch gave before it is read again, but not decoded.
        """
        epoch, given = divmod(batch * self._shape[-1], self._size)
        batches = frame_windows.batches(ahead(self._pools(epoch, given)), self._shape)
        self._batches = ahead(batches, self._at_once)

    def __next__(self) -> Transition:
        return next(self._batches)

    def _pools(self, epoch: int, given: int) -> Iterator[FrameWindows]:
        """The pools of all epochs from the given one, whose first `given` rows are left out."""
        for number in itertools.count(epoch):
            rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(number,)))
            segments = _epoch(self._episodes, rng, self._held, self._cut, self._choice)
            yield from _pools(segments, rng, given)
            given = 0


def _choice(episodes: EpisodeFiles, share: Share | None, transitions: int) -> Choice:
    """(number of an episode) -> which of its transitions are served; None if all of them are."""
    if share is None:
        return lambda number: None
    is_in = share.drawn(transitions)
    starts = np.cumsum([0, *episodes.lengths()])
    return lambda number: is_in[starts[number] : starts[number + 1]]


def _epoch(
    episodes: EpisodeFiles,
    rng: np.random.Generator,
    held: int,
    cut: Cut,
    choice: Choice = lambda number: None,
) -> Iterator[Segment]:
    """The segments of all episodes, each once, in an order drawn from `rng`."""
    segments = (
        segment
        for number in rng.permutation(len(episodes))
        if (is_in := choice(number)) is None or is_in.any()
        for segment in segments_of(episodes[number], cut, is_in)
    )
    return shuffled(segments, held, rng)


def segments_of(episode: Episode, cut: Cut, is_in: np.ndarray | None = None) -> Iterator[Segment]:
    """The transitions of an episode in segments, which keep nothing else of it in memory.

    Args:
      episode: T transitions.
      cut: how it is cut.
      is_in: whether each transition is wanted, [T] bool; if None, all are.
    """
    rows = pack(tr.step_windows(episode, cut))
    rows = rows if is_in is None else rows[is_in]
    observation = flattened(episode.observation, cut)
    for start in range(0, len(rows), SEGMENT):
        yield Segment(*frame_windows.reached(observation, rows[start : start + SEGMENT]))


def shuffled(items: Iterable[T], held: int, rng: np.random.Generator) -> Iterator[T]:
    """Passes items through a buffer of `held`: each new item replaces one drawn at random."""
    buffer: list[T] = []
    for item in items:
        if len(buffer) < held:
            buffer.append(item)
            continue
        place = rng.integers(held)
        yield buffer[place]
        buffer[place] = item
    rng.shuffle(buffer)  # type: ignore[arg-type]  # Any mutable sequence will do.
    yield from buffer


def _pools(
    segments: Iterator[Segment], rng: np.random.Generator, given: int = 0
) -> Iterator[FrameWindows]:
    """Many segments at a time, their rows in an order that `rng` draws, but the first `given`."""
    while pool := list(itertools.islice(segments, SEGMENTS_A_POOL)):
        order = rng.permutation(sum(len(segment.rows) for segment in pool))
        if given < len(order):
            frames, rows = decoded(pool)
            yield FrameWindows(frames, np.take(rows, order[given:], mode="clip"))
        given = max(given - len(order), 0)


def decoded(segments: Sequence[Segment]) -> FrameWindows:
    """The transitions of segments, in their order, with decoded frames."""
    frames = tr.numbered(_joined([segment.observation for segment in segments]))
    rows = np.concatenate([segment.rows for segment in segments])
    lengths = [len(segment.observation) for segment in segments]
    before = np.cumsum([0, *lengths[:-1]])
    by = np.repeat(before, [len(segment.rows) for segment in segments])
    frame_windows.renumber(rows, by[:, None])
    return FrameWindows(frames, rows)


def _joined(observations: Sequence[np.ndarray | EncodedFrames]) -> np.ndarray | EncodedFrames:
    """Joins them; a dataset has only one of the two kinds."""
    encoded = [frames for frames in observations if isinstance(frames, EncodedFrames)]
    if not encoded:
        return np.concatenate(observations)
    return EncodedFrames([png for frames in encoded for png in frames.pngs], encoded[0].shape[1:])
