"""Exports Atari episodes of a published version as logs of DQN Replay, which Dopamine loads.

    export.json             what was exported, and what the logs cannot hold
    replay_logs/            checkpoints, as `rl_datasets.sources.dqn_replay.layout` says

An episode is written as rows (o_t, a_t, r_{t+1}, terminal), and its end as the logs can hold it:

    terminal                T rows, the last one terminal. The final observation is lost.
    truncated, T = 26,999   T + 1 rows, the last one terminal: in the logs, 27,000 rows mean a time
                            limit. The last row has the final observation, and no action.
    truncated, at the end   T + 1 rows, none terminal: in the logs, this means that they were cut.
    truncated, any other    T rows, the last one terminal. The final observation is lost, and a
                            learner takes the cut for the end of the game.

The logs hold neither metadata nor further fields of the steps.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rl_datasets import staging
from rl_datasets.collection import replay_log
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.exporting import columns
from rl_datasets.exporting.source import (
    SUMMARY_FILE,
    Export,
    Source,
    decoded,
    open_source,
    summary,
)
from rl_datasets.published.version import ALL, VersionLike
from rl_datasets.sources import atari, dqn_replay
from rl_datasets.terminal import progress

KIND = "replay-logs"
_FRAME = atari.FRAME_SHAPE[:2]
_PADDING = dqn_replay.STACK_SIZE - 1
# What can happen to an episode that the logs cannot hold as it is.
_FINAL, _CUT, _LIMIT, _DISCOUNT = "final observation", "cut", "limit", "discount"


def to_replay_logs(
    version: VersionLike,
    folder: str | os.PathLike[str],
    split: str = ALL,
    capacity: int | None = None,
) -> Export:
    """Exports splits in order to the logs of one run, in the layout that the module describes.

    Memory holds one episode, decoded. During the export, the circular buffer of `capacity` frames
    is on the disk beside the target; the system keeps as much of it in memory as it can spare.

    Args:
      version: a published version, as `Version.open` takes it.
      folder: the folder to create, such as `Pong/1`; it is created whole or not at all.
      split: name of a split, or "all".
      capacity: rows of a checkpoint; a few less are used if the layout would skip a checkpoint. By
        default 1,000,000, as in DQN Replay, or as few as hold everything.

    Raises:
      DatasetError: there is no such version or split, a file of it is damaged, its episodes are
        not of Atari or longer than the logs' time limit, or the folder exists or cannot be
        written.
    """
    source = open_source(version, split)
    _check_spec(source)
    differences: collections.Counter[str] = collections.Counter()
    with staging.staged(folder) as path:
        logs = path / dqn_replay.FOLDER_NAME
        ring = _ring(path.with_name("ring"), _rows_of_episodes(source), capacity)
        written = _describe(_write(source, logs, ring, differences))
        columns.compare(folder, written, _describe(_read_back(source, logs)))
        export = summary(KIND, pathlib.Path(folder), source, written, _told(source, differences))
        (path / SUMMARY_FILE).write_text(
            json.dumps(export.to_json(), indent=1) + "\n", encoding="utf-8"
        )
    return export


def _check_spec(source: Source) -> None:
    observation, action = source.spec.one_observation, source.spec.action
    is_atari = (observation.shape, observation.dtype) == (atari.FRAME_SHAPE, np.uint8)
    if not is_atari or action.shape or not np.issubdtype(action.dtype, np.integer):
        raise DatasetError(
            f"{source.version.name} has observations {observation.dtype} {observation.shape} and "
            f"actions {action.dtype} {action.shape}, and replay logs hold uint8 "
            f"{atari.FRAME_SHAPE} and integers only; export it as arrays or d4rl"
        )


def _keeps_final_observation(episode: Episode, source: Source, index: int) -> bool:
    """Whether the logs can hold the final observation of the source's episode `index`."""
    if episode.is_terminal[-1]:
        return False
    rows, is_last = episode.num_steps, index == source.counts.episodes - 1
    return rows == dqn_replay.TIME_LIMIT or (is_last and rows < dqn_replay.TIME_LIMIT)


def _rows_of_episodes(source: Source) -> np.ndarray:
    """The number of rows that each episode takes, including its padding."""
    rows = []
    for index, episode in enumerate(source.read("measuring")):
        length = episode.num_transitions + _keeps_final_observation(episode, source, index)
        if length > dqn_replay.TIME_LIMIT:
            raise DatasetError(
                f"episode {index} of {source.version.name} has {length} rows, and those of replay "
                f"logs end after {dqn_replay.TIME_LIMIT}; export it as arrays or d4rl"
            )
        rows.append(_PADDING + length)
    return np.array(rows)


def _ring(path: pathlib.Path, rows: np.ndarray, capacity: int | None) -> np.ndarray:
    """The frames of the circular buffer [C, 84, 84], on the disk."""
    if capacity is None:  # One row more, because a full checkpoint would be saved twice.
        capacity = min(dqn_replay.CAPACITY, int(rows.sum()) + 2)
    return np.memmap(path, np.uint8, "w+", shape=(_fitting_capacity(rows, capacity), *_FRAME))


def _fitting_capacity(rows: np.ndarray, capacity: int) -> int:
    """The largest capacity, up to this one, with which no checkpoint is skipped.

    An episode's first row is added together with its padding. If these rows skip the end of a
    checkpoint, it is never saved (see `rl_datasets.sources.dqn_replay.layout`).
    """
    starts = np.cumsum(rows) - rows
    for fitting in range(capacity, dqn_replay.STACK_SIZE, -1):
        left = fitting - 1 - starts % fitting
        if not np.any((left > 0) & (left <= _PADDING)):
            return fitting
    raise DatasetError(
        f"no capacity up to {capacity} lets checkpoints hold every row of these episodes; give a "
        "larger one"
    )


def _write(
    source: Source, logs: pathlib.Path, ring: np.ndarray, differences: collections.Counter[str]
) -> Iterator[Episode]:
    """Writes the logs, and yields every episode as a reader of them must see it."""
    with replay_log.ReplayLog(logs, len(ring), dqn_replay.STACK_SIZE, _FRAME) as log:
        log.store["observation"] = ring
        for index, episode in enumerate(source.read("exporting")):
            rows = episode.num_transitions + _keeps_final_observation(episode, source, index)
            is_cut = rows > episode.num_transitions and rows != dqn_replay.TIME_LIMIT
            observation = decoded(episode.one_observation[:rows])
            for row, frame in enumerate(observation):
                is_end = row == rows - 1 and not is_cut
                log.add(frame[..., 0], episode.action[row], episode.reward[row], is_end)
            seen = atari.episode_from_rows(
                observation,
                episode.action[:rows],
                episode.reward[:rows],
                is_terminal=not is_cut and rows != dqn_replay.TIME_LIMIT,
                metadata={},
            )
            differences.update(_differences(episode, seen))
            yield seen


def _read_back(source: Source, logs: pathlib.Path) -> Iterator[Episode]:
    run = dqn_replay.read_run(logs)
    with progress("reading back", source.counts.transitions) as advance:
        for unit in run.units:
            for episode in dqn_replay.read_episodes(unit):
                yield episode
                advance(episode.num_transitions)


def _describe(episodes: Iterable[Episode]) -> dict[str, dict[str, Any]]:
    digests = {
        "observation": columns.Digest(atari.FRAME_SHAPE, np.dtype(np.uint8)),
        "action": columns.Digest((), np.dtype(np.int64)),
        "reward": columns.Digest((), np.dtype(np.float32)),
        "is_last": columns.Digest((), np.dtype(np.bool_)),
        "is_terminal": columns.Digest((), np.dtype(np.bool_)),
    }
    for episode in episodes:
        steps = episode.steps()
        for name, digest in digests.items():
            digest.update(decoded(steps[name]))
    return {name: digest.entry() for name, digest in digests.items()}


def _differences(episode: Episode, seen: Episode) -> Iterator[str]:
    """The ways in which a reader of the logs sees another episode than was exported."""
    if not np.array_equal(seen.one_observation[-1:], decoded(episode.one_observation[-1:])):
        yield _FINAL
    if seen.is_terminal[-1] and not episode.is_terminal[-1]:
        yield _CUT
    if seen.num_transitions < episode.num_transitions:
        yield _LIMIT
    if np.any((episode.discount > 0) & (episode.discount < 1)):
        yield _DISCOUNT


def _told(source: Source, differences: Mapping[str, int]) -> list[str]:
    """One sentence for each thing that the logs do not hold as the source does."""
    sentences = {
        _FINAL: "episodes lose their final observation",
        _CUT: "episodes that were cut are recorded as terminal",
        _LIMIT: f"episodes of exactly {dqn_replay.TIME_LIMIT} rows are read as having reached the "
        "time limit, without their last transition",
        _DISCOUNT: "episodes lose discounts between 0 and 1",
    }
    told = [f"{differences[kind]} {text}" for kind, text in sentences.items() if differences[kind]]
    fields = [*source.spec.metadata, *source.spec.extras]
    return told + ([f"the logs do not hold {', '.join(fields)}"] if fields else [])
