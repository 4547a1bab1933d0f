"""Finds the episodes of a run.

An episode belongs to the checkpoint that holds its first row, and may continue into the next. After
a gap, the rows up to the first terminal one are left out, because their episode's beginning, and so
its first stacks of frames, cannot be known. If a row number was skipped, an episode's first row is
among the three after the gap. If the first of these is not all zeros, it is not padding: the
episode begins there, and is kept. Otherwise nothing says which row it is. The last episode before a
gap, and the last of the log, are cut: they are not terminal. `atari.episode_from_rows` says what
this means for their last row.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rl_datasets import errors
from rl_datasets.sources.dqn_replay import checkpoints, layout

# Where the log skipped a checkpoint, an episode begins, and its padding may cross the boundary.
_WHERE_NOT_KNOWN = (
    "; the log skipped a checkpoint there, so an episode begins at one of the first three of them, "
    "but its own first row may be all zeros, as the rows of padding before it are"
)


class Span(NamedTuple):
    """The rows of an episode, by their numbers in the run.

    Attributes:
      start: its first row.
      stop: the row after its last.
      is_terminal: whether the game ended, and not a time limit or a cut.
    """

    start: int
    stop: int
    is_terminal: bool

    @property
    def num_transitions(self) -> int:
        return self.stop - self.start - (not self.is_terminal)


@dataclasses.dataclass(frozen=True)
class Unit:
    """The episodes that begin in one checkpoint.

    Attributes:
      number: the checkpoint's number.
      checkpoints: that checkpoint, and those into which its last episode continues.
      spans: its episodes; each has at least one transition.
      further_files: files that say where its episodes end, beside those of its checkpoints.
    """

    number: int
    checkpoints: tuple[checkpoints.Checkpoint, ...]
    spans: tuple[Span, ...]
    further_files: tuple[str, ...] = ()

    @property
    def num_transitions(self) -> int:
        return sum(span.num_transitions for span in self.spans)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the unit is read from."""
        own, *others = self.checkpoints
        of_others = (
            str(other.path(f"$store$_{name}")) for other in others for name in layout.STORE
        )
        return (*layout.files_of(own.folder, own.number), *of_others, *self.further_files)


class Chain:
    """Checkpoints that follow one another without a gap.

    Args:
      first: their first row.
      begins: whether an episode is known to begin there: after the padding at the beginning of the
        run, and with this row elsewhere.
    """

    def __init__(self, first: int, begins: bool):
        self.first = first
        self.checkpoints: list[checkpoints.Checkpoint] = []
        # The rows after which an episode begins: terminal ones, and a row before the log, such as
        # "row -1".
        self._ends: list[int] = [first - layout.STACK_SIZE if first else -1] if begins else []
        self.cuts = set[int]()  # Those of the ends that the log itself says are not terminal.

    def append(
        self,
        checkpoint: checkpoints.Checkpoint,
        arrays: checkpoints.SmallArrays,
        episode_ends: Collection[int] = (),
    ) -> None:
        """Adds a checkpoint whose first row is the one after the last row here.

        Args:
          checkpoint: the checkpoint.
          arrays: its small arrays.
          episode_ends: the indices of rows that ended an episode, terminal or not, where the log
            has them.
        """
        rows = np.arange(checkpoint.first, checkpoint.stop)
        action, reward, terminal = (each[rows % checkpoint.capacity] for each in arrays[2:])
        path = checkpoint.path("$store$_terminal")
        if np.any(terminal > 1):
            raise errors.DatasetError(
                f"{path} holds values other than 0 and 1: {layout.COPY_AGAIN}"
            )
        if not np.all(np.abs(reward) <= 1):
            odd = reward[~(np.abs(reward) <= 1)][0]
            raise errors.DatasetError(
                f"{checkpoint.path('$store$_reward')} holds a reward of {odd}, and rewards of a "
                "Dopamine log are clipped to [-1, 1]: log clipped rewards, or "
                f"{layout.COPY_AGAIN}"
            )
        is_end = np.isin(rows % checkpoint.capacity, list(episode_ends))
        self.cuts |= set(rows[is_end & (terminal == 0)].tolist())
        ends = rows[is_end | (terminal == 1)].tolist()
        after = np.add.outer(self._ends[-1:] + ends, np.arange(1, layout.STACK_SIZE)).astype(
            np.int64
        )
        within = (after >= checkpoint.first) & (after < checkpoint.stop)
        padding = after[within] - checkpoint.first
        if any(np.any(field[padding]) for field in (action, reward, terminal)):
            raise errors.DatasetError(
                f"{path} has a terminal row without {layout.STACK_SIZE - 1} rows of zeros after "
                "it, so its checkpoint is damaged or of another run: copy one run whole"
            )
        self.checkpoints.append(checkpoint)
        self._ends += ends

    def spans(self, time_limit: int) -> list[Span]:
        """All episodes whose beginning is known."""
        stop = self.checkpoints[-1].stop
        spans = [
            Span(
                end + layout.STACK_SIZE,
                next_end + 1,
                next_end + 1 - end - layout.STACK_SIZE != time_limit and next_end not in self.cuts,
            )
            for end, next_end in itertools.pairwise(self._ends)
        ]
        if self._ends and self._ends[-1] + layout.STACK_SIZE < stop:
            spans.append(Span(self._ends[-1] + layout.STACK_SIZE, stop, False))
        for span in spans:
            if span.stop - span.start > time_limit:
                raise errors.DatasetError(
                    f"an episode of checkpoint {self._checkpoint_of(span).number} of "
                    f"{self.checkpoints[0].folder} has {span.stop - span.start} rows, but the time "
                    f"limit is {time_limit}: give the run's own limit, or copy one run whole"
                )
        return spans

    def units(self, spans: Iterable[Span]) -> list[Unit]:
        """The spans that have a transition, grouped by the checkpoint in which they begin."""
        units = []
        kept = [span for span in spans if span.num_transitions]
        for own, group in itertools.groupby(kept, self._checkpoint_of):
            of_unit = tuple(group)
            stop = of_unit[-1].stop
            needed = [each for each in self.checkpoints if own.first <= each.first < stop]
            units.append(Unit(own.number, tuple(needed), of_unit))
        return units

    @property
    def rows_without_beginning(self) -> int:
        """The number of first rows, up to a terminal one, whose episode's beginning is missing."""
        after_first_end = self._ends[0] + 1 if self._ends else self.checkpoints[-1].stop
        return max(0, after_first_end - self.first)

    @property
    def stale_rows(self) -> int:
        """The number of rows of a final checkpoint that are older than its first row."""
        last = self.checkpoints[-1]
        is_full = (last.stop + 1) % last.capacity == 0 and last.stop > last.first
        return 0 if is_full or last.number == 0 else last.capacity - (last.stop - last.first)

    def _checkpoint_of(self, span: Span) -> checkpoints.Checkpoint:
        return next(each for each in self.checkpoints if each.first <= span.start < each.stop)


def repaired(chains: Sequence[Chain], spans: Sequence[Span], time_limit: int) -> list[str]:
    """What was left out or repaired, one sentence each."""
    read = {-1, *(each.number for chain in chains for each in chain.checkpoints)}
    told = []
    for chain in chains:
        if chain.first:
            number = chain.checkpoints[0].number
            before = f"the rows before checkpoint {number} are not in the log"
            if lost := chain.rows_without_beginning:
                told.append(
                    f"{before}, so its first {lost} rows, whose episode's beginning is missing, "
                    f"are left out{_WHERE_NOT_KNOWN if number - 1 in read else ''}"
                )
            else:
                told.append(f"{before}, which skipped a checkpoint there; an episode begins after")
    if stale := sum(chain.stale_rows for chain in chains):
        told.append(f"{stale} stale rows of the final checkpoint are left out")
    return told + truncated(chains, spans, time_limit)


def truncated(chains: Sequence[Chain], spans: Sequence[Span], time_limit: int) -> list[str]:
    """What became of the episodes that are not terminal, one sentence each."""
    cuts = {cut for chain in chains for cut in chain.cuts}
    ended = sum(each.stop - 1 in cuts for each in spans)
    at_limit = sum(
        not each.is_terminal and each.stop - each.start == time_limit and each.stop - 1 not in cuts
        for each in spans
    )
    cut = sum(not each.is_terminal for each in spans) - ended - at_limit
    told = []
    if ended:
        told.append(
            f"{ended} episodes ended without a game over, as the log records: they are truncated, "
            "and end in their last row's observation"
        )
    if at_limit:
        told.append(
            f"{at_limit} episodes of exactly {time_limit} rows reached the time limit, which the "
            "log records as terminal: they are truncated, and end in their last row's observation"
        )
    if cut:
        told.append(
            f"{cut} episodes are cut by a gap or by the end of the log: they are truncated, and "
            "end in their last row's observation"
        )
    if ended + at_limit + cut:
        told.append(
            f"{ended + at_limit + cut} truncated episodes lose the action and the reward of their "
            "last row"
        )
    if lost := sum(not each.num_transitions for each in spans):
        told.append(f"{lost} truncated episodes of one row have no transition, and are left out")
    return told
