"""Where the trajectories and episodes of D4RL's rows end, and which rows are faulty.

The task says where trajectories end (`Task.trajectories`):

    flags       at terminals and at timeouts, and where the next row differs from the stored next
                observation, because files of replay buffers do not mark every time limit
    terminals   as `flags`, in a file without timeouts, where terminals mark every end (Kitchen)
    timeouts    only at timeouts: a terminal is a goal on the way (AntMaze v1, v2)
    jumps       where the position jumps, because the timeouts are wrong (AntMaze v0)
    one         nowhere: timeouts mark that the agent reached a goal (Maze2D); in a file without
                timeouts, every `Task.horizon`-th row counts as marked

A stored next observation may have been rounded once more than the next row. So the two count as the
same where no value differs by more than 2 eps of the larger, eps being that of the coarser of both
dtypes and float32. That is up to four units in the last place. Two states of which one is not the
other's successor agree so closely in every value only where the environment stands still. A file is
refused if its trajectory breaks off after more than half of the rows that no flag marks, because
its `next_observations` cannot be right.

An episode ends with its trajectory, and also at a terminal or a mark on the way. Its final
observation is the stored next observation. Where there is none, it is the next row's observation if
the trajectory continues, or a vector of zeros after a terminal, from which nothing bootstraps.
Where there is none of these, the last row gives only its observation, and its action and reward are
left out. The rows after the last end are a truncated episode. Every other row is a transition of
one episode, in the file's order.

Episodes have every info as an extra. Their metadata are `first_row`, the number of their first row,
and `is_timeout` and `is_done`, the `timeouts` and `terminals` of their last row. (The last row of a
file of Maze2D has no next row, so it counts as not marked.)
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from rl_datasets.episode import Episode, EpisodeError
from rl_datasets.episode_check import MUST_BE_FINITE, OUT_OF_BOUNDS
from rl_datasets.errors import DatasetError
from rl_datasets.sources.d4rl_contents import FLAGS, KNOWN, Contents, extra_of
from rl_datasets.sources.d4rl_tasks import Task

# An ant moves less than this in a step, and corridors are 4 wide. (D4RL's check uses jumps of 5.)
MAX_STRIDE = 1.0

Rows = dict[str, np.ndarray]


def episodes_of(
    slices: Iterable[Rows], contents: Contents, task: Task, path: str | pathlib.Path
) -> Iterator[Episode | EpisodeError]:
    """The episodes and faults of rows that come in slices [n, ...], flags as float64."""
    first, pending = 0, None
    faults: collections.deque[tuple[int, str]] = collections.deque()
    breaks = _Breaks()
    for read in slices:
        number = first if pending is None else first + len(pending["rewards"])
        faults += _faults(read, number, task)
        read |= {name: read[name] == 1 for name in FLAGS}
        rows = read if pending is None else _joined_up(pending, read)
        length = len(rows["rewards"])
        is_end_of_file = first + length == contents.rows
        if is_end_of_file and task.trajectories == "one":
            for name in FLAGS:
                rows[name][-1] = False
        goes_on = _goes_on(rows, contents, task)
        is_end = _ends(rows, goes_on, task)
        if task.trajectories == "one" and not contents.has_timeouts:
            is_end |= (first + np.arange(1, length + 1)) % task.horizon == 0
        is_end[-1] = is_end_of_file  # Otherwise the first row of the next slice decides.
        start = 0
        for end in np.flatnonzero(is_end):
            breaks.count(rows, start, end, is_last=is_end_of_file and end == length - 1)
            fault = _first_fault(faults, first + end)
            if fault is not None:
                yield EpisodeError(fault)
            else:
                yield from _episode(rows, start, end, goes_on, first, task)
            start = end + 1
        first += start
        pending = {name: field[start:] for name, field in rows.items()}
    breaks.check(path, contents, task)


def repairs(contents: Contents, task: Task) -> list[str]:
    """The ways in which a file's episodes differ from its rows, one sentence each."""
    if contents.has_next_observations:
        return [
            "an episode also ends, truncated, where the next row differs by more than rounding "
            f"(2 eps of {contents.coarsest}) from what the file stores as the next observation; "
            "where it does not, the row is the next observation",
            "an episode's final observation is the one stored as the next, as "
            f"{contents.fields['observations'][1]}, the dtype of the observations",
        ]
    told = []
    if task.trajectories == "one":
        told.append(
            "the trajectory is cut into episodes at its marks, or every `horizon` rows where there "
            "are none; it continues after them, so the final observation is the next row's state"
        )
    else:
        told.append(
            "no next observations are stored: an episode that a time limit cuts ends in its last "
            "row, whose action and reward are left out"
        )
    if task.trajectories in ("flags", "terminals"):
        told.append("the final observation after a terminal, never stored, is a vector of zeros")
    if task.trajectories in ("timeouts", "jumps"):
        told.append(
            "a terminal ends an episode and not the trajectory, whose next row gives the final "
            "observation; one at the trajectory's own end was computed from another trajectory, "
            "and does not count"
        )
    if task.trajectories == "jumps":
        told.append(
            f"trajectories end where the position moves by more than {MAX_STRIDE}, not at timeouts"
        )
    return told


@dataclasses.dataclass
class _Breaks:
    """Counts the rows that no flag marks, and those after which the trajectory breaks off."""

    unmarked: int = 0
    broken: int = 0

    def count(self, rows: Rows, start: int, end: int, *, is_last: bool) -> None:
        """Counts the rows `start` to `end` of an episode; `is_last` if it is the file's last."""
        is_told = is_last or any(rows[name][end] for name in FLAGS)
        self.unmarked += end - start + (not is_told)
        self.broken += not is_told

    def check(self, path: str | pathlib.Path, contents: Contents, task: Task) -> None:
        """Raises `DatasetError` where the trajectory breaks off too often."""
        if task.trajectories == "one" or self.broken <= self.unmarked / 2:
            return
        why, remedy = f"the position moves by more than {MAX_STRIDE}", "name the file's task"
        if contents.has_next_observations:
            why = "the next row is not what 'next_observations' holds, by more than rounding"
            remedy = "repair that field, or leave it out of the file"
        raise DatasetError(
            f"{path} breaks off after {self.broken} of {self.unmarked} rows that no flag marks, "
            f"because {why}: {remedy}"
        )


def _joined_up(before: Rows, after: Rows) -> Rows:
    return {name: np.concatenate([before[name], after[name]]) for name in before}


def _faults(rows: Rows, first: int, task: Task) -> list[tuple[int, str]]:
    """(number, what is wrong) of each faulty row, in order."""
    faults: dict[int, str] = {}

    def add(is_at_fault: np.ndarray, what: str) -> None:
        for row in np.flatnonzero(is_at_fault.reshape(len(is_at_fault), -1).any(axis=1)).tolist():
            faults.setdefault(row, what)

    for name in FLAGS:
        add((rows[name] != 0) & (rows[name] != 1), f"has {name!r} of neither 0 nor 1")
    if task.is_d4rls and task.trajectories in ("flags", "terminals"):
        both = (rows["terminals"] == 1) & (rows["timeouts"] == 1)
        add(both, f"has both a terminal and a time limit, and {task.id} has at most one")
    for name, field in rows.items():
        if field.dtype.kind == "f":
            add(~np.isfinite(field), f"has {name!r} that break a rule: {MUST_BE_FINITE}")
    if task.is_d4rls:
        add(np.abs(rows["actions"]) > 1, f"has 'actions' that break a rule: {OUT_OF_BOUNDS}")
    return [(first + row, f"row {first + row} {what}") for row, what in sorted(faults.items())]


def _first_fault(faults: collections.deque[tuple[int, str]], last: int) -> str | None:
    """Removes the faults of rows up to `last`, and returns what is wrong with the first."""
    taken = None
    while faults and faults[0][0] <= last:
        _, what = faults.popleft()
        taken = taken or what
    return taken


def _goes_on(rows: Rows, contents: Contents, task: Task) -> np.ndarray:
    """[N] bool: whether there is a next row, and it continues the trajectory.

    A value that is not finite does not break the trajectory off.
    """
    observations = rows["observations"]
    goes_on = np.zeros(len(observations), np.bool_)
    if "next_observations" in rows:
        goes_on[:-1] = _is_same(
            rows["next_observations"][:-1], observations[1:], np.finfo(contents.coarsest)
        )
    elif task.trajectories == "one":
        goes_on[:-1] = True
    elif task.trajectories == "jumps":
        stride = np.linalg.norm(np.diff(observations[:, :2].astype(np.float64), axis=0), axis=1)
        goes_on[:-1] = ~(stride > MAX_STRIDE)
    elif task.trajectories == "timeouts":
        goes_on[:-1] = ~rows["timeouts"][:-1]
    else:
        goes_on[:-1] = ~(rows["timeouts"] | rows["terminals"])[:-1]
    return goes_on


def _is_same(stored: np.ndarray, seen: np.ndarray, precision: np.finfo) -> np.ndarray:
    """[N] bool: whether rows [N, O] are the same up to rounding, as the module says."""
    is_same = np.all(stored == seen, axis=1)
    if stored.dtype.kind != "f":
        return is_same
    others = np.flatnonzero(~is_same)
    a, b = stored[others].astype(np.float64), seen[others].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        near = 2 * float(precision.eps) * np.maximum(np.abs(a), np.abs(b))
        is_same[others] = ~np.any(
            np.abs(a - b) > near + float(precision.smallest_subnormal), axis=1
        )
    return is_same


def _ends(rows: Rows, goes_on: np.ndarray, task: Task) -> np.ndarray:
    """[N] bool: whether an episode ends at the row."""
    ends = rows["terminals"] | ~goes_on
    return ends if task.trajectories == "jumps" else ends | rows["timeouts"]


def _episode(
    rows: Rows, start: int, end: int, goes_on: np.ndarray, first: int, task: Task
) -> Iterator[Episode | EpisodeError]:
    """The episode of rows `start` to `end`; nothing if they make no transition."""
    is_terminal = bool(rows["terminals"][end]) and task.trajectories != "one"
    if task.trajectories in ("timeouts", "jumps"):  # The flag was computed from the next row.
        is_terminal = is_terminal and bool(goes_on[end])
    final = _final_observation(rows, end, goes_on, is_terminal, task)
    if final is not None and not np.all(np.isfinite(final)):
        yield EpisodeError(f"the observation after row {first + end}: {MUST_BE_FINITE}")
        return
    observation = rows["observations"][start : end + 1]
    taken = slice(start, end if final is None else end + 1)
    if taken.start == taken.stop:
        return
    infos = {extra_of(name): rows[name] for name in rows if name not in KNOWN}
    episode = Episode.from_transitions(
        observation if final is None else np.concatenate([observation, final[None]]),
        rows["actions"][taken],
        rows["rewards"][taken],
        is_terminal=is_terminal,
        extras={name: info[taken] for name, info in infos.items()},
        metadata={
            "first_row": np.int64(first + start),
            "is_timeout": np.bool_(rows["timeouts"][end]),
            "is_done": np.bool_(rows["terminals"][end]),
        },
    )
    if final is None:  # The final step is a row, and has infos of its own.
        own = {name: info[start : end + 1] for name, info in infos.items()}
        episode = dataclasses.replace(episode, extras=own)
    yield episode


def _final_observation(
    rows: Rows, end: int, goes_on: np.ndarray, is_terminal: bool, task: Task
) -> np.ndarray | None:
    """The observation after the row; None where the file does not hold it."""
    observations = rows["observations"]
    if "next_observations" in rows:
        return rows["next_observations"][end]
    if goes_on[end]:
        state = [rows[name][end + 1] for name in ("infos/qpos", "infos/qvel") if name in rows]
        if task.trajectories == "one" and len(state) == 2:
            # The next row may repeat this row's observation, but its infos hold the state.
            return np.concatenate(state).astype(observations.dtype)
        return observations[end + 1]
    return np.zeros_like(observations[end]) if is_terminal else None
