"""Batches read directly from the files of a published version, which may be larger than memory.

An epoch goes through all episodes in an order drawn from the seed. Each episode is cut into
segments of consecutive transitions. The segments go through a shuffle buffer with their frames
still encoded. The segments that leave it are decoded a pool at a time, and the transitions of a
pool are shuffled again and cut into batches. So every transition is used once per epoch, and a
frame is decoded once, except for the few that a segment shares with the next one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
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
from rl_datasets.serving.transitions import Transition

T = TypeVar("T")

SEGMENT = 32  # transitions
SEGMENTS_A_POOL = 256


class Segment(NamedTuple):
    """Consecutive transitions of an episode, and the observations that they reach.

    Attributes:
      observation: [F, *observation].
      rows: as in `frame_windows.FrameWindows`; number 1 is the first of the observations.
    """

    observation: np.ndarray | EncodedFrames
    rows: np.ndarray


class StreamFeed(Iterator[Transition]):
    """Endless batches from the files of a published version, in bounded memory.

    The same seed gives the same batches.

    Args:
      version: a published version, as `Version.open` takes it.
      batch_size: B.
      seed: seeds every order.
      steps: K, to give [K, B, ...] at a time; None gives [B, ...].
      split: name of the split, several joined by `+`, or `all`.
      cut: how episodes are cut into transitions; a stream cannot give the next action.
      shuffle: transitions in the shuffle buffer; 100,000 with Atari's frames take about 200 MB,
        and decoded pools take another 150 MB.

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
    ):
        shape = (batch_size,) if steps is None else (steps, batch_size)
        if cut.next_action:
            raise ValueError("a StreamFeed gives no next action: use an ArrayFeed or a ReverbFeed")
        if min(*shape, shuffle) < 1:
            raise ValueError(
                f"batch_size={batch_size}, steps={steps} and shuffle={shuffle} must be positive"
            )
        episodes = Version.open(version).episode_files(split)
        order, pool_order = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
        segments = itertools.chain.from_iterable(
            _epoch(episodes, order, -(-shuffle // SEGMENT), cut) for _ in itertools.count()
        )
        batches = frame_windows.batches(ahead(_pools(segments)), shape, pool_order)
        frame_bytes = observation_bytes(episodes.spec)
        self._batches = ahead(
            batches, frame_windows.batches_a_chunk(frame_bytes, cut.frame_stack, math.prod(shape))
        )

    def __next__(self) -> Transition:
        return next(self._batches)


def _epoch(
    episodes: EpisodeFiles,
    rng: np.random.Generator,
    held: int,
    cut: Cut,
) -> Iterator[Segment]:
    """The segments of all episodes, each once, in an order drawn from `rng`."""
    segments = (
        segment
        for number in rng.permutation(len(episodes))
        for segment in segments_of(episodes[number], cut)
    )
    return shuffled(segments, held, rng)


def segments_of(episode: Episode, cut: Cut) -> Iterator[Segment]:
    """The transitions of an episode in segments, which keep nothing else of it in memory."""
    transitions = pack(tr.step_windows(episode, cut))
    observations = flattened(episode.observation, cut)
    for start in range(0, len(transitions), SEGMENT):
        rows = transitions[start : start + SEGMENT].copy()
        first, end = max(start - cut.frame_stack + 1, 0), rows["next_observation"].max()
        frame_windows.renumber(rows, -first)
        observation = observations[first:end]
        if isinstance(observation, np.ndarray):
            observation = observation.copy()
        yield Segment(observation, rows)


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


def _pools(segments: Iterator[Segment]) -> Iterator[FrameWindows]:
    """Many segments at a time, decoded."""
    while pool := list(itertools.islice(segments, SEGMENTS_A_POOL)):
        frames = tr.numbered(_joined([segment.observation for segment in pool]))
        rows = np.concatenate([segment.rows for segment in pool])
        lengths = [len(segment.observation) for segment in pool]
        before = np.cumsum([0, *lengths[:-1]])
        by = np.repeat(before, [len(segment.rows) for segment in pool])
        frame_windows.renumber(rows, by[:, None])
        yield FrameWindows(frames, rows)


def _joined(observations: Sequence[np.ndarray | EncodedFrames]) -> np.ndarray | EncodedFrames:
    """Joins them; a dataset has only one of the two kinds."""
    encoded = [frames for frames in observations if isinstance(frames, EncodedFrames)]
    if not encoded:
        return np.concatenate(observations)
    return EncodedFrames([png for frames in encoded for png in frames.pngs], encoded[0].shape[1:])
