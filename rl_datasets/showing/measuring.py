"""What only the records tell of a version: histograms and ranges, read once, in bounded memory."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import dm_env.specs
import numpy as np

from rl_datasets import files
from rl_datasets.episode import ACTION, RAW_RETURN, RAW_RETURN_IS_KNOWN, Episode
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames
from rl_datasets.published import reader
from rl_datasets.published.version import ALL, Version
from rl_datasets.showing.card import is_of_observation
from rl_datasets.showing.histogram import Histogram
from rl_datasets.terminal import progress
from rl_datasets.transition import StackedTransition, TransitionSpec

FORMAT = 1
MOST_ACTIONS = 64  # Numbers of an action that have a histogram each.
MOST_CHOICES = 256  # Discrete actions that are counted one by one.
_AT_ONCE = 4096  # Transitions without an episode, counted together.


class Range(NamedTuple):
    """The extremes of a field over all its numbers."""

    least: float
    greatest: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the records of all splits hold.

    Attributes:
      fingerprint: the version's.
      returns: of episodes; by the game's own rewards where the version knows them.
      lengths: transitions in an episode.
      rewards: of transitions.
      actions: of each number of an action, at most `MOST_ACTIONS`; none where they are `choices`.
      choices: how often each discrete action was taken; empty where actions are numbers.
      ranges: of every field of numbers but frames, by its name; of actions, the last step's aside.
    """

    fingerprint: str
    returns: Histogram
    lengths: Histogram
    rewards: Histogram
    actions: tuple[Histogram, ...]
    choices: tuple[int, ...]
    ranges: Mapping[str, Range]


def measure(version: Version) -> Measured:
    """Reads all records of a version, with a progress bar.

    Raises:
      DatasetError: a file is missing, damaged or not what was published.
    """
    sums = _Sums(version)
    with progress(version.name, version.counts().transitions) as advance:
        for piece in _pieces(version):
            sums.add(piece)
            advance(len(piece.reward))
    return sums.measured()


def write(path: pathlib.Path, measured: Measured) -> None:
    """Keeps what was measured in a JSON file."""
    content = {"format": FORMAT, **dataclasses.asdict(measured)}
    files.write(path, json.dumps(content, indent=1) + "\n")


def read(path: pathlib.Path) -> Measured | None:
    """What `write` kept; None where there is nothing, or what another release kept."""
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.pop("format") != FORMAT:
            return None
        for name in ("returns", "lengths", "rewards"):
            kept[name] = _histogram(kept[name])
        kept["actions"] = tuple(map(_histogram, kept["actions"]))
        kept["choices"] = tuple(kept["choices"])
        kept["ranges"] = {name: Range(*ends) for name, ends in kept["ranges"].items()}
        return Measured(**kept)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # It is measured again.


def check_sizes(version: Version) -> None:
    """Raises `DatasetError` where a shard is missing or does not have its size."""
    for split in version.splits:
        reader.shard_paths(version, split)


def _histogram(kept: Mapping[str, Any]) -> Histogram:
    return Histogram(**{**kept, "counts": tuple(kept["counts"])})


class _Piece(NamedTuple):
    """Some transitions: an episode, or several that belong to none.

    Attributes:
      reward: [T].
      action: [T, ...].
      fields: what else has numbers, by name, each [N, ...].
      episode_return: None where it is not an episode, or its return is not known.
    """

    reward: np.ndarray
    action: np.ndarray
    fields: Mapping[str, np.ndarray]
    episode_return: float | None


def _pieces(version: Version) -> Iterator[_Piece]:
    if isinstance(version.spec, TransitionSpec):
        return map(_of_transitions, _batches(version.transitions(ALL)))
    has_raw = RAW_RETURN_IS_KNOWN in version.spec.metadata
    return (_of_episode(episode, has_raw) for episode in version.episodes(ALL))


def _of_episode(episode: Episode, has_raw: bool) -> _Piece:
    episode_return: float | None = episode.episode_return
    if has_raw:
        is_known = bool(episode.metadata[RAW_RETURN_IS_KNOWN])
        episode_return = float(episode.metadata[RAW_RETURN]) if is_known else None
    steps = {
        name: np.asarray(field)
        for name, field in episode.steps().items()
        if is_of_observation(name) or name in episode.extras
        if not isinstance(field, EncodedFrames)
    }
    told = {
        name: np.asarray([value])
        for name, value in episode.metadata.items()
        if not isinstance(value, str)
    }
    return _Piece(episode.reward[:-1], episode.action[:-1], {**steps, **told}, episode_return)


def _batches(transitions: Iterable[StackedTransition]) -> Iterator[list[StackedTransition]]:
    transitions = iter(transitions)
    while batch := list(itertools.islice(transitions, _AT_ONCE)):
        yield batch


def _of_transitions(batch: list[StackedTransition]) -> _Piece:
    fields = {
        name: np.array([getattr(each, name) for each in batch])
        for name in ("episode_id", "episode_return")
    }
    reward, action = (np.array([getattr(t, name) for t in batch]) for name in ("reward", "action"))
    return _Piece(reward, action, fields, None)


class _Sums:
    """What was read so far."""

    def __init__(self, version: Version):
        spec = version.spec
        self._is_of_episodes = not isinstance(spec, TransitionSpec)
        self._name, self._fingerprint = version.name, version.fingerprint
        self._returns = self._lengths = self._rewards = Histogram()
        self._choices = np.zeros(choices_of(spec.action), np.int64)
        self._least = 0 if not len(self._choices) else int(spec.action.minimum)
        numbers = min(math.prod(spec.action.shape), MOST_ACTIONS)
        self._actions = [Histogram()] * (0 if len(self._choices) else numbers)
        self._ranges: dict[str, Range] = {}

    def add(self, piece: _Piece) -> None:
        self._rewards = self._rewards.plus(piece.reward)
        if self._is_of_episodes:
            self._lengths = self._lengths.plus(np.array(len(piece.reward)))
        if piece.episode_return is not None:
            self._returns = self._returns.plus(np.array(piece.episode_return))
        if len(self._choices):
            taken = piece.action - self._least
            if not np.all((taken >= 0) & (taken < len(self._choices))):
                raise DatasetError(
                    f"an action of {self._name} is not within its bounds; `rl-datasets verify` "
                    "says where: publish its source again"
                )
            self._choices += np.bincount(taken, minlength=len(self._choices))
        columns = piece.action.reshape(len(piece.action), -1).T
        self._actions = [
            of.plus(column) for of, column in zip(self._actions, columns, strict=False)
        ]
        for name, field in {ACTION: piece.action, **piece.fields}.items():
            if field.dtype.kind in "iuf" and field.size:
                least, greatest = field.min().item(), field.max().item()
                before = self._ranges.get(name, Range(least, greatest))
                self._ranges[name] = Range(min(before.least, least), max(before.greatest, greatest))

    def measured(self) -> Measured:
        return Measured(
            self._fingerprint,
            self._returns,
            self._lengths,
            self._rewards,
            tuple(self._actions),
            tuple(self._choices.tolist()),
            self._ranges,
        )


def choices_of(action: dm_env.specs.Array) -> int:
    """How many discrete actions there are; 0 where an action is numbers."""
    if not isinstance(action, dm_env.specs.BoundedArray) or action.dtype.kind not in "iu":
        return 0
    if action.shape or int(action.maximum) - int(action.minimum) >= MOST_CHOICES:
        return 0
    return int(action.maximum) - int(action.minimum) + 1
