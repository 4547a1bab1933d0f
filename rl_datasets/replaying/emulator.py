"""A game that is emulated frame by frame, and whose states can be restored.

This is the Atari protocol of `collection.atari` without chance: the caller chooses whether a frame
executes the new action or the previous one. The observation after a step is byte for byte the one
that `AtariEnvironment` gives.

Where a game is over in the fourth frame of a step, ale-py pools the third frame with both frames of
the step before, and Dopamine with the last of them alone. No log holds that observation. Here it is
ale-py's, so that a replayed log and a collected one hold the same.
"""

from __future__ import annotations

import functools
import os
import pathlib
from typing import NamedTuple

import ale_py
import cv2
import numpy as np

from rl_datasets import roms
from rl_datasets.sources.atari import STICKY_PROBABILITY

NOOP = 0  # In every minimal action set; after a reset it is the previous action.
_OBSERVATION_SIZE = (84, 84)
_SYSTEM = b"System"  # In a snapshot, the cycles and the random numbers of resets come after it.
_UNFINISHED_CYCLES = 50_000  # A frame has about 20,000; see `clone`.
_MOST_RESETS = 500


class Start(NamedTuple):
    """The start of an episode.

    Attributes:
      snapshot: the emulator's snapshot; None where only `Emulator.reset` leads back to the start.
      screen: [210, 160] uint8 in most games, grey.
      color_screen: [210, 160, 3] uint8 in most games.
      lives: number of lives at the start.
    """

    snapshot: ale_py.ALEState | None
    screen: np.ndarray
    color_screen: np.ndarray
    lives: int


class Emulator:
    """One game. `act` emulates a frame; `clone` saves the state, and `restore` restores it."""

    def __init__(self, rom: str | os.PathLike[str]):
        """Loads a game.

        Args:
          rom: file of the game's ROM, under ALE's name of the game, such as `ms_pacman.bin`.

        Raises:
          DatasetError: there is no such file, or ALE has no game of its name.
        """
        rom = pathlib.Path(rom)
        roms.check_is_game(rom)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._rom = rom
        self._game = ale_py.ALEInterface()
        self._game.setFloat("repeat_action_probability", 0.0)
        self.reset()
        # No snapshot holds the look of YarsRevenge's objects, which the game sets in each step.
        self.needs_run_up = rom.stem == "yars_revenge"
        self._actions = self._game.getMinimalActionSet()
        self._screen_shape = self._game.getScreenDims()
        self.num_actions = len(self._actions)

    def reset(self) -> None:
        """Starts an episode as `AtariEnvironment.reset_with` does."""
        self._game.loadROM(self._rom)
        self._game.reset_game()

    def begin(self, start: int = 0) -> np.ndarray:
        """Begins at one of `starts`; returns its colour screen, which no snapshot holds."""
        if start == 0:
            self.reset()
            return self.color_screen()
        snapshot = self.starts[start].snapshot
        assert snapshot is not None
        self.restore(snapshot)
        return self.starts[start].color_screen

    def act(self, action: int) -> int:
        """Emulates one frame and returns its reward."""
        return self._game.act(self._actions[action])

    def clone(self) -> ale_py.ALEState | None:
        """A snapshot of the game's state; None where the state cannot be restored.

        It cannot where the emulator gave up on a frame before the game had finished it, as in Qbert
        after a reset: ale-py 0.12.1 does not save that the frame must be continued.
        """
        snapshot = self._game.cloneState()
        return None if _cycles(snapshot) >= _UNFINISHED_CYCLES else snapshot

    def restore(self, snapshot: ale_py.ALEState) -> None:
        while self.clone() is None:  # The emulator would continue the frame that it gave up on.
            self._game.restoreState(snapshot)
            self._game.act(self._actions[NOOP])
        self._game.restoreState(snapshot)

    @functools.cached_property
    def first_start(self) -> Start:
        """The start that `reset` leads to."""
        self.reset()
        return Start(self.clone(), self.screen(), self.color_screen(), self.lives)

    @functools.cached_property
    def starts(self) -> list[Start]:
        """All starts of an episode that were found, `first_start` first.

        A game that is reset without being loaded again finds another value in its timer, one of 75,
        which some games use as the seed of all that follows. In DoubleDunk, sticky actions affect
        the menu with which it begins.
        """
        starts = [self.first_start]
        known = {fingerprint(each.snapshot) for each in starts if each.snapshot is not None}
        game = ale_py.ALEInterface()
        game.setFloat("repeat_action_probability", STICKY_PROBABILITY)
        game.setInt("random_seed", 0)
        game.loadROM(self._rom)
        without_news = 0
        for _ in range(_MOST_RESETS):
            game.reset_game()
            snapshot = game.cloneState()
            without_news += 1
            if fingerprint(snapshot) not in known and _cycles(snapshot) < _UNFINISHED_CYCLES:
                known.add(fingerprint(snapshot))
                screens = game.getScreenGrayscale(), game.getScreenRGB()
                starts.append(Start(snapshot, *screens, game.lives()))
                without_news = 0
            if without_news == max(10, 2 * len(starts)):
                break
        return starts

    @property
    def is_over(self) -> bool:
        return self._game.game_over()

    @property
    def lives(self) -> int:
        return self._game.lives()

    def screen(self) -> np.ndarray:
        """The last frame in ALE's grey: [210, 160] uint8 in most games."""
        screen = np.empty(self._screen_shape, np.uint8)
        self._game.getScreenGrayscale(screen)
        return screen

    def color_screen(self) -> np.ndarray:
        """The last frame: [210, 160, 3] uint8 in most games."""
        return self._game.getScreenRGB()

    def ram(self) -> np.ndarray:
        """The console's RAM, [128] uint8."""
        return self._game.getRAM()


def fingerprint(snapshot: ale_py.ALEState) -> bytes:
    """The part of a state on which the future depends: without frame number and random numbers."""
    state = snapshot.serialize()
    chance = state.index(_SYSTEM) + len(_SYSTEM) + 4
    length = int.from_bytes(state[chance : chance + 4], "little")
    return state[:8] + state[16:chance] + state[chance + 4 + length :]


def _cycles(snapshot: ale_py.ALEState) -> int:
    """The processor's cycles since the frame began."""
    state = snapshot.serialize()
    place = state.index(_SYSTEM) + len(_SYSTEM)
    return int.from_bytes(state[place : place + 4], "little")


def observe(screen: np.ndarray) -> np.ndarray:
    """The agent's observation, [84, 84] uint8, of a screen or of the maximum of two."""
    return cv2.resize(screen, _OBSERVATION_SIZE, interpolation=cv2.INTER_AREA)
