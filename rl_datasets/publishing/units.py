"""Source units: the pieces of a source that are published on their own, each as one shard.

So a shard is as large as its unit. `collection/unit_plan.py` sets the size of collected data;
elsewhere a builder's `source_units` does: DQN Replay's units are checkpoints, D4RL's a file.

A unit writes its shard, reads it back, and leaves a receipt of what the shard holds. No episode
passes through Beam. So the cost of publishing grows only with the data, the memory does not grow,
and the bytes depend neither on the runner nor on the workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rl_datasets import files
from rl_datasets.episode import EpisodeError, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.published import kinds
from rl_datasets.published.file_formats import FILE_FORMATS, TFRECORD, FileFormat
from rl_datasets.sources import buckets
from rl_datasets.transition import TransitionSpec

_NAMED = 10  # Files of a unit that an error names.


@dataclasses.dataclass(frozen=True)
class SourceUnit:
    """A piece of a source that can be read on its own, with bounded memory.

    Attributes:
      name: unique among the units of a dataset; shards are ordered as the builder lists its units.
      split: the split that its episodes belong to.
      num_episodes: number of episodes according to the source; None where it does not say.
      num_transitions: number of transitions according to the source; None where it does not say.
      files: the files and the objects of buckets that it is read from; the sha256 of each goes into
        the manifest.
      read: yields the episodes, or the transitions if these are the records; in place of a faulty
        one it yields an `EpisodeError` that says why. It is called with the path of a copy of each
        object among `files`, and must be picklable, such as a `functools.partial` of a module's
        function.
    """

    name: str
    split: str
    num_episodes: int | None
    num_transitions: int | None
    files: tuple[str | buckets.Object, ...]
    read: Callable[..., Iterator[Any]]

    @property
    def source(self) -> str:
        """The names of all its files, or of the first if there are many."""
        if len(self.files) > _NAMED:
            return f"{self.files[0]} and {len(self.files) - 1} other files"
        return ", ".join(map(str, self.files))


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What the shard of a unit holds, read back from the disk.

    Attributes:
      unit: name of the unit.
      size: size of the shard in bytes.
      sha256: sha256 of the shard, in hexadecimal.
      records, lengths, returns, truncated, flags, raw_returns: as in `kinds.Tally`.
      copied: sha256 of every object that was copied from a bucket, by the object's name.
      left_out: for each record of the source that the shard lacks, the reason.
    """

    unit: str
    size: int
    sha256: str
    records: int
    lengths: tuple[int, ...]
    returns: tuple[float, ...]
    truncated: int
    flags: dict[str, int] = dataclasses.field(default_factory=dict)
    raw_returns: tuple[float, ...] = ()
    copied: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def tally(self) -> kinds.Tally:
        return kinds.Tally(
            self.records, self.lengths, self.returns, self.truncated, self.flags, self.raw_returns
        )


class SourceChanged(DatasetError):
    """A file of the source has changed since the publication was planned."""


def write_unit(
    unit: SourceUnit,
    spec: EpisodeSpec | TransitionSpec,
    shard: pathlib.Path,
    receipt: pathlib.Path,
    check: Callable[[], None] = lambda: None,
    report: Callable[[int], None] = lambda transitions: None,
    keep_going: bool = False,
    sources: Mapping[str, str | None] = MappingProxyType({}),
    file_format: str = TFRECORD,
) -> None:
    """Writes the unit's shard and then its receipt, each whole or not at all.

    A shard that is already whole is kept. Objects of buckets are copied beside the shard while it
    is written.

    Args:
      unit: the unit to write.
      spec: the spec of its records.
      shard: the file to write.
      receipt: the file that says what the shard holds.
      check: called often; may raise to stop.
      report: called after every record with the number of transitions read so far.
      keep_going: whether to leave out faulty records and say so in the receipt.
      sources: the planned sha256 of the unit's files, compared once they were read; None for a file
        that could not be read.
      file_format: the name of the shard's file format, of `FILE_FORMATS`.

    Raises:
      SourceChanged: a file differs from its sha256.
      DatasetError: the source cannot be read, an episode breaks the alignment rule, or the shard
        does not hold what the source says.
      OSError: a file cannot be written.
    """
    if _is_whole(unit, shard, receipt, keep_going):
        return
    kind, shards = kinds.of(spec), FILE_FORMATS[file_format]
    with files.replacing(shard) as partial:
        with _copies(unit, shard.parent, check) as (copies, copied):
            read = _write_shard(unit, kind, shards, partial, copies, check, report, keep_going)
        _check_sources(sources)
        holds = dataclasses.replace(
            _read_back(unit, kind, shards, partial), copied=copied, left_out=tuple(read.left_out)
        )
        _check_counts(unit, read, holds)
    with files.replacing(receipt) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(holds)), encoding="utf-8")


def _check_sources(sources: Mapping[str, str | None]) -> None:
    for path, planned in sources.items():
        try:
            now = files.sha256_of(path)
        except OSError:
            now = None
        if now != planned:
            raise SourceChanged(
                f"source file {path} changed while it was published; publish again once nothing "
                "writes to it"
            )


def read_receipt(path: pathlib.Path) -> Receipt | None:
    """Reads the receipt at this path; None if there is none."""
    try:
        return parse_receipt(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def parse_receipt(text: str) -> Receipt:
    """The receipt that a file with this text holds."""
    fields = json.loads(text)
    for name in ("lengths", "returns", "raw_returns", "left_out"):
        fields[name] = tuple(fields.get(name, ()))
    return Receipt(**fields)


def _is_whole(
    unit: SourceUnit, shard: pathlib.Path, receipt: pathlib.Path, keep_going: bool
) -> bool:
    holds = read_receipt(receipt)
    return (
        holds is not None
        and holds.unit == unit.name
        and (keep_going or not holds.left_out)
        and shard.is_file()
        and holds.sha256 == files.sha256_of(shard)
    )


@contextlib.contextmanager
def _copies(
    unit: SourceUnit, folder: pathlib.Path, check: Callable[[], None]
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The paths of copies of the unit's objects, and the sha256 of each object by its name."""
    objects = [file for file in unit.files if isinstance(file, buckets.Object)]
    with contextlib.ExitStack() as stack:
        copies = [
            stack.enter_context(
                tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=files.PARTIAL)
            )
            for _ in objects
        ]
        copied = {
            each.name: each.copy_to(copy, check) for each, copy in zip(objects, copies, strict=True)
        }
        try:
            yield [copy.name for copy in copies], copied
        except DatasetError as error:
            reason = str(error)
            for each, copy in zip(objects, copies, strict=True):
                reason = reason.replace(copy.name, each.name)
            raise DatasetError(reason) from error


@dataclasses.dataclass
class _Read:
    """What was read of a unit.

    Attributes:
      records: number of records that were written.
      transitions: number of their transitions.
      left_out: for each other record, the reason why it was not written.
      transitions_left_out: number of the other records' transitions, as far as it is known.
    """

    records: int = 0
    transitions: int = 0
    left_out: list[str] = dataclasses.field(default_factory=list)
    transitions_left_out: int = 0

    @property
    def all_records(self) -> int:
        return self.records + len(self.left_out)


def _write_shard(
    unit: SourceUnit,
    kind: kinds.Episodes | kinds.Transitions,
    shards: FileFormat,
    path: pathlib.Path,
    copies: Sequence[str],
    check: Callable[[], None],
    report: Callable[[int], None],
    keep_going: bool,
) -> _Read:
    read = _Read()
    with shards.writing(path) as write:
        for item in unit.read(*copies):
            check()
            try:
                if isinstance(item, EpisodeError):
                    raise item
                kind.check(item)
            except EpisodeError as error:
                place = f"{kind.noun} {read.all_records}"
                if not keep_going:
                    raise DatasetError(
                        f"{place} of unit {unit.name!r} of {unit.source} cannot be published "
                        f"because {error}; repair the source, or publish the rest with --keep-going"
                    ) from error
                read.left_out.append(f"{place}: {error}")
                read.transitions_left_out += 0 if item is error else kind.length(item)
                continue
            write(kind.encode(item))
            read.records += 1
            read.transitions += kind.length(item)
            report(read.transitions)
    return read


def _read_back(
    unit: SourceUnit,
    kind: kinds.Episodes | kinds.Transitions,
    shards: FileFormat,
    path: pathlib.Path,
) -> Receipt:
    digest = hashlib.sha256()
    tally = kind.tally(shards.read_records(path, digest=digest))
    return Receipt(
        unit=unit.name,
        size=path.stat().st_size,
        sha256=digest.hexdigest(),
        records=tally.records,
        lengths=tuple(tally.lengths),
        returns=tuple(tally.returns),
        truncated=tally.truncated,
        flags=dict(tally.flags),
        raw_returns=tuple(tally.raw_returns),
    )


def _check_counts(unit: SourceUnit, read: _Read, holds: Receipt) -> None:
    """Checks that the shard holds what was read, and that this is what the source says."""
    if not holds.records:
        why = f", the first because of {read.left_out[0]}" if read.left_out else ""
        raise DatasetError(
            f"unit {unit.name!r} of {unit.source} has no episodes{why}; leave it out of the source"
        )
    gave = holds.records + len(read.left_out), sum(holds.lengths) + read.transitions_left_out
    all_read = read.all_records, read.transitions + read.transitions_left_out
    is_silent = unit.num_episodes is None
    says = all_read if is_silent else (unit.num_episodes, unit.num_transitions)
    if gave != says:
        raise DatasetError(
            f"unit {unit.name!r} of {unit.source} gave {gave[0]} episodes with {gave[1]} "
            f"transitions, but its source says {says[0]} with {says[1]}; repair the source, "
            "because nothing was published"
        )
