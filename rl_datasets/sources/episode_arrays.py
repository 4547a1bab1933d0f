"""Arrays by name that hold one episode, as Minari and users' own files have them.

    observations        [T + 1, ...], with the final observation; or several arrays, each
                        observations/<name>
    actions             [T, ...]
    rewards             [T]
    terminations        [T], True in the last row if the environment ended there
    truncations         [T], may be left out; True at most in the last row
    infos/<name>        [T, ...], or [T + 1, ...] with a row for the final observation
    metadata/<name>     a number, an array or a text of the whole episode

Flags are bool, or 0 and 1 as numbers. An episode without a termination was cut. Numbers of any byte
order are read, and float16 is widened to float32.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping

import dm_env.specs
import numpy as np

from rl_datasets.episode import OBSERVATION, Episode, EpisodeError, EpisodeSpec, by_name
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError

Arrays = Mapping[str, np.ndarray]

NEEDED = ("observations", "actions", "rewards", "terminations")
_KNOWN = (*NEEDED, "truncations")
_NAME = re.compile(rf"{'|'.join(_KNOWN)}|(observations|infos|metadata)/\w+", re.ASCII)

_HINT = (
    "name it infos/<name> or metadata/<name>, or observations/<name> if it is one of several, with "
    "letters, digits and underscores"
)


def read(
    path: pathlib.Path, name: str, load: Callable[[], Arrays], spec: EpisodeSpec | None
) -> Episode | EpisodeError:
    """The episode whose arrays `load` gives, or what is wrong with it, which begins with its name.

    Args:
      path: of the file; an error has only its name, so that it is the same wherever the file is.
      name: of the episode in its source.
      load: gives the arrays, or raises `DatasetError`.
      spec: the spec that the episode must have; None if it may have any.
    """
    try:
        episode = episode_of(load())
        if spec is not None:
            check_episode(episode, spec)
    except (EpisodeError, DatasetError) as error:
        return EpisodeError(f"{name}: {str(error).replace(str(path), path.name)}")
    return episode


def episode_of(arrays: Arrays) -> Episode:
    """The episode that arrays hold, in the layout that the module describes.

    Raises:
      EpisodeError: an array is missing or unknown, or has another length or dtype than it should.
    """
    _check_names(arrays)
    told = {name: _plain(name, array) for name, array in arrays.items()}
    observation = _parts(told, "observations/") or told["observations"]
    length = len(_rows(told, "actions"))
    for name, array in by_name(observation).items():
        _check_length(name.replace(OBSERVATION, "observations", 1), array, (length + 1,), length)
    for name in ("rewards", "terminations", "truncations"):
        if name in told:
            _check_length(name, told[name], (length,), length)
            if told[name].ndim != 1:
                raise EpisodeError(f"{name!r} has shape {told[name].shape}: give it one axis")
    infos = _parts(told, "infos/")
    for name, array in infos.items():
        _check_length(f"infos/{name}", array, (length, length + 1), length)
    _is_ended_by(told, "truncations")
    with np.errstate(over="ignore"):  # A reward that overflows is infinite, and so refused.
        rewards = told["rewards"].astype(np.float32)
    episode = Episode.from_transitions(
        observation,
        told["actions"],
        rewards,
        is_terminal=_is_ended_by(told, "terminations"),
        metadata=_metadata(told),
    )
    extras = {name: np.concatenate([of[:length], of[-1:]]) for name, of in infos.items()}
    return dataclasses.replace(episode, extras=extras)


def spec_of(episodes: Iterable[Episode | EpisodeError], source: str) -> EpisodeSpec:
    """The spec of the first episode that can be read; no bounds of actions are known.

    Args:
      episodes: what `read` gives.
      source: how an error names the source.

    Raises:
      DatasetError: none can be read.
    """
    first_error = None
    for episode in episodes:
        if isinstance(episode, EpisodeError):
            first_error = first_error or episode
            continue
        named = {name: _spec(array) for name, array in by_name(episode.observation).items()}
        return EpisodeSpec(
            observation=named.get(OBSERVATION)
            or {name.partition("/")[2]: spec for name, spec in named.items()},
            action=_spec(episode.action),
            extras={name: _spec(array) for name, array in episode.extras.items()},
            metadata={
                name: dm_env.specs.StringArray(())
                if isinstance(value, str)
                else dm_env.specs.Array(np.shape(value), np.asarray(value).dtype)
                for name, value in episode.metadata.items()
            },
        )
    raise DatasetError(
        f"{source} has no episode that can be read"
        + (f", the first because of {first_error}" if first_error else "")
        + ": repair it, or name another source"
    )


def _check_names(arrays: Arrays) -> None:
    for name in arrays:
        if not _NAME.fullmatch(name):
            nearest = difflib.get_close_matches(name, _KNOWN, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else _HINT
            raise EpisodeError(f"{name!r:.80} is no array of an episode: {hint}")
    several = [name for name in arrays if name.startswith("observations/")]
    given = {*arrays, *(["observations"] if several else [])}
    missing = [name for name in NEEDED if name not in given]
    if missing:
        raise EpisodeError(f"{missing[0]!r} is missing, and every episode must have it")
    if several and "observations" in arrays:
        raise EpisodeError(f"there are both 'observations' and {several[0]!r}: leave one out")


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    """The array with a dtype that a dataset can hold, in this machine's byte order."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "U" and array.shape == () and name.startswith("metadata/"):
        return array
    if kind not in "fiub" or (kind == "f" and size > 8):
        raise EpisodeError(
            f"{name!r} has dtype {array.dtype}, and only numbers of at most 64 bits are supported: "
            "convert it"
        )
    widened = np.dtype(np.float32) if array.dtype == np.float16 else array.dtype.newbyteorder("=")
    return array.astype(widened, copy=False)


def _rows(told: Arrays, name: str) -> np.ndarray:
    if not told[name].ndim:
        raise EpisodeError(f"{name!r} is a single value: give it one row for each step")
    return told[name]


def _parts(told: Arrays, within: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(within): _rows(told, name) for name in told if name.startswith(within)
    }


def _check_length(name: str, array: np.ndarray, allowed: tuple[int, ...], transitions: int) -> None:
    rows = len(array) if array.ndim else 0
    if rows in allowed:
        return
    wanted = " or ".join(map(str, allowed))
    final = name.startswith("observations") and rows == transitions
    raise EpisodeError(
        f"{name!r} has {rows} rows beside {transitions} actions, and {wanted} are needed"
        + (": add the final observation, the one after the last action" if final else "")
    )


def _is_ended_by(told: Arrays, name: str) -> bool:
    """Whether a flag is set in the last row; raises `EpisodeError` if it is set in another."""
    flags = told.get(name, np.zeros(1))
    if not np.all((flags == 0) | (flags == 1)):
        raise EpisodeError(f"{name!r} has values that are neither 0 nor 1")
    inner = np.flatnonzero(flags[:-1])
    if len(inner):
        raise EpisodeError(
            f"{name!r} is True in row {inner[0]} of {len(flags)}: end the episode in that row"
        )
    return bool(np.any(flags[-1:]))


def _metadata(told: Arrays) -> dict[str, object]:
    values = {
        name.removeprefix("metadata/"): array
        for name, array in told.items()
        if name.startswith("metadata/")
    }
    return {
        name: str(array) if array.dtype.kind == "U" else array[()] for name, array in values.items()
    }


def _spec(rows: np.ndarray) -> dm_env.specs.Array:
    return dm_env.specs.Array(rows.shape[1:], rows.dtype)
