"""The kinds of records: an episode, or a transition without its episode."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rl_datasets.episode import RAW_RETURN, RAW_RETURN_IS_KNOWN, Episode, EpisodeSpec
from rl_datasets.episode_check import check_episode
from rl_datasets.frames import EncodedFrames
from rl_datasets.published import encoding, manifest
from rl_datasets.transition import StackedTransition, TransitionSpec, check_transition


class Tally(NamedTuple):
    """The totals of some records.

    Attributes:
      records: number of records.
      lengths: number of transitions of every episode, in order; one total for all records if each
        is a transition.
      returns: undiscounted return of every episode, in order; one total for all records if each is
        a transition.
      truncated: number of records that do not end in a terminal transition.
      flags: by name of a boolean metadata field, the number of episodes where it is True.
      raw_returns: the raw returns of the episodes whose raw return is known, in order.
    """

    records: int
    lengths: Sequence[int]
    returns: Sequence[float]
    truncated: int
    flags: Mapping[str, int] = MappingProxyType({})
    raw_returns: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class Episodes:
    """A record is an episode."""

    noun: ClassVar = "episode"

    spec: EpisodeSpec

    def check(self, episode: Episode) -> None:
        check_episode(episode, self.spec)

    def encode(self, episode: Episode) -> bytes:
        return encoding.encode_episode(episode, self.spec)

    def decode(self, record: bytes) -> Any:
        return encoding.decode_episode(record, self.spec)

    def length(self, episode: Episode) -> int:
        return episode.num_transitions

    def frames(self, episode: Episode) -> Iterator[EncodedFrames]:
        return (f for f in episode.steps().values() if isinstance(f, EncodedFrames))

    def tally(self, records: Iterable[bytes]) -> Tally:
        """Counts what the records of a shard hold."""
        lengths, returns, raw_returns, truncated = [], [], [], 0
        flags = {name: 0 for name, of in self.spec.metadata.items() if of.dtype == np.bool_}
        for episode in map(self.decode, records):
            lengths.append(episode.num_transitions)
            returns.append(episode.episode_return)
            truncated += not episode.is_terminal[-1]
            for name in flags:
                flags[name] += bool(episode.metadata[name])
            if episode.metadata.get(RAW_RETURN_IS_KNOWN, False):
                raw_returns.append(float(episode.metadata[RAW_RETURN]))
        return Tally(len(lengths), lengths, returns, int(truncated), flags, raw_returns)

    def counts(self, tally: Tally) -> dict[str, int]:
        """What the manifest says of a unit whose source does not say what it holds."""
        return {
            "episodes": tally.records,
            "transitions": sum(tally.lengths),
            "truncated": tally.truncated,
        }

    def statistics(self, tallies: Sequence[Tally]) -> dict[str, Any]:
        """What the manifest says of a split."""
        flags = {name: sum(tally.flags[name] for tally in tallies) for name in tallies[0].flags}
        raw_returns = [value for tally in tallies for value in tally.raw_returns]
        return {
            **manifest.statistics(
                [length for tally in tallies for length in tally.lengths],
                [value for tally in tallies for value in tally.returns],
            ),
            **({"flags": flags} if flags else {}),
            **({RAW_RETURN: manifest.of_returns(raw_returns)} if raw_returns else {}),
        }


@dataclasses.dataclass(frozen=True)
class Transitions:
    """A record is a transition."""

    noun: ClassVar = "transition"

    spec: TransitionSpec

    def check(self, transition: StackedTransition) -> None:
        check_transition(transition, self.spec)

    def encode(self, transition: StackedTransition) -> bytes:
        return encoding.encode_transition(transition)

    def decode(self, record: bytes) -> Any:
        return encoding.decode_transition(record, self.spec)

    def length(self, transition: StackedTransition) -> int:
        return 1

    def frames(self, transition: StackedTransition) -> Iterator[EncodedFrames]:
        return iter((transition.observation, transition.next_observation))

    def tally(self, records: Iterable[bytes]) -> Tally:
        """Counts what the records of a shard hold, without decoding their frames."""
        rewards, truncated = [], 0
        for record in records:
            reward, discount = encoding.decode_outcome(record)
            rewards.append(reward)
            truncated += discount != 0
        return Tally(len(rewards), [len(rewards)], [math.fsum(rewards)], truncated)

    def counts(self, tally: Tally) -> dict[str, int]:
        """What the manifest says of a unit whose source does not say what it holds."""
        return {"transitions": tally.records, "terminal": tally.records - tally.truncated}

    def statistics(self, tallies: Sequence[Tally]) -> dict[str, Any]:
        """What the manifest says of a split."""
        transitions = sum(tally.records for tally in tallies)
        rewards = math.fsum(value for tally in tallies for value in tally.returns)
        return {
            "transitions": transitions,
            "terminal": transitions - sum(tally.truncated for tally in tallies),
            "reward": {"mean": rewards / transitions},
        }


def of(spec: EpisodeSpec | TransitionSpec) -> Episodes | Transitions:
    """The kind of records with this spec."""
    return Transitions(spec) if isinstance(spec, TransitionSpec) else Episodes(spec)
