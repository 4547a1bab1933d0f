"""D4RL's HDF5 files (Fu et al. 2020, arXiv 2004.07219): episodes, and the policy that acted.

A file is flat; row i is what happened at step i of the whole collection.

    observations        [N, O]   o_t
    actions             [N, A]   a_t, taken in o_t
    rewards             [N] or [N, 1]
    terminals           [N]      bool, or 0 and 1 as numbers
    timeouts            [N]      not in every file
    next_observations   [N, O]   o_{t+1}; Gym-MuJoCo v1 and v2 alone
    infos/<name>        [N, ...] such as qpos, qvel, action_log_probs, goal; Kitchen has one `infos`
    metadata/<name>     of the whole file: algorithm, iteration, policy

Where trajectories end is told by the task (`Task.trajectories`):

    flags       at terminals and at timeouts, and where the next row is not what was stored as the
                next observation: files of replay buffers do not mark every time limit
    terminals   the same in a file without timeouts, because terminals mark every end (Kitchen)
    timeouts    at timeouts alone: a terminal is a goal on the way (AntMaze v1, v2)
    jumps       where the position jumps, because the timeouts are wrong (AntMaze v0)
    one         nowhere: timeouts mark that a goal to navigate to was reached (Maze2D); in a file
                without timeouts every `Task.horizon`-th row stands for a mark

An episode ends with its trajectory, and also at a terminal or a mark on the way. Its final
observation is the one stored as the next; else the next row's, where the trajectory goes on; else a
vector of zeros behind a terminal, from which nothing bootstraps. Where there is none of them, the
last row gives its observation alone, and its action and reward are left out. The rows behind the
last end are a truncated episode. Every other row is a transition of one episode, in the file's
order.

Episodes have every info as an extra, and as metadata `first_row`, the number of their first row,
and `is_timeout`, what `timeouts` says at their last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import dm_env.specs
import h5py
import numpy as np

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.sources import brac
from rl_datasets.sources.d4rl_tasks import Task

METADATA = {
    "first_row": dm_env.specs.Array((), np.int64),
    "is_timeout": dm_env.specs.Array((), np.bool_),
}
NEEDED = ("observations", "actions", "rewards", "terminals")
POLICY_LAYERS = ("fc0", "fc1", "last_fc", "last_fc_log_std")
# An ant walks less in a step, and corridors are 4 wide. (D4RL's own check looks for jumps of 5.)
MAX_STRIDE = 1.0
_SLICE_BYTES = 32 << 20

Rows = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a file holds, by its headers.

    Attributes:
      rows: of every field.
      fields: shape of a row and dtype, by name, of all that has a row a step.
      metadata: of the whole file, as plain data; arrays by their shape and sha256.
    """

    rows: int
    fields: Mapping[str, tuple[tuple[int, ...], np.dtype]]
    metadata: Mapping[str, Any]

    @property
    def has_timeouts(self) -> bool:
        return "timeouts" in self.fields

    @property
    def has_next_observations(self) -> bool:
        return "next_observations" in self.fields

    @property
    def infos(self) -> list[str]:
        """Fields that become extras."""
        known = (*NEEDED, "timeouts", "next_observations")
        return [name for name in self.fields if name not in known]

    def episode_spec(self) -> EpisodeSpec:
        """What every episode of the file obeys; D4RL's environments all bound actions by 1."""
        (observation, observed), (action, acted) = (
            self.fields[name] for name in ("observations", "actions")
        )
        return EpisodeSpec(
            observation=dm_env.specs.Array(observation, observed),
            action=dm_env.specs.BoundedArray(action, acted, -1.0, 1.0),
            extras={_extra(name): dm_env.specs.Array(*self.fields[name]) for name in self.infos},
            metadata=METADATA,
        )


def read_contents(path: str | pathlib.Path, task: Task) -> Contents:
    """What a file holds, checked against the task that it is of; no row of it is read.

    Raises:
      DatasetError: the file is missing, cut short or no HDF5, lacks a field that the task needs,
        has fields of differing length, or is as wide as another environment's.
    """
    with _opened(path) as file:
        return _contents(file, path, task)


def read_episodes(path: str | pathlib.Path, task: Task) -> Iterator[Episode]:
    """Every episode of a file, in order, as the module says; the file is read in slices.

    Memory holds a slice and the longest episode, not the file.

    Raises:
      DatasetError: as `read_contents`; or a row is damaged, a flag is neither 0 nor 1, or a row is
        both a terminal and a time limit.
    """
    with _opened(path) as file:
        contents = _contents(file, path, task)
        first, pending = 0, None
        for read in _slices(file, path, contents, task):
            rows = read if pending is None else _joined_up(pending, read)
            length = len(rows["rewards"])
            is_end_of_file = first + length == contents.rows
            goes_on = _goes_on(rows, task)
            is_end = _ends(rows, goes_on, task)
            if task.trajectories == "one" and not contents.has_timeouts:
                is_end |= (first + np.arange(1, length + 1)) % task.horizon == 0
            is_end[-1] = is_end_of_file  # Of the last row of a slice the row behind tells.
            start = 0
            for end in np.flatnonzero(is_end):
                episode = _episode(rows, start, end, goes_on, first, task)
                if episode is not None:
                    yield episode
                start = end + 1
            first += start
            pending = {name: field[start:] for name, field in rows.items()}


def repairs(contents: Contents, task: Task) -> list[str]:
    """How the episodes of a file differ from its rows, a sentence each."""
    if contents.has_next_observations:
        return [
            "an episode also ends, truncated, where the next row is not what the file stores as "
            "the next observation",
        ]
    told = []
    if task.trajectories == "one":
        told.append(
            "the trajectory is cut into episodes at its marks, or every `horizon` rows where there "
            "are none; it goes on behind them, so the final observation is the next row's state"
        )
    else:
        told.append(
            "no next observations are stored: an episode that a time limit cuts ends in its last "
            "row, whose action and reward are left out"
        )
    if task.trajectories in ("flags", "terminals"):
        told.append("the final observation behind a terminal, never stored, is a vector of zeros")
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


def read_policy(path: str | pathlib.Path) -> brac.Layers:
    """The tanh-Gaussian ReLU policy that collected a file, from its metadata.

    Returns:
      (kernel [in, out], bias [out]) of each layer, float32, in order. The last layer's output is
      the mean and the log standard deviation of the Gaussian before tanh; the latter is still to
      be clipped to [-20, 2], as rlkit does.

    Raises:
      DatasetError: the file cannot be read, or has no such policy.
    """
    with _opened(path) as file:
        try:
            policy = file["metadata/policy"]
            kind = tuple(policy[name][()] for name in ("nonlinearity", "output_distribution"))
            fc0, fc1, mean, log_std = (_layer(policy[name]) for name in POLICY_LAYERS)
        except KeyError as error:
            raise DatasetError(
                f"{path} holds no policy of D4RL's SAC ({error}): name a file of a medium or "
                "expert data set of Gym-MuJoCo v1 or v2"
            ) from error
    if kind != (b"relu", b"tanh_gaussian"):
        raise DatasetError(
            f"{path} holds a policy of kind {kind}, and a tanh-Gaussian of ReLU layers is needed: "
            "name a file of a medium or expert data set of Gym-MuJoCo v1 or v2"
        )
    kernel, bias = (np.concatenate(both, axis=-1) for both in zip(mean, log_std, strict=True))
    layers = [fc0, fc1, (kernel, bias)]
    brac.check_layers(layers, str(path))
    return layers


def _layer(group: h5py.Group) -> tuple[np.ndarray, np.ndarray]:
    """A layer that PyTorch stores as [out, in]."""
    return group["weight"][()].T, group["bias"][()]


@contextlib.contextmanager
def _opened(path: str | pathlib.Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    # Where a header is damaged, h5py raises almost anything.
    except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as HDF5 ({getattr(error, 'strerror', None) or error}): it may "
            "be cut short, so copy it anew"
        ) from error


def _contents(file: h5py.File, path: str | pathlib.Path, task: Task) -> Contents:
    fields: dict[str, h5py.Dataset] = {}
    metadata: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if name.startswith("metadata/"):
            metadata[name.removeprefix("metadata/")] = _plain(item)
        else:
            fields[name] = item

    file.visititems(visit)
    for name in _needed(fields, task):
        if name not in fields:
            raise DatasetError(
                f"{path} has no {name!r}, so it is no file of {task.id}: download {task.url} anew"
            )
    rows = len(fields["rewards"]) if fields["rewards"].ndim else 0
    for name, field in fields.items():
        if field.ndim < 1 or len(field) != rows or not rows:
            raise DatasetError(
                f"{path} has {name!r} of shape {field.shape} beside {rows} rewards, and every "
                "field must have one row a step, and one at least: download the file anew"
            )
        if field.dtype.kind not in "fiub":
            raise DatasetError(
                f"{path} has {name!r} of dtype {field.dtype}, and only numbers are known: download "
                "the file anew"
            )
        widths = _widths(name, task)
        if widths and field.shape[1:] not in widths:
            raise DatasetError(
                f"{path} has {name!r} of shape {field.shape}, and rows of {task.id} have shape "
                f"{widths[0]}: name the task that the file is of"
            )
    return Contents(
        rows=rows,
        fields={name: _row_type(name, field) for name, field in fields.items()},
        metadata=metadata,
    )


def _needed(fields: Mapping[str, Any], task: Task) -> tuple[str, ...]:
    is_told_otherwise = task.trajectories == "flags" and "next_observations" in fields
    if is_told_otherwise or task.trajectories in ("terminals", "jumps", "one"):
        return NEEDED
    return (*NEEDED, "timeouts")


def _widths(name: str, task: Task) -> list[tuple[int, ...]]:
    """Shapes that a row of a field may have; none if any will do."""
    if name in ("observations", "next_observations"):
        return [(task.observation_size,)]
    if name == "actions":
        return [(task.action_size,)]
    return [(), (1,)] if name in (*NEEDED, "timeouts") else []


def _row_type(name: str, field: h5py.Dataset) -> tuple[tuple[int, ...], np.dtype]:
    # As a plain dtype, because h5py's say what HDF5 calls them.
    shape, dtype = field.shape[1:], np.dtype(field.dtype.str)
    if name in ("terminals", "timeouts"):
        return (), np.dtype(np.bool_)
    return (() if name == "rewards" else shape), dtype


def _plain(dataset: h5py.Dataset) -> Any:
    value = dataset[()]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if np.ndim(value) == 0 and isinstance(value, np.number):
        return value.item()
    value = np.asarray(value)
    return {"shape": list(value.shape), "sha256": hashlib.sha256(value.tobytes()).hexdigest()}


def _extra(name: str) -> str:
    return name.removeprefix("infos/")


def _slices(
    file: h5py.File, path: str | pathlib.Path, contents: Contents, task: Task
) -> Iterator[Rows]:
    row_bytes = sum(dtype.itemsize * int(np.prod(row)) for row, dtype in contents.fields.values())
    step = max(1, _SLICE_BYTES // row_bytes)
    for start in range(0, contents.rows, step):
        stop = min(start + step, contents.rows)
        rows = {
            name: file[name][start:stop].reshape(stop - start, *row)
            for name, (row, _) in contents.fields.items()
        }
        yield rows | _flags(path, rows, start, task)


def _joined_up(before: Rows, after: Rows) -> Rows:
    return {name: np.concatenate([before[name], after[name]]) for name in before}


def _flags(path: str | pathlib.Path, rows: Rows, first: int, task: Task) -> Rows:
    """`terminals` and `timeouts` as bool; those that a file lacks are False.

    Raises:
      DatasetError: a flag is neither 0 nor 1, or a row has both where no file of the task does.
    """
    flags = {}
    for name in ("terminals", "timeouts"):
        stored = rows.get(name, np.zeros(len(rows["rewards"])))
        odd = np.flatnonzero((stored != 0) & (stored != 1))
        if len(odd):
            raise DatasetError(
                f"{path} has {name!r} of {stored[odd[0]]} in row {first + odd[0]}, and it must be "
                "0 or 1: download the file anew"
            )
        flags[name] = stored.astype(np.bool_)
    both = np.flatnonzero(flags["terminals"] & flags["timeouts"])
    if len(both) and task.trajectories in ("flags", "terminals"):
        raise DatasetError(
            f"{path} has both a terminal and a time limit in row {first + both[0]}, where a file "
            f"of {task.id} has one of them at most: mend the flags of that row"
        )
    return flags


def _goes_on(rows: Rows, task: Task) -> np.ndarray:
    """[N] bool: whether the row behind is the next step of the same trajectory; no row, no step."""
    observations = rows["observations"]
    goes_on = np.zeros(len(observations), np.bool_)
    if "next_observations" in rows:
        goes_on[:-1] = np.all(rows["next_observations"][:-1] == observations[1:], axis=1)
    elif task.trajectories == "one":
        goes_on[:-1] = True
    elif task.trajectories == "jumps":
        stride = np.linalg.norm(np.diff(observations[:, :2], axis=0), axis=1)
        goes_on[:-1] = stride <= MAX_STRIDE
    elif task.trajectories == "timeouts":
        goes_on[:-1] = ~rows["timeouts"][:-1]
    else:
        goes_on[:-1] = ~(rows["timeouts"] | rows["terminals"])[:-1]
    return goes_on


def _ends(rows: Rows, goes_on: np.ndarray, task: Task) -> np.ndarray:
    """[N] bool: whether an episode ends at the row."""
    ends = rows["terminals"] | ~goes_on
    return ends if task.trajectories == "jumps" else ends | rows["timeouts"]


def _episode(
    rows: Rows, start: int, end: int, goes_on: np.ndarray, first: int, task: Task
) -> Episode | None:
    """The episode of rows `start` to `end`; None of a row that makes no transition."""
    is_terminal = bool(rows["terminals"][end]) and task.trajectories != "one"
    if task.trajectories in ("timeouts", "jumps"):  # It was computed from the row behind.
        is_terminal = is_terminal and bool(goes_on[end])
    final = _final_observation(rows, end, goes_on, is_terminal, task)
    observation = rows["observations"][start : end + 1]
    taken = slice(start, end if final is None else end + 1)
    if taken.start == taken.stop:
        return None
    infos = {
        _extra(name): rows[name]
        for name in rows
        if name not in (*NEEDED, "timeouts", "next_observations")
    }
    episode = Episode.from_transitions(
        observation if final is None else np.concatenate([observation, final[None]]),
        rows["actions"][taken],
        rows["rewards"][taken],
        is_terminal=is_terminal,
        extras={name: info[taken] for name, info in infos.items()},
        metadata={
            "first_row": np.int64(first + start),
            "is_timeout": np.bool_(rows["timeouts"][end]),
        },
    )
    if final is None:  # The final step is a row, and has infos of its own.
        own = {name: info[start : end + 1] for name, info in infos.items()}
        episode = dataclasses.replace(episode, extras=own)
    return episode


def _final_observation(
    rows: Rows, end: int, goes_on: np.ndarray, is_terminal: bool, task: Task
) -> np.ndarray | None:
    """What was seen after the row; None where the file does not hold it."""
    observations = rows["observations"]
    if "next_observations" in rows:
        return rows["next_observations"][end]
    if goes_on[end]:
        state = [rows[name][end + 1] for name in ("infos/qpos", "infos/qvel") if name in rows]
        if task.trajectories == "one" and len(state) == 2:
            # Where the row behind repeats this one's observation, its infos have the state.
            return np.concatenate(state).astype(observations.dtype)
        return observations[end + 1]
    return np.zeros_like(observations[end]) if is_terminal else None
