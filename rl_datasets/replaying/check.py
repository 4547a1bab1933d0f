"""Tries to replay a few episodes of each file, using only their frames and actions.

The search does not use the stored rewards, so it shows in which rows the files have them.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np
import rich.table

from rl_datasets.episode import EpisodeError
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.replaying import sticky_estimate
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.replaying.episodes import Attempt, Replayer, Stored
from rl_datasets.replaying.source import Source
from rl_datasets.roms import RomSet
from rl_datasets.sources.atari import STICKY_PROBABILITY, clipped

_SAME, _NEXT, _COMPARED = "same", "next", "compared"
WITH_ACTION, A_ROW_EARLY = "with their action", "a row early"


@dataclasses.dataclass
class FileCheck:
    """What a trial of a file's episodes showed.

    Attributes:
      file: its name.
      whole: number of episodes that were replayed whole.
      tried: number of episodes that were tried.
      rows: number of rows stored in the tried episodes.
      reached: number of those rows that were reached.
      roms: the ROM sets on which episodes were replayed whole.
      rewards: how many rows were `compared`, that is, have a stored reward that was compared with
        the clipped reward that an action earned; in how many of them the action of the `same` row
        earned it, and in how many that of the `next` row.
      shown: evidence of sticky actions, see `sticky_estimate.shown`.
      seconds: time that replaying took.
      total_rows: number of rows in the file, estimated from its size where the source does not
        say.
      why: the first reason why an episode was not replayed whole.
    """

    file: str
    whole: int = 0
    tried: int = 0
    rows: int = 0
    reached: int = 0
    roms: set[RomSet] = dataclasses.field(default_factory=set)
    rewards: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    shown: collections.Counter[tuple[int, ...]] = dataclasses.field(
        default_factory=collections.Counter
    )
    seconds: float = 0.0
    total_rows: int = 0
    why: str = ""

    @property
    def rewards_stand(self) -> str:
        """The rows in which the file has its rewards, relative to the actions that earned them."""
        same, following, compared = (self.rewards[name] for name in (_SAME, _NEXT, _COMPARED))
        if same == following:
            return "cannot tell" if self.whole else ""
        if compared in (same, following):
            return WITH_ACTION if same == compared else A_ROW_EARLY
        return "with neither"


def check(source: Source, replayer: Replayer, episodes: int) -> Iterator[FileCheck]:
    """Tries the first episodes of each file.

    Args:
      source: its files must be on this machine.
      replayer: has the ROMs to try.
      episodes: how many episodes of each file to try.

    Raises:
      DatasetError: a file cannot be read, or is in a bucket.
    """
    emulators = {rom_set: Emulator(rom) for rom_set, rom in replayer.roms.items()}
    for unit in source.units:
        if not all(isinstance(file, str) for file in unit.files):
            raise DatasetError(
                f"{unit.source} is in a bucket, and --check reads only files on this machine: copy "
                "a few of them, and check those"
            )
        yield _check_file(source, unit, replayer, emulators, episodes)


def _check_file(
    source: Source,
    unit: SourceUnit,
    replayer: Replayer,
    emulators: Mapping[RomSet, Emulator],
    episodes: int,
) -> FileCheck:
    checked, frame_bytes = FileCheck(unit.name), 0
    left = source.stored(unit)()
    for stored in itertools.islice(left, episodes):
        start = time.perf_counter()
        try:
            if isinstance(stored, EpisodeError):
                raise stored
            without = stored._replace(reward=np.full_like(stored.reward, np.nan))
            attempt = replayer.attempt(emulators, replayer.roms, without)
        except EpisodeError as error:
            checked.tried, checked.why = checked.tried + 1, checked.why or str(error)
            continue
        checked.seconds += time.perf_counter() - start
        _add(checked, stored, attempt, emulators[attempt.rom_set], source.is_a_row_early)
        frame_bytes += _size(stored)
    if unit.num_transitions is not None:
        checked.total_rows = unit.num_transitions
    elif checked.rows:
        is_all = next(left, None) is None
        of_file = 1.0 if is_all else os.path.getsize(str(unit.files[0])) / frame_bytes
        checked.total_rows = round(checked.rows * of_file)
    return checked


def _size(stored: Stored) -> int:
    """The size of an episode's frames in bytes; they are nearly all that a file holds."""
    observation = stored.episode.one_observation
    if isinstance(observation, EncodedFrames):
        return sum(map(len, observation.pngs))
    return observation.nbytes


def _add(
    checked: FileCheck, stored: Stored, attempt: Attempt, emulator: Emulator, is_a_row_early: bool
) -> None:
    replayed = attempt.replayed
    checked.tried += 1
    checked.rows += len(stored.reward)
    checked.reached += min(replayed.rows, len(stored.reward))
    checked.why = checked.why or replayed.reason
    if not replayed.whole:
        return
    checked.whole += 1
    checked.roms.add(attempt.rom_set)
    in_file = np.append(stored.reward[1:], np.nan) if is_a_row_early else stored.reward
    checked.rewards.update(_agreement(in_file, clipped(replayed.reward)))
    observations = np.asarray(stored.episode.one_observation)
    actions = stored.episode.action.tolist()
    checked.shown.update(
        sticky_estimate.shown(emulator, observations, actions, replayed.way, replayed.start)
    )


def _agreement(stored: np.ndarray, earned: np.ndarray) -> dict[str, int]:
    """Compares rewards [T] in a file's rows with those that were earned; NaN where not known."""
    is_known = ~np.isnan(stored[:-1]) & ~np.isnan(earned[:-1]) & ~np.isnan(earned[1:])
    return {
        _COMPARED: int(is_known.sum()),
        _SAME: int((stored[:-1] == earned[:-1])[is_known].sum()),
        _NEXT: int((stored[:-1] == earned[1:])[is_known].sum()),
    }


def table(checks: Sequence[FileCheck]) -> rich.table.Table:
    """The checks as a table with one row for each file."""
    shown = rich.table.Table(
        "file", "whole", "rows reached", "on the ROM of", "rewards stand", "kept", "rows/s", "lost"
    )
    for each in checks:
        shown.add_row(
            each.file,
            f"{each.whole} of {each.tried}",
            f"{each.reached:,} of {each.rows:,}",
            ", ".join(sorted(each.roms)),
            each.rewards_stand,
            _kept(each.shown),
            f"{each.reached / each.seconds:,.0f}" if each.reached else "",
            each.why,
        )
    return shown


def _kept(shown: sticky_estimate.Shown) -> str:
    if not shown:
        return ""
    estimate, least, most = sticky_estimate.estimate(shown)
    return f"{estimate:.2f} ({least:.2f} to {most:.2f})"


def sentences(source: Source, replayer: Replayer, checks: Sequence[FileCheck]) -> Iterator[str]:
    """Sentences that say what the table means."""
    named, *others = replayer.roms
    whole = sum(each.whole for each in checks)
    used = set().union(*(each.roms for each in checks))
    yield (
        f"{whole} of {sum(each.tried for each in checks)} episodes of {source.name} replay whole"
    )
    if used - {named}:
        yield (
            f"they replay on the ROM of {' and '.join(sorted(used))}, and the named ROM is that of "
            f"{named}: name the other with {_named(used)}"
        )
    elif not whole and not others:
        yield (
            f"only the ROM of {named} was tried: the other set has the same ROM, or is not "
            "installed; `rl-datasets roms` says which"
        )
    expected = A_ROW_EARLY if source.is_a_row_early else WITH_ACTION
    unexpected = {A_ROW_EARLY, WITH_ACTION} - {expected}
    if otherwise := [each.file for each in checks if each.rewards_stand in unexpected]:
        yield (
            f"{' and '.join(otherwise)} would be published wrongly: {source.dataset} expects the "
            f"rewards of a file {expected}"
        )
    shown = sum((each.shown for each in checks), collections.Counter())
    if shown:
        estimate, least, most = sticky_estimate.estimate(shown)
        looks = "looks like" if least <= STICKY_PROBABILITY <= most else "does not look like"
        yield (
            f"a frame kept the previous action with probability {estimate:.2f}, {least:.2f} to "
            f"{most:.2f} by {sum(shown.values()):,} steps: that {looks} {STICKY_PROBABILITY}"
        )
    reached, seconds = (
        sum(getattr(each, name) for each in checks) for name in ("reached", "seconds")
    )
    total = sum(each.total_rows for each in checks)
    if reached:
        hours = total * seconds / reached / 3600
        yield f"replaying all of about {total:,} rows takes {_duration(hours)} on one core"


def _named(used: Set[RomSet]) -> str:
    return " or ".join(f"--roms '{rom_set}'" for rom_set in sorted(used))


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} seconds"
    if hours < 1:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
