"""Replays a logged Atari episode in today's emulator, which recovers what the log lacks.

    emulator = Emulator(roms.rom_path("Asterix", RomSet.LEGACY))
    replayed = replay(emulator, LoggedEpisode(observations, actions, rewards, is_terminal))

An episode is replayed whole where a way through the game was found that shows every logged frame,
earns every logged clipped reward, and ends where the log ends. The result is what happened on that
way. With `prove_unique` all ways are followed, and the result holds only what they have in common.
No logged frame shows the outcome of the last action, so its reward and its lives are given only
where they are the same in all outcomes that agree with the log. The final observation also needs a
proof: without one, a state that was not examined may lead to another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.replaying.log import Log, LoggedEpisode
from rl_datasets.replaying.proof import Proof, prove
from rl_datasets.replaying.search import Found, Search
from rl_datasets.replaying.step import Outcome, Way
from rl_datasets.sources.atari import FRAME_SKIP

__all__ = ["NOT_KNOWN", "Emulator", "LoggedEpisode", "Replayed", "replay", "rerun"]

NOT_KNOWN = -1

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Replayed:
    """The result of replaying an episode of T rows.

    Attributes:
      rows: number of logged frames that were reached, from the first on; T + 1 at most, where the
        log has the final observation.
      whole: whether all frames were reached and an outcome of the last action agrees with the log.
      reason: why the episode is not whole; empty where it is.
      steps: number of steps that were tried; a row took one where the likeliest was right.
      open_states: number of the game's states before the last action that agree with the log: all
        of them after a proof, otherwise the one that was found.
      only_return: whether all ways through the game have the same raw return; None where no proof
        was asked for, or there were too many ways to tell.
      only_reward: [T] bool, whether all ways have the same raw reward in a row; None as above.
      raw_return: the sum of the game's own rewards; NaN where not known.
      reward: [T] float32, the game's own rewards; NaN where not known.
      final_observation: [84, 84, 1] uint8, after the last action; None where not known, as where
        the log lacks it and no proof was completed.
      lives: [T + 1] int32, before each action and after the last; NOT_KNOWN where not known.
      executed: [T, 4] int8, the action that each emulated frame executed; NOT_KNOWN where not
        known, and after the end of the game.
      way: the actions that the frames of each row execute on the way that was found, for `rerun`;
        empty where the episode is not whole.
      start: index of the start, among the emulator's, from which the way begins.
    """

    rows: int
    whole: bool
    reason: str
    steps: int
    open_states: int
    only_return: bool | None
    only_reward: np.ndarray | None
    raw_return: float
    reward: np.ndarray
    final_observation: np.ndarray | None
    lives: np.ndarray
    executed: np.ndarray
    way: Sequence[tuple[int, ...]] = ()
    start: int = 0


def replay(
    emulator: Emulator,
    logged: LoggedEpisode,
    *,
    prove_unique: bool = False,
    patience: int = 20_000,
    most_states: int = 2_000,
) -> Replayed:
    """Replays an episode.

    Args:
      emulator: runs the game on the ROM that the log was recorded on.
      logged: the episode.
      prove_unique: whether to follow all ways through the game, to tell what else could have
        happened.
      patience: how many steps may be tried without reaching a new row before the episode counts as
        lost; a thousand take about half a second.
      most_states: how many states may be open at once before a proof is abandoned; on average, a
        twentieth of that.

    Raises:
      ValueError: the log does not have T rows, or has an action that the game lacks.
    """
    log = Log(logged)
    if not 0 <= min(log.actions) <= max(log.actions) < emulator.num_actions:
        raise ValueError(f"an action must be in 0..{emulator.num_actions - 1}")
    found = Search(emulator, log).run([emulator.first_start], patience)
    if not found.last and len(emulator.starts) > 1:
        found = max(found, Search(emulator, log).run(emulator.starts, patience), key=_length)
    replayed = _what_was_found(found, log)
    if not replayed.whole:
        return replayed
    replayed = dataclasses.replace(replayed, start=_start(emulator, found))
    proof = prove(emulator, log, most_states) if prove_unique else None
    if proof is not None:
        replayed = _what_was_proved(replayed, proof)
    replayed = _with_end(emulator, replayed, found.last if proof is None else proof.last)
    is_end_known = proof is not None or log.num_frames > len(log.actions)
    return replayed if is_end_known else dataclasses.replace(replayed, final_observation=None)


def rerun(
    emulator: Emulator, way: Sequence[tuple[int, ...]], start: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Plays a way from one of the emulator's starts, without restoring any other state.

    Yields:
      The RAM, [128] uint8, and the last emulated frame, [210, 160, 3] uint8 in most games, before
      each row's action and after the last.
    """
    screen = emulator.begin(start)
    yield emulator.ram(), screen
    for executed in way:
        for action in executed:
            emulator.act(action)
        yield emulator.ram(), emulator.color_screen()


def _length(found: Found) -> tuple[int, bool]:
    return -1 if found.state is None else found.state.row, bool(found.last)


def _what_was_found(found: Found, log: Log) -> Replayed:
    """What happened on the way that was found, except for the last action's outcome."""
    rows = len(log.actions)
    ways = _ways(found)
    reward = np.full(rows, np.nan, np.float32)
    lives = np.full(rows + 1, NOT_KNOWN, np.int32)
    executed = np.full((rows, FRAME_SKIP), NOT_KNOWN, np.int8)
    for way in ways[: found.state.row if found.state else 0]:
        row = way.before.row
        lives[row], executed[row], reward[row] = way.before.lives, way.executed, way.reward
    if found.state is not None:
        lives[found.state.row] = found.state.lives
    reached = 0 if found.state is None else found.state.row + 1
    return Replayed(
        rows=log.num_frames if found.last else reached,
        whole=bool(found.last),
        reason=found.objection,
        steps=found.steps,
        open_states=0 if found.state is None else 1,
        only_return=None,
        only_reward=None,
        raw_return=sum(way.reward for way in ways) if found.last else np.nan,
        reward=reward,
        final_observation=None,
        lives=lives,
        executed=executed,
        way=tuple(way.executed for way in ways) if found.last else (),
    )


def _what_was_proved(replayed: Replayed, proof: Proof) -> Replayed:
    """The result without what differs on other ways through the game."""
    lives = np.append(np.where(proof.only_lives, replayed.lives[:-1], NOT_KNOWN), NOT_KNOWN)
    return dataclasses.replace(
        replayed,
        open_states=proof.states,
        only_return=proof.only_return,
        only_reward=proof.only_reward,
        raw_return=replayed.raw_return if proof.only_return else np.nan,
        reward=np.where(proof.only_reward, replayed.reward, np.float32(np.nan)),
        lives=lives.astype(np.int32),
        executed=np.where(proof.only_executed, replayed.executed, np.int8(NOT_KNOWN)),
    )


def _with_end(emulator: Emulator, replayed: Replayed, last: list[Outcome]) -> Replayed:
    """The result with what all outcomes of the last action that agree with the log share."""
    reward, lives, executed = map(np.copy, (replayed.reward, replayed.lives, replayed.executed))
    reward[-1] = _common([outcome.way.reward for outcome in last], np.nan)
    lives[-1] = _common([outcome.lives for outcome in last], NOT_KNOWN)
    for frame in range(FRAME_SKIP):
        actions = [outcome.way.executed[frame : frame + 1] or (NOT_KNOWN,) for outcome in last]
        executed[-1, frame] = _common(actions, (NOT_KNOWN,))[0]
    observations = [step.final_observation(emulator, outcome) for outcome in last]
    is_only = all(np.array_equal(each, observations[0]) for each in observations)
    is_return_known = replayed.only_return or not np.isnan(reward[-1])
    return dataclasses.replace(
        replayed,
        raw_return=replayed.raw_return if is_return_known else np.nan,
        reward=reward,
        lives=lives,
        executed=executed,
        final_observation=observations[0][..., None] if is_only else None,
    )


def _start(emulator: Emulator, found: Found) -> int:
    """The index of the start from which the way that was found begins."""
    snapshot = _ways(found)[0].before.snapshot
    if snapshot is emulator.first_start.snapshot:
        return 0
    return [start.snapshot is snapshot for start in emulator.starts].index(True)


def _common(values: Sequence[T], otherwise: T) -> T:
    return values[0] if len(set(values)) == 1 else otherwise


def _ways(found: Found) -> list[Way]:
    """The steps of the way that was found, from the first row on."""
    ways = [outcome.way for outcome in found.last[:1]]
    state = found.state
    while state is not None and state.ways:
        ways.append(state.ways[0])
        state = state.ways[0].before
    return ways[::-1]
