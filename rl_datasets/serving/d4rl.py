"""A published version as `d4rl.qlearning_dataset` returns it, bit for bit, defects included.

There are two readings of D4RL's data. `loading.load_transitions` is the corrected one: every
transition that the file holds, with the observation that came after it. This one is for recipes
that were measured with D4RL's own reading (github.com/Farama-Foundation/D4RL, v1.1, the defaults):

    the last row of the file is left out
    the next observation is the next row's, even after a terminal, where it is another episode's
    rows that `timeouts` marks are left out, whatever the marks mean; in a file without timeouts,
        rows at which a count of steps reaches the horizon; after a terminal the count starts at 1
    all numbers become float32

Versions of other builders are read as if they had been exported to D4RL's layout first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.published.lineage import D4rlFile
from rl_datasets.published.version import Version, VersionLike
from rl_datasets.serving.transitions import Transition

if TYPE_CHECKING:
    from rl_datasets.episode import Episode


class Rows(NamedTuple):
    """Rows of D4RL's layout, each [N, ...].

    An action or a reward that was left out is 0, and an unknown observation is NaN.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray
    timeout: np.ndarray


def load_qlearning_dataset(version: VersionLike, split: str = "train") -> Transition:
    """The transitions of `d4rl.qlearning_dataset`, in its order.

    Args:
      version: a published version, as `Version.open` takes it.
      split: name of the split, several joined by `+`, or `all`.

    Returns:
      Transition of [N, ...] float32 arrays; `discount` is 1 - terminals, and there are no extras.

    Raises:
      DatasetError: as `load_transitions`; or the version lacks a row that this reading needs, or
        was published before episodes had `is_done`.
    """
    version = Version.open(version)
    _ = version.episode_spec.one_observation  # D4RL's layout has no other observations.
    file = version.lineage.d4rl_file
    episodes = version.episodes(split, f"loading {version.location}")
    if "has_timeouts" in version.lineage.facts and (
        file is None or "is_done" not in version.episode_spec.metadata
    ):
        raise DatasetError(
            f"{version.location} does not say which rows of D4RL's file were terminals: publish "
            "the file again with this rl-datasets"
        )
    if file is not None:
        rows = _stacked(_rows_of_file(episodes, version, file))
    else:
        rows = _stacked(map(_rows_of_export, episodes))
    is_left_out = rows.timeout
    if file is not None and not file.has_timeouts:
        is_left_out = _at_horizon(rows.terminal, file.horizon)
    kept = ~is_left_out[:-1]
    if np.isnan(rows.observation[1:][kept]).any():
        raise _lacks_a_row(version, len(rows.reward) - 1)
    return Transition(
        observation=rows.observation[:-1][kept],
        action=rows.action[:-1][kept],
        reward=rows.reward[:-1][kept],
        discount=1 - rows.terminal[:-1][kept].astype(np.float32),
        next_observation=rows.observation[1:][kept],
        extras={},
    )


def _stacked(parts: Iterable[Rows]) -> Rows:
    return Rows(*map(np.concatenate, zip(*parts, strict=True)))


def _rows_of_file(episodes: Iterator[Episode], version: Version, file: D4rlFile) -> Iterator[Rows]:
    """All rows of the published file.

    An episode has the rows from its first to the next episode's first: its transitions, and at
    most one more row, which gave its final observation.
    """
    filled = 0
    for episode, following in itertools.pairwise(itertools.chain(episodes, [None])):
        assert episode is not None
        end = file.rows if following is None else int(following.metadata["first_row"])
        transitions, is_terminal = episode.num_transitions, bool(episode.is_terminal[-1])
        # The file's last row is left out anyway if it is alone after a time limit.
        count = min(end - filled, transitions + 1) if following is None else end - filled
        is_beyond = count == transitions + 1
        if (
            file.trajectories == "jumps"
            or episode.metadata["first_row"] != filled
            or count not in (transitions, transitions + 1)
            or (is_beyond and is_terminal and file.trajectories != "timeouts")
        ):
            raise _lacks_a_row(version, filled)
        # The flags belong to the extra row, or it is a trajectory's last row and is alone.
        is_alone = is_beyond and (is_terminal or file.trajectories == "one")
        rows = _rows(episode, count, marked=transitions - (is_alone or not is_beyond))
        if is_alone:
            rows.timeout[-1] = True
            if _is_a_state(episode, file):
                rows.observation[-1] = np.nan
        yield rows
        filled = end


def _is_a_state(episode: Episode, file: D4rlFile) -> bool:
    """Whether a Maze2D episode ends in the state after a mark, and not in a row."""
    after = int(episode.metadata["first_row"]) + episode.num_transitions
    is_marked = episode.metadata["is_timeout"] or episode.metadata["is_done"]
    if not file.has_timeouts:
        is_marked = is_marked or after % file.horizon == 0
    has_states = {"qpos", "qvel"} <= episode.extras.keys()
    return file.trajectories == "one" and bool(is_marked) and has_states


def _lacks_a_row(version: Version, row: int) -> DatasetError:
    return DatasetError(
        f"{version.location} lacks a row near row {row} of D4RL's file, because no row comes after "
        "it in its own trajectory, and d4rl.qlearning_dataset joins it to another trajectory: use "
        "the corrected reading, or D4RL's code"
    )


def _rows(episode: Episode, count: int, marked: int) -> Rows:
    """The first `count` rows of an episode of a file; the row `marked` has the episode's flags."""
    is_marked = np.arange(count) == marked
    return Rows(
        observation=np.array(episode.one_observation[:count], np.float32),
        action=episode.action[:count].astype(np.float32),
        reward=episode.reward[:count],
        terminal=is_marked & bool(episode.metadata["is_done"]),
        timeout=is_marked & bool(episode.metadata["is_timeout"]),
    )


def _rows_of_export(episode: Episode) -> Rows:
    """The rows of an episode as `exporting.d4rl` writes them."""
    is_terminal, is_last = episode.is_terminal[1:], episode.is_last[1:]
    return Rows(
        observation=np.asarray(episode.one_observation[:-1], np.float32),
        action=episode.action[:-1].astype(np.float32),
        reward=episode.reward[:-1],
        terminal=is_terminal,
        timeout=is_last & ~is_terminal,
    )


def _at_horizon(terminal: np.ndarray, horizon: int) -> np.ndarray:
    """[N] bool: the rows at which D4RL's count of an episode's steps reaches the time limit."""
    reached = np.zeros(len(terminal), np.bool_)
    steps = 0
    for row, is_terminal in enumerate(terminal.tolist()):
        reached[row] = steps == horizon - 1
        steps = 0 if reached[row] else 1 if is_terminal else steps + 1
    return reached
