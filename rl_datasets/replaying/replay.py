"""A logged Atari episode, replayed in today's emulator, and with it what the log has lost.

    emulator = Emulator(roms.rom_path("Asterix", RomSet.LEGACY))
    replayed = replay(emulator, LoggedEpisode(observations, actions, rewards, is_terminal))

An episode is replayed whole where a way through the game was found that shows every logged frame,
gives every logged clipped reward, and ends where the log says so. What is said of it is that way's:
with `prove_unique` it is told whether another way gives other rewards. The last action's outcome is
seen in no logged frame, so its reward, lives and observation are given only where all outcomes that
agree with the log are the same.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import FRAME_SKIP, Emulator, observe
from rl_datasets.replaying.search import Found, LoggedEpisode, Search
from rl_datasets.replaying.step import Outcome, State

__all__ = ["NOT_KNOWN", "Emulator", "LoggedEpisode", "Replayed", "replay"]

NOT_KNOWN = -1


@dataclasses.dataclass(frozen=True)
class Replayed:
    """What replaying an episode of T rows gave.

    Attributes:
      rows: how many logged frames were reached, from the first on.
      whole: whether all were, and the last action's outcome agrees with the log.
      reason: why it is not whole; empty where it is.
      open_states: of the emulator, that agree with the log before the last action; all that there
        are where it was proved, else those that the search followed there.
      only_return: whether no other way through the game has another raw return; None where that was
        not asked for, or there were too many ways to tell.
      only_reward: [T], the same of each row's reward; None as above.
      reward: [T] float32, the game's own; NaN where not known, or shown not to be the only one.
      final_observation: [84, 84, 1] uint8, after the last action; None where not known.
      lives: [T + 1] int32, before each action and after the last; NOT_KNOWN where not known.
      executed: [T, 4] int8, the action that each emulated frame executed; NOT_KNOWN where not known
        or, after the end of the game, not emulated.
      ram: [T + 1, 128] uint8, before each action and after the last, or None; the last is zeros
        where `final_observation` is not known.
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
    work: int | None = None,
    states: int = 2_000,
) -> Replayed:
    """Replays an episode.

    Args:
      emulator: of the game, on the ROM that the log is of.
      logged: the episode.
      prove_unique: follow all ways through the game, to tell whether the rewards are the only ones.
      ram: give the RAM, of an episode that is replayed whole.
      frames: give full-size colour frames, of an episode that is replayed whole.
      work: from how many states a step may be tried, before an episode counts as lost, and again
        before uniqueness counts as not known; None for 50,000 and 20 for each row.
      states: that may be open at once in a proof.

    Raises:
      ValueError: the log is not of T rows, or has an action that the game lacks.
    """
    _check(emulator, logged)
    rows = len(logged.actions)
    work = 50_000 + 20 * rows if work is None else work
    search = Search(emulator, logged, work)
    found = search.likeliest()
    last = found.last
    replayed = Replayed(
        rows=found.states[0].row + 1 if found.states else 0,
        whole=bool(last),
        reason="" if last else search.why_lost(found.states),
        open_states=len(found.states),
        only_return=None,
        only_reward=None,
        reward=np.full(rows, np.nan, np.float32),
        final_observation=None,
        lives=np.full(rows + 1, NOT_KNOWN, np.int32),
        executed=np.full((rows, FRAME_SKIP), NOT_KNOWN, np.int8),
    )
    if found.states:
        _follow(found.states[0], replayed)
    if not last:
        return replayed
    if prove_unique and (proof := Search(emulator, logged, work).all(states)) is not None:
        last = proof.last
        replayed = _with_proof(replayed, proof)
    replayed = _with_end(replayed, last)
    if ram or frames:
        replayed = _with_memory(emulator, logged, replayed, last[0], ram, frames)
    return replayed


def _check(emulator: Emulator, logged: LoggedEpisode) -> None:
    rows = len(logged.actions)
    shape = logged.observations.shape
    if not rows or len(logged.rewards) != rows or shape[:3] != (rows, 84, 84):
        raise ValueError(
            f"an episode needs as many frames of 84x84 as actions and rewards, at least one; got "
            f"{shape}, {rows} and {len(logged.rewards)}"
        )
    if not 0 <= np.min(logged.actions) <= np.max(logged.actions) < emulator.num_actions:
        raise ValueError(f"an action must be in 0..{emulator.num_actions - 1}")


def _follow(state: State, replayed: Replayed) -> None:
    """Fills in what the likeliest way to a state says."""
    replayed.lives[state.row] = state.lives
    while state.ways:
        before, executed, reward = state.ways[0]
        replayed.reward[before.row] = reward
        replayed.executed[before.row] = executed
        replayed.lives[before.row] = before.lives
        state = before


def _with_end(replayed: Replayed, last: list[Outcome]) -> Replayed:
    """With the last action's outcome, as far as all that agree with the log are the same."""
    observations = [observe(outcome.pooled) for outcome in last]
    if len({outcome.way.reward for outcome in last}) == 1:
        replayed.reward[-1] = last[0].way.reward
    if len({outcome.lives for outcome in last}) == 1:
        replayed.lives[-1] = last[0].lives
    if len({outcome.way.executed for outcome in last}) == 1:
        executed = last[0].way.executed
        replayed.executed[-1, : len(executed)] = executed
    if all(np.array_equal(each, observations[0]) for each in observations):
        return dataclasses.replace(replayed, final_observation=observations[0][..., None])
    return replayed


def _with_proof(replayed: Replayed, proof: Found) -> Replayed:
    """With what all ways through the game have in common.

    Goes from the end to the start, over the ways that lead to the end, and no others.
    """
    rows = len(replayed.reward)
    only_reward = np.empty(rows, bool)
    ways = [outcome.way for outcome in proof.last]
    to_go: dict[int, tuple[float, float]] = {}  # The least and the greatest return, by state.
    after = [(0.0, 0.0)] * len(ways)
    for row in reversed(range(rows)):
        only_reward[row] = len({way.reward for way in ways}) == 1
        states = {id(way.before): way.before for way in ways}
        to_go = {}
        for way, (least, greatest) in zip(ways, after, strict=True):
            known = to_go.get(id(way.before), (np.inf, -np.inf))
            to_go[id(way.before)] = (
                min(known[0], least + way.reward),
                max(known[1], greatest + way.reward),
            )
        ways = [way for state in states.values() for way in state.ways]
        after = [to_go[key] for key, state in states.items() for _ in state.ways]
    returns = {each for bounds in to_go.values() for each in bounds}
    replayed.reward[~only_reward] = np.nan
    return dataclasses.replace(
        replayed,
        open_states=len(proof.states),
        only_return=len(returns) == 1,
        only_reward=only_reward,
    )


def _with_memory(
    emulator: Emulator,
    logged: LoggedEpisode,
    replayed: Replayed,
    last: Outcome,
    ram: bool,
    frames: bool,
) -> Replayed:
    """With the RAM and the frames, of one run from the start that nothing is restored in."""
    rows = len(replayed.reward)
    step.start(emulator)
    memory, screens = [], []
    for row in range(rows + 1):
        is_known = row < rows or replayed.final_observation is not None
        memory.append(emulator.ram() if is_known else np.zeros(128, np.uint8))
        if frames:
            screens.append(emulator.color_screen() * np.uint8(is_known))
        if row < rows:
            for action in replayed.executed[row] if row < rows - 1 else last.way.executed:
                emulator.act(action)
    return dataclasses.replace(
        replayed,
        ram=np.stack(memory) if ram else None,
        frames=np.stack(screens) if frames else None,
    )
