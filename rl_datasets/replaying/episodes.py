"""Stored episodes of an Atari game, and the same episodes with what replaying recovered.

A step keeps its action, and its observation as the PNG file that the source has. Only an episode
that was replayed whole gets new values. One that was lost on the way keeps what was stored, because
only the whole episode proves that the way that was found is right.

    reward                clipped to [-1, 1], as learners of DQN Replay expect it
    raw_reward            the game's own reward; 0 where `raw_reward_is_known` is False
    lives                 lives before the action, in the last step those at the end; -1 where not
                          known
    lives_lost            lives that the action lost; -1 where not known, and in the last step
    executed_actions      actions that the four emulated frames executed; -1 where not known, or
                          not emulated
    ram, screen           on request, when the observation was seen, on the one way that was found;
                          zeros in an episode that was not replayed

The metadata of an episode say how replaying went; `METADATA` has their names.
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
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.replaying.replay import NOT_KNOWN, LoggedEpisode, Replayed, replay, rerun
from rl_datasets.roms import RomSet
from rl_datasets.sources.atari import FRAME_SKIP, clipped

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
    # The number of stored frames that were reached, from the first on.
    "replayed_rows": dm_env.specs.Array((), np.int64),
    # Why the episode was not replayed whole; empty where it was.
    "why_not_whole": dm_env.specs.StringArray(()),
    # Whether it was replayed whole on the ROM of another set than the one that the lineage names.
    "on_other_roms": dm_env.specs.Array((), np.bool_),
    # The number of emulator states that agree with the log before the last action, or where the
    # episode was lost.
    "open_states": dm_env.specs.Array((), np.int64),
    # Whether the final observation is a real one; if not, it is what the source has in its place.
    "final_observation_is_known": dm_env.specs.Array((), np.bool_),
    # The sum of the raw rewards, or 0 where it is not known.
    RAW_RETURN: dm_env.specs.Array((), np.float32),
    RAW_RETURN_IS_KNOWN: dm_env.specs.Array((), np.bool_),
    # 1 where all ways through the game have the same raw return, 0 where one has another, and -1
    # where no proof was asked for, or there were too many ways to tell.
    "raw_return_is_only": dm_env.specs.Array((), np.int64),
}


class Stored(NamedTuple):
    """An episode as its source has it.

    Attributes:
      episode: the episode, its rewards in the rows of the actions that earned them.
      reward: [T] float32, clipped; NaN where the source does not have it.
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
      prove: whether to find out if the raw return is the only possible one.
      ram: whether to add the RAM.
      screens: whether to add full-size colour frames.
      patience: how many steps may be tried without reaching a new row before an episode counts as
        lost.
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
        """The sets whose ROM is tried; with `screens`, those with screens of the same size."""
        if not self.screens:
            return list(self.roms)
        size = _screen_shape(self.roms[self.named])
        return [rom_set for rom_set, rom in self.roms.items() if _screen_shape(rom) == size]

    def spec(self, stored: EpisodeSpec) -> EpisodeSpec:
        """The spec of replayed episodes, made from that of stored ones.

        Raises:
          DatasetError: a file is not the game's ROM.
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
        """Replays one episode after another, and yields errors as they are."""
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
            if attempt.replayed.whole:  # The next episode probably needs the same set.
                order.sort(key=lambda rom_set: rom_set != attempt.rom_set)
            yield self._with(stored, attempt, emulators[attempt.rom_set])

    def attempt(
        self, emulators: Mapping[RomSet, Emulator], order: Iterable[RomSet], stored: Stored
    ) -> Attempt:
        """Replays an episode on one ROM after another until it is replayed whole.

        Args:
          emulators: an emulator for each set.
          order: the sets in the order in which to try them, at least one.
          stored: the episode.

        Returns:
          The attempt that is whole, or the one that came furthest.

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
        """The episode with what an attempt recovered."""
        episode, given = stored.episode, _given(stored, attempt.replayed)
        raw = np.append(given.reward, np.float32(np.nan))
        reward = np.where(np.isnan(raw), episode.reward, clipped(raw))
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
        """RAM and screens, each [T + 1], on the way that was found; zeros where there is none."""
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
    """What replaying recovered of an episode of T transitions.

    Attributes:
      reward: [T] float32, raw; NaN where not known.
      lives: [T + 1] int32.
      executed: [T, 4] int8.
      final_observation: [84, 84, 1] uint8; None where it is not known, or was stored.
    """

    reward: np.ndarray
    lives: np.ndarray
    executed: np.ndarray
    final_observation: np.ndarray | None


_NOTHING_EXECUTED = np.full((1, FRAME_SKIP), NOT_KNOWN, np.int8)


def _screen_shape(rom: pathlib.Path) -> tuple[int, ...]:
    return Emulator(rom).color_screen().shape


def _logged(stored: Stored, num_actions: int) -> LoggedEpisode:
    """The part of a stored episode that the search must agree with.

    It includes the final observation where that was stored.
    """
    episode = stored.episode
    known = len(episode.one_observation) - bool(episode.is_terminal[-1])
    if not np.all((episode.action >= 0) & (episode.action < num_actions)):
        raise EpisodeError(f"the game's actions are 0 to {num_actions - 1}, and one is not of them")
    try:
        observation = np.asarray(episode.one_observation)
    except ValueError as error:
        raise EpisodeError(str(error)) from error
    return LoggedEpisode(
        observation[:known], episode.action[:-1], stored.reward, bool(episode.is_terminal[-1])
    )


def _given(stored: Stored, replayed: Replayed) -> _Given:
    if replayed.whole:
        # A stored final observation keeps its PNG file.
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
    """The lives that each step's action lost, [T + 1], from the lives at each step."""
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
