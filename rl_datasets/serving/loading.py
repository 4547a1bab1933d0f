"""Loads a whole split of a published version into memory."""

from __future__ import annotations

import numpy as np

from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving import frame_windows, transitions
from rl_datasets.serving.cut import ONE_STEP, Cut
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.packing import pack_into, row_dtype, unpack
from rl_datasets.serving.transitions import Transition


def load_transitions(version: VersionLike, split: str = "train", cut: Cut = ONE_STEP) -> Transition:
    """Loads the transitions of a split.

    Args:
      version: a published version, as `Version.open` takes it.
      split: name of the split, several joined by `+`, or `all`.
      cut: how its episodes are cut.

    Returns:
      Transition of [N, ...] arrays in the published order, views of one array of packed rows.

    Raises:
      DatasetError: there is no such version or split, or it does not hold as many transitions as
        its manifest says.
    """
    return unpack(load_rows(version, split, cut))


def load_rows(version: VersionLike, split: str = "train", cut: Cut = ONE_STEP) -> np.ndarray:
    """As `load_transitions`, but as packed rows [N], which `unpack` unpacks."""
    version = Version.open(version)
    rows: np.ndarray | None = None
    filled = 0
    for episode in version.episodes(split, _doing(version)):
        cut_out = transitions.from_episode(episode, cut)
        if rows is None:
            rows = np.empty(version.counts(split).transitions, row_dtype(cut_out))
        following = filled + episode.num_transitions
        pack_into(rows[filled:following], cut_out)
        filled = following
    assert rows is not None  # a published split has episodes
    return rows


def load_frame_windows(
    version: VersionLike, split: str = "train", cut: Cut = ONE_STEP
) -> FrameWindows:
    """Loads the transitions of a split, with each frame stored once.

    Args:
      version: a published version, as `Version.open` takes it.
      split: name of the split, several joined by `+`, or `all`.
      cut: how its episodes are cut.

    Returns:
      N transitions in the published order.

    Raises:
      DatasetError: as `load_transitions`.
    """
    version = Version.open(version)
    counts = version.counts(split)
    episodes = version.episodes(split, _doing(version))
    pieces = (frame_windows.of_episode(episode, cut) for episode in episodes)
    most_frames = counts.transitions + counts.episodes
    return frame_windows.joined(pieces, most_frames, counts.transitions)


def _doing(version: Version) -> str:
    return f"loading {version.folder}"
