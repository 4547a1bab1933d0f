"""Where the units of a plan are kept until all of them are whole and become a version.

A version in a folder is staged in a folder beside it and committed by one rename (`folder_stage`).
An object store has no rename, so there a version is staged below its address and committed by the
creation of its manifest (`store_stage`).
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Mapping

from rl_datasets.episode import EpisodeSpec
from rl_datasets.published.file_formats import TFRECORD
from rl_datasets.publishing.units import Receipt, SourceUnit
from rl_datasets.transition import TransitionSpec


@dataclasses.dataclass(frozen=True)
class Task:
    """One unit to write.

    Attributes:
      unit: the unit to write.
      spec: the spec of its records.
      shard: the name of its shard in the stage.
      stage: where the shard and its receipt are written.
      keep_going: whether a bad unit is skipped, and a bad record left out; otherwise all stops.
      sources: the planned sha256 of the unit's files.
      names: the names of the unit's files in the plan, where they differ.
      file_format: the name of the shard's file format.
    """

    unit: SourceUnit
    spec: EpisodeSpec | TransitionSpec
    shard: str
    stage: Stage
    keep_going: bool = False
    sources: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    file_format: str = TFRECORD


class Stage(abc.ABC):
    """The stage of one plan; instances are pickled with every task.

    Attributes:
      look_seconds: seconds between two looks at what other processes left here.
    """

    look_seconds: float

    # What a launcher does.

    @abc.abstractmethod
    def claimed(self) -> contextlib.AbstractContextManager[None]:
        """While it is entered, no launcher of another plan publishes the same version.

        Raises:
          DatasetError: another one does.
        """

    @abc.abstractmethod
    def is_published(self) -> bool:
        """Whether the version exists, and nothing of it is missing but the stage's own removal."""

    @abc.abstractmethod
    def start(self) -> None:
        """Prepares for workers; units that an earlier attempt left whole stay."""

    @abc.abstractmethod
    def version(self, shards: Mapping[str, str]) -> contextlib.AbstractContextManager[pathlib.Path]:
        """A local folder for the other files of the version, which is committed after the block.

        Args:
          shards: the final name of each shard of the version, by its name in the stage.
        """

    @abc.abstractmethod
    def clear(self) -> None:
        """Removes what is left of the stage, which another launcher may do at the same time."""

    # What a worker does.

    @abc.abstractmethod
    def write(self, task: Task, check: Callable[[], None], report: Callable[[int], None]) -> None:
        """Writes the shard of a unit and then its receipt, unless they are whole.

        `check`, `report` and the errors are those of `units.write_unit`.
        """

    @abc.abstractmethod
    def report(self, shard: str, transitions: int | None) -> None:
        """Says how many transitions were read for a shard so far; None when it is settled."""

    @abc.abstractmethod
    def skip(self, shard: str, reason: str) -> None:
        """Says why a unit is skipped; the first reason is kept."""

    @abc.abstractmethod
    def stop(self, reason: str) -> None:
        """Tells all workers of this launcher to stop, and says why; the first reason is kept."""

    # What both of them ask.

    @abc.abstractmethod
    def stop_reason(self) -> str | None:
        """Why the workers are to stop; None if they are not."""

    @abc.abstractmethod
    def receipt(self, shard: str) -> Receipt | None:
        """The receipt of a unit; None if the unit was not written."""

    @abc.abstractmethod
    def why_skipped(self, shard: str) -> str | None:
        """Why a unit was skipped; None if it was not."""

    @abc.abstractmethod
    def settled(self) -> set[str]:
        """The shards of the units that were written or skipped."""

    @abc.abstractmethod
    def transitions_read(self, shard: str) -> int:
        """How many transitions of an unsettled unit were read so far, as far as this is told."""
