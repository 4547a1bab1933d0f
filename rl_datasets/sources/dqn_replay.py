"""DQN Replay logs (Agarwal, Schuurmans and Norouzi 2020): their reader, and a writer of the same.

Dopamine's `LoggedReplayBuffer` (google-research/batch_rl) saves its circular buffer of C rows, C
being 1,000,000, into `<Game>/<run>/replay_logs` whenever it is about to be full. A checkpoint N is

    $store$_observation_ckpt.N.gz    [C, 84, 84] uint8, the frame seen when `action` was chosen
    $store$_action_ckpt.N.gz         [C] int32
    $store$_reward_ckpt.N.gz         [C] float32, clipped to [-1, 1]
    $store$_terminal_ckpt.N.gz       [C] uint8, whether the row ended its episode
    add_count_ckpt.N.gz              int64, rows that were ever added
    invalid_range_ckpt.N.gz          [5] int64, rows near the cursor

each a NumPy file in gzip. Newer versions add `episode_end_indices_ckpt.N.gz`, a pickle, which is
never opened here. What the layout means, with a row's number counted from the beginning of the run:

- Row number a lies at place a % C. A checkpoint is saved when place C - 2 was filled, one row
  before the buffer is full. So a full checkpoint holds C - 1 rows in order, and at its last place
  the row *before* them, which no earlier checkpoint holds; the first checkpoint of a run has
  nothing there yet.
- An episode's first row comes after three rows of zeros, which fill the first stack of frames.
  Nothing marks them, and games have black frames too: they are the three rows after a terminal one
  and at the beginning of the run, and must be zero in the small arrays.
- An episode's first row is added together with those, so the number of rows can jump over a
  checkpoint, and C rows are lost. The numbers of the files go on; `add_count` shows it.
- The final checkpoint is saved wherever the run stopped. Its `add_count` is the cursor; from there
  on it holds stale rows. If they are those of the checkpoint before, none was lost between.
- A time limit is recorded as terminal. The limit is 27,000 rows, and an episode of exactly so many
  is taken to have reached it.

An episode belongs to the checkpoint in which its first row lies, and may run on into the next.
What comes before the first terminal row after a gap is left out, because its episode's beginning,
and so its first stacks of frames, cannot be known. A number that jumped proves that an episode's
first row is among the three after the gap: it is the first of them if that is not all zeros, and
so no padding, and the episode is kept; else nothing tells which. The last episode before a gap,
and of the log, is cut: not terminal. `atari.episode_from_rows` says what that means for its last
row.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from isal import igzip

from rl_datasets import errors, files, frames
from rl_datasets.episode import Episode
from rl_datasets.sources import atari

CAPACITY = 1_000_000
STACK_SIZE = 4
TIME_LIMIT = 27_000
FOLDER_NAME = "replay_logs"

_UPDATE_HORIZON = 1
_FRAME_SHAPE = atari.FRAME_SHAPE[:2]
_STORE: Mapping[str, np.dtype] = {
    "observation": np.dtype(np.uint8),
    "action": np.dtype(np.int32),
    "reward": np.dtype(np.float32),
    "terminal": np.dtype(np.uint8),
}
_MEMBERS = (*(f"$store$_{name}" for name in _STORE), "add_count", "invalid_range")
_FILE_NAME = re.compile(r"(?P<member>.+)_ckpt\.(?P<number>0|[1-9]\d{0,8})\.gz")
_COPY_AGAIN = "copy it again, or leave its checkpoint out"
# Where the log skipped a checkpoint, an episode begins, and its padding may straddle the boundary.
_WHERE_NOT_KNOWN = (
    "; the log skipped a checkpoint there, so an episode begins at one of the first three of them, "
    "but its own first row may be all zeros, as the rows of padding before it are"
)
_FRAME_BYTES = math.prod(_FRAME_SHAPE)
_BATCH = 64  # Frames in memory at once: they fit in a processor's cache.


def _file_name(member: str, number: int) -> str:
    return f"{member}_ckpt.{number}.gz"


class ReplayLog:
    """A circular replay buffer that logs itself as Dopamine's does, one bug for one.

        with ReplayLog("Pong/1/replay_logs") as log:
            log.add(observation, action, reward, terminal)

    Leaving the block without an exception saves the final checkpoint.

    Attributes:
      store: the buffer by field: observation [C, *frame_shape] uint8, action [C] int32, reward [C]
        float32, terminal [C] uint8.
      add_count: rows that were ever added, padding included; the cursor is `add_count % capacity`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        capacity: int = CAPACITY,
        stack_size: int = STACK_SIZE,
        frame_shape: tuple[int, int] = _FRAME_SHAPE,
    ):
        """Makes the folder and an empty buffer; memory is taken as rows are added.

        Args:
          folder: of the checkpoints, such as `Pong/1/replay_logs`.
          capacity: C, rows of the buffer and of a checkpoint.
          stack_size: frames that an agent stacks, one more than the rows of padding.
          frame_shape: (height, width) of a frame.

        Raises:
          DatasetError: the folder cannot be made, or holds checkpoints already.
          ValueError: the capacity is too small for a stack.
        """
        if capacity < stack_size + _UPDATE_HORIZON:
            raise ValueError(f"capacity must be at least {stack_size + _UPDATE_HORIZON}")
        self.folder = pathlib.Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            present = sorted(self.folder.glob("*_ckpt.*.gz"))
        except OSError as error:
            raise errors.DatasetError(
                f"cannot write into {folder} ({error.strerror}): name another folder"
            ) from error
        if present:
            raise errors.DatasetError(
                f"{present[0]} is there already: name a folder without checkpoints"
            )
        self.store = {
            name: np.zeros((capacity, *(frame_shape if name == "observation" else ())), dtype)
            for name, dtype in _STORE.items()
        }
        self.add_count = 0
        self._capacity = capacity
        self._stack_size = stack_size
        self._blank = np.zeros(frame_shape, np.uint8)
        self._checkpoints = 0
        self._is_episode_start = True

    def __enter__(self) -> ReplayLog:
        return self

    def __exit__(self, error_type: Any, *_: Any) -> None:
        if error_type is None:
            self.close()

    def add(self, observation: np.ndarray, action: int, reward: float, terminal: bool) -> None:
        """Adds a row, behind its padding where it is the first of an episode.

        Args:
          observation: [*frame_shape] uint8, the frame seen when the action was chosen.
          action: taken in it.
          reward: earned by it, clipped.
          terminal: whether it ended the episode.

        Raises:
          DatasetError: the checkpoint that this row completes cannot be written.
        """
        if self._is_episode_start:
            for _ in range(self._stack_size - 1):
                self._put(self._blank, 0, 0.0, False)
        self._put(observation, action, reward, terminal)
        self._is_episode_start = bool(terminal)
        if self.add_count % self._capacity == self._capacity - 1:
            self._save(self.add_count)

    def close(self) -> None:
        """Saves the final checkpoint, which holds the cursor where others hold `add_count`.

        Raises:
          DatasetError: it cannot be written.
        """
        self._save(self.add_count % self._capacity)

    def _put(self, observation: np.ndarray, action: int, reward: float, terminal: bool) -> None:
        row = (observation, action, reward, terminal)
        for array, value in zip(self.store.values(), row, strict=True):
            array[self.add_count % self._capacity] = value
        self.add_count += 1

    def _save(self, add_count: int) -> None:
        cursor = self.add_count % self._capacity
        near = np.arange(self._stack_size + _UPDATE_HORIZON) - _UPDATE_HORIZON
        arrays = (
            *self.store.values(),
            np.array(add_count, np.int64),
            (cursor + near) % self._capacity,
        )
        for member, array in zip(_MEMBERS, arrays, strict=True):
            _write_array(self.folder / _file_name(member, self._checkpoints), array)
        self._checkpoints += 1


def _write_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a NumPy file in gzip, bit for bit the same whenever it is written."""
    try:
        with (
            files.replacing(path) as partial,
            open(partial, "wb") as raw,
            igzip.IGzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file,
        ):
            np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    except OSError as error:
        raise errors.DatasetError(
            f"cannot write {path} ({error.strerror or error}): mend that and log again"
        ) from error


class Span(NamedTuple):
    """The rows of an episode, by their numbers in the run.

    Attributes:
      start: its first row.
      stop: the row after its last.
      is_terminal: whether the game ended, as against a time limit or a cut.
    """

    start: int
    stop: int
    is_terminal: bool

    @property
    def num_transitions(self) -> int:
        return self.stop - self.start - (not self.is_terminal)


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    """The rows [first, stop) of a run, as the files of one checkpoint hold them."""

    folder: str
    number: int
    capacity: int
    first: int
    stop: int

    def path(self, member: str) -> pathlib.Path:
        return pathlib.Path(self.folder) / _file_name(member, self.number)


@dataclasses.dataclass(frozen=True)
class Unit:
    """The episodes that begin in one checkpoint.

    Attributes:
      number: of the checkpoint.
      checkpoints: that checkpoint, and those that its last episode runs on into.
      spans: its episodes; each has a transition or more.
    """

    number: int
    checkpoints: tuple[_Checkpoint, ...]
    spans: tuple[Span, ...]

    @property
    def num_transitions(self) -> int:
        return sum(span.num_transitions for span in self.spans)

    @property
    def files(self) -> tuple[str, ...]:
        """What it is read from."""
        own, *others = self.checkpoints
        return files_of(own.folder, own.number) + tuple(
            str(other.path(f"$store$_{name}")) for other in others for name in _STORE
        )


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """What a folder of checkpoints holds, from everything but its frames.

    Attributes:
      units: one for each checkpoint in which an episode begins.
      faults: what is wrong with each checkpoint that cannot be read, by its number.
      repaired: what was left out or mended, one sentence each.
    """

    units: tuple[Unit, ...]
    faults: Mapping[int, str]
    repaired: tuple[str, ...]


def read_run(folder: str | os.PathLike[str], time_limit: int = TIME_LIMIT) -> LoggedRun:
    """Finds the episodes of a run without reading its frames.

    Args:
      folder: of the checkpoints, such as `Pong/1/replay_logs`.
      time_limit: rows after which the run's environment ended an episode.

    Raises:
      DatasetError: there is no such folder, it holds no checkpoint, or an episode is longer than
        the time limit. What is wrong with one checkpoint is told in `faults` instead, and the
        checkpoint is a gap.
    """
    folder = pathlib.Path(folder).absolute()
    numbers = _checkpoint_numbers(folder)
    chains: list[_Chain] = []
    faults: dict[int, str] = {}
    previous: tuple[_Checkpoint, _SmallArrays] | None = None
    for number in numbers:
        try:
            arrays = _read_small_arrays(folder, number)
            checkpoint = _place(folder, number, arrays, previous, is_last=number == numbers[-1])
            follows = previous is not None and previous[0].stop == checkpoint.first
            before = -1 if previous is None else previous[0].number
            jumped = not follows and checkpoint.first > 0 and before == number - 1
            begins = checkpoint.first == 0 or (jumped and _is_step(checkpoint, arrays))
            chain = chains[-1] if follows else _Chain(checkpoint.first, begins)
            chain.append(checkpoint, arrays)
        except errors.DatasetError as error:
            faults[number] = str(error)
            continue
        if not follows:
            chains.append(chain)
        previous = checkpoint, arrays
    spans = [chain.spans(time_limit) for chain in chains]
    units = itertools.chain(*(chain.units(own) for chain, own in zip(chains, spans, strict=True)))
    repaired = _repaired(chains, list(itertools.chain(*spans)), time_limit)
    return LoggedRun(tuple(units), faults, tuple(repaired))


def read_episodes(unit: Unit) -> Iterator[Episode]:
    """Reads the episodes of a unit, one at a time, in the order in which they were played.

    Frames come as the PNG files that a dataset holds, made while they are streamed: so there are
    never more than a few raw frames in memory, however long an episode is. The frames of the
    checkpoint are streamed once, and once more those of each that its last episode runs on into,
    because the first row of what that one adds lies at its very end.

    Raises:
      DatasetError: a file is truncated, damaged or has changed since `read_run`.
    """
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(_Reader(checkpoint)) for checkpoint in unit.checkpoints]
        for index, span in enumerate(unit.spans):
            rows = span.stop - span.start
            pngs = [b""] * rows
            action, reward = np.empty(rows, np.int64), np.empty(rows, np.float32)
            for reader in readers:
                reader.read(span, pngs, action, reward)
            yield atari.episode_from_rows(
                frames.EncodedFrames(pngs, atari.FRAME_SHAPE),
                action,
                reward,
                is_terminal=span.is_terminal,
                metadata={"checkpoint_id": np.int64(unit.number), "episode_id": np.int64(index)},
            )
        for reader in readers:
            reader.finish()


def files_of(folder: str | os.PathLike[str], number: int) -> tuple[str, ...]:
    """The six files of a checkpoint, whether they are there or not."""
    folder = pathlib.Path(folder).absolute()
    return tuple(str(folder / _file_name(member, number)) for member in _MEMBERS)


def _checkpoint_numbers(folder: pathlib.Path) -> list[int]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise errors.DatasetError(
            f"{folder} cannot be read ({error.strerror}): name a local or mounted copy of a run of "
            "DQN Replay, or log a run of your own"
        ) from error
    found = [match for name in names if (match := _FILE_NAME.fullmatch(name))]
    numbers = {int(match["number"]) for match in found if match["member"] in _MEMBERS}
    if not numbers:
        raise errors.DatasetError(
            f"{folder} holds no file such as {_file_name(_MEMBERS[0], 0)}: name a local or mounted "
            "copy of a run of DQN Replay, or log a run of your own"
        )
    return sorted(numbers)


class _SmallArrays(NamedTuple):
    """A checkpoint without its frames; `is_blank` says whether its first rows may be padding."""

    add_count: int
    is_blank: bool
    action: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray


def _read_small_arrays(folder: pathlib.Path, number: int) -> _SmallArrays:
    paths = {member: folder / _file_name(member, number) for member in _MEMBERS}
    with _Npy(paths["$store$_observation"]) as npy:
        capacity = npy.shape[0] if npy.shape else 0
        npy.check((capacity, *_FRAME_SHAPE), _STORE["observation"])
        first_frames = np.zeros((min(capacity, STACK_SIZE - 1), *_FRAME_SHAPE), np.uint8)
        npy.read_into(0, first_frames)
    if capacity < STACK_SIZE + _UPDATE_HORIZON:
        raise errors.DatasetError(
            f"{paths['$store$_observation']} has {capacity} rows, which no buffer has: "
            f"{_COPY_AGAIN}"
        )
    columns = [
        _read_array(paths[f"$store$_{name}"], (capacity,), _STORE[name])
        for name in ("action", "reward", "terminal")
    ]
    is_blank = not any(np.any(each[: STACK_SIZE - 1]) for each in (first_frames, *columns))
    add_count = _read_array(paths["add_count"], (), np.dtype(np.int64))
    _read_array(paths["invalid_range"], (STACK_SIZE + _UPDATE_HORIZON,), np.dtype(np.int64))
    return _SmallArrays(int(add_count), is_blank, *columns)


def _place(
    folder: pathlib.Path,
    number: int,
    arrays: _SmallArrays,
    previous: tuple[_Checkpoint, _SmallArrays] | None,
    *,
    is_last: bool,
) -> _Checkpoint:
    """Which rows of the run the checkpoint adds to those of the one before it."""
    capacity, add_count = len(arrays.action), arrays.add_count
    make = functools.partial(_Checkpoint, str(folder), number, capacity)
    earliest = number
    if previous is not None:
        before = previous[0]
        if before.capacity != capacity:
            raise errors.DatasetError(
                f"{folder / _file_name('$store$_observation', number)} has {capacity} rows, and "
                f"that of checkpoint {before.number} {before.capacity}: copy one run whole"
            )
        earliest = (before.stop + 1) // capacity + number - before.number - 1
    block, cursor = divmod(add_count, capacity)
    if block >= earliest and cursor == capacity - 1:
        return make(max(block * capacity - 1, 0), add_count)
    if block != 0 or not is_last:
        raise errors.DatasetError(
            f"{folder / _file_name('add_count', number)} says {add_count}, which cannot be in "
            f"checkpoint {number} of this run of {capacity} rows a checkpoint: copy one run whole"
        )
    if number == 0 and arrays.is_blank:  # Else the run jumped over its first full checkpoint.
        return make(0, cursor)
    first = max(earliest, 1) * capacity - 1
    if previous is not None and previous[0].number == number - 1:
        if cursor == capacity - 1:  # Saved just before: it says the same twice.
            return make(first, first)
        stale = slice(cursor, capacity - 1)
        if any(
            not np.array_equal(now[stale], then[stale])
            for now, then in zip(arrays[2:], previous[1][2:], strict=True)
        ):
            first += capacity
    return make(first, first + 1 + cursor)


def _is_step(checkpoint: _Checkpoint, arrays: _SmallArrays) -> bool:
    """Whether the checkpoint's first row, at the last place, is certainly no padding."""
    if any(each[-1] for each in (arrays.action, arrays.reward, arrays.terminal)):
        return True
    frame = np.zeros(_FRAME_SHAPE, np.uint8)
    with _Npy(checkpoint.path("$store$_observation")) as npy:
        npy.read_into((checkpoint.capacity - 1) * _FRAME_BYTES, frame)
    return bool(np.any(frame))


class _Chain:
    """Checkpoints that follow one another without a gap.

    Args:
      first: their first row.
      begins: whether an episode is known to begin there: at the beginning of the run after its
        padding, elsewhere with that row.
    """

    def __init__(self, first: int, begins: bool):
        self.first = first
        self.checkpoints: list[_Checkpoint] = []
        # The rows after which an episode begins: terminal ones, and one that would be where it is
        # not in the log, such as "row -1".
        self._ends: list[int] = [first - STACK_SIZE if first else -1] if begins else []

    def append(self, checkpoint: _Checkpoint, arrays: _SmallArrays) -> None:
        """Adds a checkpoint whose first row is the one behind the last row here."""
        rows = np.arange(checkpoint.first, checkpoint.stop)
        action, reward, terminal = (each[rows % checkpoint.capacity] for each in arrays[2:])
        path = checkpoint.path("$store$_terminal")
        if np.any(terminal > 1):
            raise errors.DatasetError(f"{path} holds more than 0 and 1: {_COPY_AGAIN}")
        if not np.all(np.abs(reward) <= 1):
            odd = reward[~(np.abs(reward) <= 1)][0]
            raise errors.DatasetError(
                f"{checkpoint.path('$store$_reward')} holds a reward of {odd}, and a log of "
                f"Dopamine's is clipped to [-1, 1]: log clipped rewards, or {_COPY_AGAIN}"
            )
        ends = rows[terminal == 1].tolist()
        behind = np.add.outer(self._ends[-1:] + ends, np.arange(1, STACK_SIZE)).astype(np.int64)
        within = (behind >= checkpoint.first) & (behind < checkpoint.stop)
        padding = behind[within] - checkpoint.first
        if any(np.any(field[padding]) for field in (action, reward, terminal)):
            raise errors.DatasetError(
                f"{path} has a terminal row without {STACK_SIZE - 1} rows of zeros behind it, so "
                "its checkpoint is damaged or of another run: copy one run whole"
            )
        self.checkpoints.append(checkpoint)
        self._ends += ends

    def spans(self, time_limit: int) -> list[Span]:
        """Every episode whose beginning is known."""
        stop = self.checkpoints[-1].stop
        spans = [
            Span(end + STACK_SIZE, next_end + 1, next_end + 1 - end - STACK_SIZE != time_limit)
            for end, next_end in itertools.pairwise(self._ends)
        ]
        if self._ends and self._ends[-1] + STACK_SIZE < stop:
            spans.append(Span(self._ends[-1] + STACK_SIZE, stop, False))
        for span in spans:
            if span.stop - span.start > time_limit:
                raise errors.DatasetError(
                    f"an episode of checkpoint {self._checkpoint_of(span).number} of "
                    f"{self.checkpoints[0].folder} has {span.stop - span.start} rows, but the time "
                    f"limit is {time_limit}: name the run's own, or copy one run whole"
                )
        return spans

    def units(self, spans: Iterable[Span]) -> list[Unit]:
        """The spans that have a transition, by the checkpoint in which they begin."""
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
        """The rows in front, up to a terminal one, whose episode's beginning is missing."""
        behind_first_end = self._ends[0] + 1 if self._ends else self.checkpoints[-1].stop
        return max(0, behind_first_end - self.first)

    @property
    def stale_rows(self) -> int:
        """The rows of a final checkpoint that are older than its first."""
        last = self.checkpoints[-1]
        is_full = (last.stop + 1) % last.capacity == 0 and last.stop > last.first
        return 0 if is_full or last.number == 0 else last.capacity - (last.stop - last.first)

    def _checkpoint_of(self, span: Span) -> _Checkpoint:
        return next(each for each in self.checkpoints if each.first <= span.start < each.stop)


def _repaired(chains: Sequence[_Chain], spans: Sequence[Span], time_limit: int) -> list[str]:
    """What was left out or mended, one sentence each."""
    at_limit = sum(not each.is_terminal and each.stop - each.start == time_limit for each in spans)
    cut = sum(not each.is_terminal for each in spans) - at_limit
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
    if at_limit + cut:
        told.append(
            f"{at_limit + cut} truncated episodes lose the action and the reward of their last row"
        )
    if lost := sum(not each.num_transitions for each in spans):
        told.append(f"{lost} truncated episodes of one row have no transition, and are left out")
    return told


class _Npy:
    """A NumPy file in gzip, as a stream.

    Attributes:
      shape: of the array, as its header says.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        with _naming(path):
            self._file = igzip.open(path, "rb")
            try:
                if np.lib.format.read_magic(self._file) != (1, 0):
                    raise ValueError("it is not of NumPy's format 1.0")
                header = np.lib.format.read_array_header_1_0(self._file)
                self._start = self._file.tell()
            except BaseException:
                self._file.close()
                raise
        self.shape, self._is_fortran, self._dtype = header

    def __enter__(self) -> _Npy:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Raises `DatasetError` unless the header says this shape and dtype."""
        if (self.shape, self._dtype, self._is_fortran) != (shape, dtype, False):
            self._file.close()
            raise errors.DatasetError(
                f"{self.path} holds {self._dtype} of shape {self.shape} where a checkpoint holds "
                f"{dtype} of shape {shape}: {_COPY_AGAIN}"
            )

    def read_into(self, offset: int, out: np.ndarray) -> None:
        """Fills a contiguous array from the data's byte `offset` on."""
        view = out.reshape(-1).view(np.uint8).data
        with _naming(self.path):
            self._seek(offset)
            while view:
                size = self._file.readinto(view)
                if not size:
                    raise EOFError("it ends too early")
                view = view[size:]

    def finish(self, size: int) -> None:
        """Reads on to the end, which compares gzip's checksum; the data must be `size` bytes."""
        with _naming(self.path):
            self._seek(size)
            if self._file.read(1):
                raise ValueError("it holds more than its header says")

    def _seek(self, offset: int) -> None:
        if self._file.seek(self._start + offset) != self._start + offset:
            raise EOFError("it ends too early")


def _read_array(path: pathlib.Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    with _Npy(path) as npy:
        npy.check(shape, dtype)
        with _naming(path):  # A damaged header may ask for more than there is memory.
            array = np.empty(shape, dtype)
        npy.read_into(0, array)
        npy.finish(array.nbytes)
    return array


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Says of every way in which a file can fail to be read that it is this file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise errors.DatasetError(f"{path} is damaged ({error}): {_COPY_AGAIN}") from error
        raise errors.DatasetError(
            f"{path} cannot be read ({error.strerror}): {_COPY_AGAIN}"
        ) from error
    except Exception as error:  # A damaged header can raise almost anything.
        raise errors.DatasetError(
            f"{path} is truncated or damaged ({error}): {_COPY_AGAIN}"
        ) from error


class _Reader:
    """The rows of a checkpoint, read from front to back."""

    def __init__(self, checkpoint: _Checkpoint):
        self._checkpoint = checkpoint
        self._batch = np.empty((_BATCH, *atari.FRAME_SHAPE), np.uint8)
        capacity = (checkpoint.capacity,)
        self._action, self._reward = (
            _read_array(checkpoint.path(f"$store$_{name}"), capacity, _STORE[name])
            for name in ("action", "reward")
        )
        self._frames = _Npy(checkpoint.path("$store$_observation"))
        self._frames.check((*capacity, *_FRAME_SHAPE), _STORE["observation"])

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: Any) -> None:
        self._frames.__exit__()

    def read(self, span: Span, pngs: list[bytes], action: np.ndarray, reward: np.ndarray) -> None:
        """Fills in those rows of the span that the checkpoint holds."""
        own = self._checkpoint
        start, stop = max(span.start, own.first), min(span.stop, own.stop)
        if start >= stop:
            return
        rows = slice(start - span.start, stop - span.start)
        places = np.arange(start, stop) % own.capacity
        action[rows], reward[rows] = self._action[places], self._reward[places]
        if start == own.first > 0:  # Its first row lies behind all others, so it is read last.
            others = self._read_frames(0, len(places) - 1)
            pngs[rows] = self._read_frames(own.capacity - 1, 1) + others
        else:
            pngs[rows] = self._read_frames(int(places[0]), len(places))

    def finish(self) -> None:
        """Reads on to the end of the frames, which compares their checksum."""
        self._frames.finish(self._checkpoint.capacity * _FRAME_BYTES)

    def _read_frames(self, place: int, count: int) -> list[bytes]:
        pngs: list[bytes] = []
        for done in range(0, count, _BATCH):
            batch = self._batch[: count - done]
            self._frames.read_into((place + done) * _FRAME_BYTES, batch)
            pngs += frames.encode_png(batch)
        return pngs
