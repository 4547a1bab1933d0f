"""A logged Atari episode, replayed in today's emulator, and with it what the log has lost.

    emulator = Emulator(roms.rom_path("Asterix", RomSet.LEGACY))
    replayed = replay(emulator, LoggedEpisode(observations, actions, rewards, is_terminal))

An episode is replayed whole where a way through the game was found that shows every logged frame,
earns every logged clipped reward, and ends where the log says so. What is said of the episode is
what happened on that way. With `prove_unique` all ways are followed, and what they do not have in
common is not given. The outcome of the last action is seen in no logged frame, so its reward, its
lives and its observation are given only where all outcomes that agree with the log are the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import FRAME_SKIP, Emulator, observe
from rl_datasets.replaying.log import Log, LoggedEpisode
from rl_datasets.replaying.proof import Proof, prove
from rl_datasets.replaying.search import Found, Search
from rl_datasets.replaying.step import Outcome, Way

__all__ = ["NOT_KNOWN", "Emulator", "LoggedEpisode", "Replayed", "replay"]

NOT_KNOWN = -1


@dataclasses.dataclass(frozen=True)
class Replayed:
    """What replaying an episode of T rows gave.

    Attributes:
      rows: how many logged frames were reached, from the first on.
      whole: whether all were, and an outcome of the last action agrees with the log.
      reason: why it is not whole; empty where it is.
      open_states: of the game, that agree with the log before the last action: all that there are
        where it was proved, else the one that was found.
      only_return: whether all ways through the game have the same raw return; None where that was
        not asked for, or there were too many ways to tell.
      only_reward: [T], the same of each row's raw reward; None as above.
      reward: [T] float32, the game's own; NaN where not known.
      final_observation: [84, 84, 1] uint8, after the last action; None where not known.
      lives: [T + 1] int32, before each action and after the last; NOT_KNOWN where not known.
      executed: [T, 4] int8, the action that each emulated frame executed; NOT_KNOWN where not
        known, and after the end of the game.
      ram: [T + 1, 128] uint8, before each action and after the last, or None; the last is zeros
        where the final observation is not known.
      frames: [T + 1, 210, 160, 3] uint8, the last emulated frame, at the same places, or None.
    """

    rows: int
    whole: bool
    reason: str
    open_states: int
    only_return: bool | None
    only_reward: np.ndarray | None
    reward: np.ndarray
    final_observation: np.ndarray | None
    lives: np.ndarray
    executed: np.ndarray
    ram: np.ndarray | None = None
    frames: np.ndarray | None = None


def replay(
    emulator: Emulator,
    logged: LoggedEpisode,
    *,
    prove_unique: bool = False,
    ram: bool = False,
    frames: bool = False,
    patience: int = 20_000,
    most_states: int = 2_000,
) -> Replayed:
    """Replays an episode.

    Args:
      emulator: of the game, on the ROM that the log is of.
      logged: the episode.
      prove_unique: follow all ways through the game, to tell what else could have happened.
      ram: give the RAM, of an episode that is replayed whole.
      frames: give full-size colour frames, of an episode that is replayed whole.
      patience: how many steps may be tried without coming a row further, before the episode counts
        as lost; a thousand take about half a second.
      most_states: that may be open at once before a proof is given up.

    Raises:
      ValueError: the log is not of T rows, or has an action that the game lacks.
    """
    log = Log(logged)
    if not 0 <= min(log.actions) <= max(log.actions) < emulator.num_actions:
        raise ValueError(f"an action must be in 0..{emulator.num_actions - 1}")
    found = Search(emulator, log).run(patience)
    replayed = _what_was_found(found, rows=len(log.actions))
    if not replayed.whole:
        return replayed
    proof = prove(emulator, log, most_states) if prove_unique else None
    if proof is not None:
        replayed = _what_was_proved(replayed, proof)
    replayed = _with_end(replayed, found.last if proof is None else proof.last)
    if ram or frames:
        replayed = _with_memory(emulator, found, replayed, ram, frames)
    return replayed


def _what_was_found(found: Found, rows: int) -> Replayed:
    """What happened on the way that was found, but for the last action's outcome."""
    reward = np.full(rows, np.nan, np.float32)
    lives = np.full(rows + 1, NOT_KNOWN, np.int32)
    executed = np.full((rows, FRAME_SKIP), NOT_KNOWN, np.int8)
    for way in _ways(found)[: found.state.row if found.state else 0]:
        row = way.before.row
        lives[row], executed[row], reward[row] = way.before.lives, way.executed, way.reward
    if found.state is not None:
        lives[found.state.row] = found.state.lives
    return Replayed(
        rows=0 if found.state is None else found.state.row + 1,
        whole=bool(found.last),
        reason=found.objection,
        open_states=0 if found.state is None else 1,
        only_return=None,
        only_reward=None,
        reward=reward,
        final_observation=None,
        lives=lives,
        executed=executed,
    )


def _what_was_proved(replayed: Replayed, proof: Proof) -> Replayed:
    """Without what other ways through the game have otherwise."""
    lives = np.append(np.where(proof.only_lives, replayed.lives[:-1], NOT_KNOWN), NOT_KNOWN)
    return dataclasses.replace(
        replayed,
        open_states=proof.states,
        only_return=proof.only_return,
        only_reward=proof.only_reward,
        reward=np.where(proof.only_reward, replayed.reward, np.float32(np.nan)),
        lives=lives.astype(np.int32),
        executed=np.where(proof.only_executed, replayed.executed, np.int8(NOT_KNOWN)),
    )


def _with_end(replayed: Replayed, last: list[Outcome]) -> Replayed:
    """With what all outcomes of the last action have in common that agree with the log."""
    reward, lives, executed = map(np.copy, (replayed.reward, replayed.lives, replayed.executed))
    reward[-1] = _common([outcome.way.reward for outcome in last], np.nan)
    lives[-1] = _common([outcome.lives for outcome in last], NOT_KNOWN)
    for frame in range(FRAME_SKIP):
        actions = [outcome.way.executed[frame : frame + 1] or (NOT_KNOWN,) for outcome in last]
        executed[-1, frame] = _common(actions, (NOT_KNOWN,))[0]
    observations = [observe(outcome.pooled) for outcome in last]
    is_only = all(np.array_equal(each, observations[0]) for each in observations)
    return dataclasses.replace(
        replayed,
        reward=reward,
        lives=lives,
        executed=executed,
        final_observation=observations[0][..., None] if is_only else None,
    )


def _common(values: Sequence, otherwise):
    return values[0] if len(set(values)) == 1 else otherwise


def _with_memory(
    emulator: Emulator, found: Found, replayed: Replayed, ram: bool, frames: bool
) -> Replayed:
    """With RAM and frames, of a run from the start in which no state is restored."""
    memory, screens = [], []
    step.start(emulator)
    for way in [*_ways(found), None]:
        is_known = way is not None or replayed.final_observation is not None
        memory.append(emulator.ram() * np.uint8(is_known))
        if frames:
            screens.append(emulator.color_screen() * np.uint8(is_known))
        for action in way.executed if way is not None else ():
            emulator.act(action)
    return dataclasses.replace(
        replayed,
        ram=np.stack(memory) if ram else None,
        frames=np.stack(screens) if frames else None,
    )


def _ways(found: Found) -> list[Way]:
    """The steps of the way that was found, from the first row on."""
    ways = [outcome.way for outcome in found.last[:1]]
    state = found.state
    while state is not None and state.ways:
        ways.append(state.ways[0])
        state = state.ways[0].before
    return ways[::-1]
