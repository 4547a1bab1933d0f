"""Stored episodes of an Atari game -> the same episodes with what replaying them gave back.

A step keeps its observation, as the PNG file that the source has, and its action. What is new is
said of an episode that was replayed whole, and of no other: an episode that was lost on the way
keeps what was stored, because only the whole of it proves the way that was taken through it.

    reward                clipped to [-1, 1], as learners of DQN Replay expect it
    raw_reward            the game's own; 0 where `raw_reward_is_known` does not hold
    lives                 before the action, and at the last step at the end; -1 where not known
    lives_lost            by the action; -1 where not known, and at the last step
    executed_actions      by each of the four emulated frames; -1 where not known, or not emulated
    ram, screen           on request, beside the observation, on the one way that was found; zeros
                          in an episode that is not replayed

The metadata of an episode say how it went; `METADATA` has their names.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import dm_env.specs
import numpy as np

from rl_datasets import frames
from rl_datasets.episode import (
    RAW_RETURN,
    RAW_RETURN_IS_KNOWN,
    Episode,
    EpisodeError,
    EpisodeSpec,
)
from rl_datasets.replaying.emulator import FRAME_SKIP, Emulator
from rl_datasets.replaying.replay import NOT_KNOWN, LoggedEpisode, Replayed, replay, rerun
from rl_datasets.roms import RomSet

RAM_SIZE = 128

EXTRAS: Mapping[str, dm_env.specs.Array] = {
    "raw_reward": dm_env.specs.Array((), np.float32),
    "raw_reward_is_known": dm_env.specs.Array((), np.bool_),
    "lives": dm_env.specs.Array((), np.int32),
    "lives_lost": dm_env.specs.Array((), np.int32),
    "executed_actions": dm_env.specs.Array((FRAME_SKIP,), np.int8),
}
METADATA: Mapping[str, dm_env.specs.Array] = {
    # Whether every stored frame was reached, and the game ended as the log says.
    "replayed_whole": dm_env.specs.Array((), np.bool_),
    # Whether some stored frames were reached, and no more.
    "replayed_in_part": dm_env.specs.Array((), np.bool_),
    # How many stored frames were reached, from the first on.
    "replayed_rows": dm_env.specs.Array((), np.int64),
    # Why the episode is not replayed whole; empty where it is.
    "why_not_whole": dm_env.specs.StringArray(()),
    # Whether it is replayed whole on the ROM of another set than the one that the lineage names.
    "on_other_roms": dm_env.specs.Array((), np.bool_),
    # States of the emulator that agree with the log before the last action, or where it was lost.
    "open_states": dm_env.specs.Array((), np.int64),
    # Whether the final observation is a real one; else it is what the source has in its place.
    "final_observation_is_known": dm_env.specs.Array((), np.bool_),
    # The sum of the raw rewards, or 0 where it is not known.
    RAW_RETURN: dm_env.specs.Array((), np.float32),
    RAW_RETURN_IS_KNOWN: dm_env.specs.Array((), np.bool_),
    # Whether no other way through the game has another raw return: 1, 0, or -1 where that was not
    # asked for, or there were too many ways to tell.
    "raw_return_is_only": dm_env.specs.Array((), np.int64),
}


class Stored(NamedTuple):
    """An episode as its source has it.

    Attributes:
      episode: its rewards stand with the actions that earned them.
      reward: [T] float32, clipped; NaN where the source does not hold it.
    """

    episode: Episode
    reward: np.ndarray


class Attempt(NamedTuple):
    """An episode replayed on the ROM of one set."""

    rom_set: RomSet
    replayed: Replayed


@dataclasses.dataclass(frozen=True)
class Replayer:
    """Replays the episodes of a game.

    Attributes:
      roms: the game's ROM in each set that may be tried, the one that the lineage names first.
      prove: whether to tell if the raw return is the only possible one.
      ram: whether to give the RAM.
      screens: whether to give full-size colour frames.
      patience: steps that may be tried without coming further, before an episode counts as lost.
    """

    roms: Mapping[RomSet, pathlib.Path]
    prove: bool = False
    ram: bool = False
    screens: bool = False
    patience: int = 20_000

    @property
    def named(self) -> RomSet:
        """The set that the lineage names."""
        return next(iter(self.roms))

    @property
    def tried(self) -> list[RomSet]:
        """The sets whose ROM is tried: a dataset's screens are all of one size."""
        if not self.screens:
            return list(self.roms)
        size = _screen_shape(self.roms[self.named])
        return [rom_set for rom_set, rom in self.roms.items() if _screen_shape(rom) == size]

    def spec(self, stored: EpisodeSpec) -> EpisodeSpec:
        """What the spec of stored episodes becomes.

        Raises:
          DatasetError: a ROM is none.
        """
        extras = {**stored.extras, **EXTRAS}
        if self.ram:
            extras["ram"] = dm_env.specs.Array((RAM_SIZE,), np.uint8)
        if self.screens:
            extras["screen"] = dm_env.specs.Array(_screen_shape(self.roms[self.named]), np.uint8)
        return dataclasses.replace(
            stored,
            extras=extras,
            metadata={**stored.metadata, **METADATA},
        )

    def replay_all(
        self, episodes: Iterable[Stored | EpisodeError]
    ) -> Iterator[Episode | EpisodeError]:
        """Replays one episode after another; what is no episode is handed on."""
        emulators = {rom_set: Emulator(self.roms[rom_set]) for rom_set in self.tried}
        order = list(emulators)
        for stored in episodes:
            if isinstance(stored, EpisodeError):
                yield stored
                continue
            try:
                attempt = self.attempt(emulators, order, stored)
            except EpisodeError as error:
                yield error
                continue
            if attempt.replayed.whole:  # The next one is probably of the same set.
                order.sort(key=lambda rom_set: rom_set != attempt.rom_set)
            yield self._with(stored, attempt, emulators[attempt.rom_set])

    def attempt(
        self, emulators: Mapping[RomSet, Emulator], order: Iterable[RomSet], stored: Stored
    ) -> Attempt:
        """On the first ROM where the episode is replayed whole, or the one where it came furthest.

        Args:
          emulators: by set.
          order: in which sets are tried, one at least.
          stored: the episode.

        Raises:
          EpisodeError: a frame cannot be decoded, or the game lacks an action.
        """
        logged, best = _logged(stored, emulators[self.named].num_actions), None
        for rom_set in order:
            replayed = replay(
                emulators[rom_set], logged, prove_unique=self.prove, patience=self.patience
            )
            attempt = Attempt(rom_set, replayed)
            if replayed.whole:
                return attempt
            if best is None or replayed.rows > best.replayed.rows:
                best = attempt
        assert best is not None
        return best

    def _with(self, stored: Stored, attempt: Attempt, emulator: Emulator) -> Episode:
        """The episode with what an attempt gave back."""
        episode, given = stored.episode, _given(stored, attempt.replayed)
        raw = np.append(given.reward, np.float32(np.nan))
        reward = np.where(np.isnan(raw), episode.reward, np.clip(raw, -1, 1))
        extras = {
            **episode.extras,
            "raw_reward": np.nan_to_num(raw),
            "raw_reward_is_known": ~np.isnan(raw),
            "lives": given.lives,
            "lives_lost": _lives_lost(given.lives),
            "executed_actions": np.append(given.executed, _NOTHING_EXECUTED, axis=0),
        }
        if self.ram or self.screens:
            extras |= self._memory(emulator, attempt.replayed, episode.num_transitions + 1)
        return dataclasses.replace(
            episode,
            observation=_with_final(episode.one_observation, given.final_observation),
            reward=reward,
            extras=extras,
            metadata={
                **episode.metadata,
                "episode_return": np.float32(np.sum(reward, dtype=np.float64)),
                **_metadata(stored, attempt.replayed, given),
                "on_other_roms": np.bool_(attempt.replayed.whole and attempt.rom_set != self.named),
            },
        )

    def _memory(
        self, emulator: Emulator, replayed: Replayed, steps: int
    ) -> dict[str, np.ndarray | frames.EncodedFrames]:
        """RAM and screens, each [T + 1], of the way that was found; zeros where there is none."""
        rams = np.zeros((steps, RAM_SIZE), np.uint8)
        height, width, channels = shape = emulator.color_screen().shape
        pngs = frames.encode_png(np.zeros((1, *shape), np.uint8)) * steps
        for step, (ram, screen) in enumerate(
            rerun(emulator, replayed.way, replayed.start) if replayed.whole else ()
        ):
            rams[step] = ram
            if self.screens:
                pngs[step] = frames.encode_png(screen[None])[0]
        given: dict[str, np.ndarray | frames.EncodedFrames] = {"ram": rams} if self.ram else {}
        if self.screens:
            given["screen"] = frames.EncodedFrames(pngs, (height, width, channels))
        return given


class _Given(NamedTuple):
    """What of an episode of T transitions replaying it gave back.

    Attributes:
      reward: [T] float32, raw; NaN where not known.
      lives: [T + 1] int32.
      executed: [T, 4] int8.
      final_observation: [84, 84, 1] uint8; None where not known, or stored.
    """

    reward: np.ndarray
    lives: np.ndarray
    executed: np.ndarray
    final_observation: np.ndarray | None


_NOTHING_EXECUTED = np.full((1, FRAME_SKIP), NOT_KNOWN, np.int8)


def _screen_shape(rom: pathlib.Path) -> tuple[int, ...]:
    return Emulator(rom).color_screen().shape


def _logged(stored: Stored, num_actions: int) -> LoggedEpisode:
    """What a search is to agree with: the final observation too, where that is a stored one."""
    episode = stored.episode
    known = len(episode.one_observation) - bool(episode.is_terminal[-1])
    if not np.all((episode.action >= 0) & (episode.action < num_actions)):
        raise EpisodeError(f"the game's actions are 0 to {num_actions - 1}, and it has another")
    try:
        observation = np.asarray(episode.one_observation)
    except ValueError as error:
        raise EpisodeError(str(error)) from error
    return LoggedEpisode(
        observation[:known], episode.action[:-1], stored.reward, bool(episode.is_terminal[-1])
    )


def _given(stored: Stored, replayed: Replayed) -> _Given:
    if replayed.whole:
        # One that is stored stays the file that it is.
        final = replayed.final_observation if stored.episode.is_terminal[-1] else None
        return _Given(replayed.reward, replayed.lives, replayed.executed, final)
    transitions = stored.episode.num_transitions
    return _Given(
        np.full(transitions, np.nan, np.float32),
        np.full(transitions + 1, NOT_KNOWN, np.int32),
        np.repeat(_NOTHING_EXECUTED, transitions, axis=0),
        None,
    )


def _metadata(stored: Stored, replayed: Replayed, given: _Given) -> dict[str, Any]:
    is_known = not math.isnan(replayed.raw_return)
    is_only = NOT_KNOWN if replayed.only_return is None else int(replayed.only_return)
    is_final_known = not stored.episode.is_terminal[-1] or given.final_observation is not None
    return {
        "replayed_whole": np.bool_(replayed.whole),
        "replayed_in_part": np.bool_(not replayed.whole and replayed.rows > 0),
        "replayed_rows": np.int64(replayed.rows),
        "why_not_whole": replayed.reason,
        "open_states": np.int64(replayed.open_states),
        "final_observation_is_known": np.bool_(is_final_known),
        RAW_RETURN: np.float32(replayed.raw_return if is_known else 0),
        RAW_RETURN_IS_KNOWN: np.bool_(is_known),
        "raw_return_is_only": np.int64(is_only),
    }


def _lives_lost(lives: np.ndarray) -> np.ndarray:
    """By the action of each step, [T + 1], of the lives at each."""
    before, after = lives[:-1], lives[1:]
    is_known = (before != NOT_KNOWN) & (after != NOT_KNOWN)
    lost = np.where(is_known, np.maximum(before - after, 0), NOT_KNOWN)
    return np.append(lost, NOT_KNOWN).astype(np.int32)


def _with_final(
    observation: np.ndarray | frames.EncodedFrames, final: np.ndarray | None
) -> np.ndarray | frames.EncodedFrames:
    if final is None:
        return observation
    if isinstance(observation, frames.EncodedFrames):
        pngs = [*observation.pngs[:-1], *frames.encode_png(final[None])]
        return frames.EncodedFrames(pngs, observation.shape[1:])
    return np.concatenate([observation[:-1], final[None]])
