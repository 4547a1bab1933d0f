"""Source units: the pieces of a source that are published each on its own, one shard a unit.

A unit writes its shard, reads it back, and leaves a receipt of what the shard holds. Nothing else
travels: no episode passes through Beam, so the cost of a publish grows with the data alone, its
memory does not grow at all, and its bytes depend neither on the runner nor on the workers.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator

from rl_datasets import files
from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec, check_episode
from rl_datasets.errors import DatasetError
from rl_datasets.publishing import encoding, records


@dataclasses.dataclass(frozen=True)
class SourceUnit:
    """A piece of a source that can be read on its own, with bounded memory.

    Attributes:
      name: unique among the units of a dataset; shards are ordered as the builder lists its units.
      split: the split that its episodes belong to.
      num_episodes: how many the source says that it holds.
      num_transitions: how many the source says that it holds.
      files: the files that it is read from; the sha256 of each goes into the manifest.
      read: gives the episodes; picklable, such as a `functools.partial` of a module's function.
    """

    name: str
    split: str
    num_episodes: int
    num_transitions: int
    files: tuple[str, ...]
    read: Callable[[], Iterator[Episode]]


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What the shard of a unit holds, read back from the disk.

    Attributes:
      unit: name of the unit.
      size: of the shard, in bytes.
      sha256: of the shard, in hexadecimal.
      lengths: transitions of every episode, in order.
      returns: undiscounted return of every episode, in order.
    """

    unit: str
    size: int
    sha256: str
    lengths: tuple[int, ...]
    returns: tuple[float, ...]


def write_unit(
    unit: SourceUnit, spec: EpisodeSpec, shard: pathlib.Path, receipt: pathlib.Path
) -> None:
    """Writes the unit's shard and then its receipt, each whole or not at all.

    A shard that is whole already is left as it is.

    Raises:
      DatasetError: an episode breaks the alignment rule, the shard does not hold what the source
        says, or a file cannot be read or written.
    """
    try:
        if _is_whole(unit, shard, receipt):
            return
        with files.replacing(shard) as partial:
            _write_shard(unit, spec, partial)
            holds = _read_back(unit, spec, partial)
        with files.replacing(receipt) as partial:
            partial.write_text(json.dumps(dataclasses.asdict(holds)))
    except OSError as error:
        raise DatasetError(
            f"unit {unit.name!r} could not be written to {shard}: {error.strerror or error}; "
            "mend that and publish again, the units that are whole are kept"
        ) from error


def read_receipt(path: pathlib.Path) -> Receipt | None:
    """The receipt at this path, or None where there is none."""
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    fields["lengths"], fields["returns"] = tuple(fields["lengths"]), tuple(fields["returns"])
    return Receipt(**fields)


def _is_whole(unit: SourceUnit, shard: pathlib.Path, receipt: pathlib.Path) -> bool:
    holds = read_receipt(receipt)
    return (
        holds is not None
        and holds.unit == unit.name
        and shard.is_file()
        and holds.sha256 == files.sha256_of(shard)
    )


def _write_shard(unit: SourceUnit, spec: EpisodeSpec, path: pathlib.Path) -> None:
    with open(path, "wb") as file:
        for index, episode in enumerate(unit.read()):
            try:
                check_episode(episode, spec)
            except EpisodeError as error:
                raise DatasetError(
                    f"episode {index} of unit {unit.name!r} of {', '.join(unit.files)} cannot be "
                    f"published because {error}; mend the source"
                ) from error
            file.write(records.frame(encoding.encode_episode(episode, spec)))


def _read_back(unit: SourceUnit, spec: EpisodeSpec, path: pathlib.Path) -> Receipt:
    """The gate: the shard must hold as much as the source says that the unit has."""
    lengths, returns = [], []
    for record in records.read_records(path):
        episode = encoding.decode_episode(record, spec)
        lengths.append(episode.num_transitions)
        returns.append(episode.episode_return)
    if (len(lengths), sum(lengths)) != (unit.num_episodes, unit.num_transitions):
        raise DatasetError(
            f"unit {unit.name!r} of {', '.join(unit.files)} gave {len(lengths)} episodes with "
            f"{sum(lengths)} transitions, but its source says {unit.num_episodes} with "
            f"{unit.num_transitions}; mend the source, nothing was published"
        )
    return Receipt(
        unit=unit.name,
        size=path.stat().st_size,
        sha256=files.sha256_of(path),
        lengths=tuple(lengths),
        returns=tuple(returns),
    )
