"""Loads a split of a published version, or a uniform share of it, into memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from rl_datasets.episode import Episode
from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving import frame_windows, transitions
from rl_datasets.serving.cut import ONE_STEP, Cut
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.packing import pack, pack_into, row_dtype, unpack
from rl_datasets.serving.share import Share
from rl_datasets.serving.transitions import Transition


def load_transitions(
    version: VersionLike, split: str = "train", cut: Cut = ONE_STEP, share: Share | None = None
) -> Transition:
    """Loads the transitions of a split.

    Args:
      version: a published version, as `Version.open` takes it.
      split: name of the split, several joined by `+`, or `all`.
      cut: how its episodes are cut.
      share: the share of its transitions that is loaded; None loads all.

    Returns:
      Transition of [N, ...] arrays in the published order, views of one array of packed rows.

    Raises:
      DatasetError: there is no such version or split, or it does not hold as many transitions as
        its manifest says.
    """
    return unpack(load_rows(version, split, cut, share))


def load_rows(
    version: VersionLike, split: str = "train", cut: Cut = ONE_STEP, share: Share | None = None
) -> np.ndarray:
    """As `load_transitions`, but as packed rows [N], which `unpack` unpacks."""
    version = Version.open(version)
    return rows_of(transitions_by_episode(version, split, cut, share), _size(version, split, share))


def rows_of(episodes: Iterable[Transition], size: int) -> np.ndarray:
    """Packs the transitions of episodes, one at a time, into rows [size]; there is at least one."""
    rows: np.ndarray | None = None
    filled = 0
    for of_episode in episodes:
        if rows is None:
            rows = np.empty(size, row_dtype(of_episode))
        following = filled + len(of_episode.reward)
        pack_into(rows[filled:following], of_episode)
        filled = following
    assert rows is not None
    return rows


def transitions_by_episode(
    version: VersionLike, split: str = "train", cut: Cut = ONE_STEP, share: Share | None = None
) -> Iterator[Transition]:
    """As `load_transitions`, but one episode at a time; of a share, some may have no transition."""
    for episode, is_in in _episodes(Version.open(version), split, share):
        of_episode = transitions.from_episode(episode, cut)
        yield of_episode if is_in is None else unpack(pack(of_episode)[is_in])


def load_frame_windows(
    version: VersionLike, split: str = "train", cut: Cut = ONE_STEP, share: Share | None = None
) -> FrameWindows:
    """Loads the transitions of a split, with each frame stored once.

    Of a share only those frames are stored that its transitions reach: for single rewards and
    stacks of four frames, up to five of a transition, as few of them are shared.

    Args:
      version: a published version, as `Version.open` takes it.
      split: name of the split, several joined by `+`, or `all`.
      cut: how its episodes are cut.
      share: the share of its transitions that is loaded; None loads all.

    Returns:
      N transitions in the published order.

    Raises:
      DatasetError: as `load_transitions`.
    """
    version = Version.open(version)
    pieces = (
        frame_windows.of_episode(episode, cut, is_in)
        for episode, is_in in _episodes(version, split, share)
    )
    most_frames = frame_windows.most_frames(version.counts(split), cut, share)
    return frame_windows.joined(pieces, most_frames, _size(version, split, share))


def _episodes(
    version: Version, split: str, share: Share | None
) -> Iterator[tuple[Episode, np.ndarray | None]]:
    """Every episode, and which of its transitions are in the share; None if all of them are."""
    episodes = version.episodes(split, f"loading {version.location}")
    if share is None:
        yield from zip(episodes, itertools.repeat(None))
        return
    is_in, end = share.drawn(version.counts(split).transitions), 0
    for episode in episodes:
        start, end = end, end + episode.num_transitions
        yield episode, is_in[start:end]


def _size(version: Version, split: str, share: Share | None) -> int:
    every = version.counts(split).transitions
    return every if share is None else share.size(every)
