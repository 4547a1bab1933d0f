"""A game, one emulated frame at a time, with states that can be gone back to.

This is the Atari protocol of `collection.atari` without its chance: whether a frame executes the
new action or the one before is the caller's choice. What is seen after a step is, byte for byte,
what `AtariEnvironment` sees.

Where a game is over in the fourth frame of a step, ale-py pools the third with both frames of the
step before, and Dopamine with the last of them alone. No log holds that observation; here it is
ale-py's, so that a log which was replayed and one which was collected hold the same.
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

FRAME_SKIP = 4
STICKY_PROBABILITY = 0.25
NOOP = 0  # In every minimal action set; after a reset it is "the action before".
_OBSERVATION_SIZE = (84, 84)
_SYSTEM = b"System"  # Before it in a snapshot: cycles, and the random numbers of resets.
_UNFINISHED_CYCLES = 50_000  # A frame has about 20,000; see `clone`.
_MOST_RESETS = 500


class Start(NamedTuple):
    """Of an episode.

    Attributes:
      snapshot: None where it cannot be gone back to but by `Emulator.reset`.
      screen: [210, 160] uint8 in most games, grey.
      color_screen: [210, 160, 3] uint8 in most games.
      lives: at the beginning.
    """

    snapshot: ale_py.ALEState | None
    screen: np.ndarray
    color_screen: np.ndarray
    lives: int


class Emulator:
    """One game. `act` emulates a frame; `clone` and `restore` go back to where the game stood."""

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
        # What YarsRevenge's objects look like is in no snapshot, and set anew within a step.
        self.needs_run_up = rom.stem == "yars_revenge"
        self._actions = self._game.getMinimalActionSet()
        self._screen_shape = self._game.getScreenDims()
        self.num_actions = len(self._actions)

    def reset(self) -> None:
        """To the start of an episode, as `AtariEnvironment.reset_with` comes to it."""
        self._game.loadROM(self._rom)
        self._game.reset_game()

    def begin(self, start: int = 0) -> np.ndarray:
        """To one of `starts`; gives its colour screen, which no snapshot holds."""
        if start == 0:
            self.reset()
            return self.color_screen()
        snapshot = self.starts[start].snapshot
        assert snapshot is not None
        self.restore(snapshot)
        return self.starts[start].color_screen

    def act(self, action: int) -> int:
        """Emulates one frame; gives its reward."""
        return self._game.act(self._actions[action])

    def clone(self) -> ale_py.ALEState | None:
        """Where the game stands; None where it cannot be gone back to.

        That is where the emulator gave up on a frame before the game had finished it, as in Qbert
        after a reset: ale-py 0.12.1 does not save that it has to be gone on with.
        """
        snapshot = self._game.cloneState()
        return None if _cycles(snapshot) >= _UNFINISHED_CYCLES else snapshot

    def restore(self, snapshot: ale_py.ALEState) -> None:
        while self.clone() is None:  # The emulator would go on with the frame that it gave up on.
            self._game.restoreState(snapshot)
            self._game.act(self._actions[NOOP])
        self._game.restoreState(snapshot)

    @functools.cached_property
    def first_start(self) -> Start:
        """The start that `reset` comes to."""
        self.reset()
        return Start(self.clone(), self.screen(), self.color_screen(), self.lives)

    @functools.cached_property
    def starts(self) -> list[Start]:
        """Every start of an episode that was found, the first one first.

        A game that is reset without being loaded anew finds another value in its timer, one of 75,
        which some take as the seed of all that follows. In DoubleDunk sticky actions have a part in
        the menu that it begins with.
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
        """[128] uint8."""
        return self._game.getRAM()


def fingerprint(snapshot: ale_py.ALEState) -> bytes:
    """All of a state that what follows depends on: neither the frame's number nor chance."""
    state = snapshot.serialize()
    chance = state.index(_SYSTEM) + len(_SYSTEM) + 4
    length = int.from_bytes(state[chance : chance + 4], "little")
    return state[:8] + state[16:chance] + state[chance + 4 + length :]


def _cycles(snapshot: ale_py.ALEState) -> int:
    """Of the processor, since the frame began."""
    state = snapshot.serialize()
    place = state.index(_SYSTEM) + len(_SYSTEM)
    return int.from_bytes(state[place : place + 4], "little")


def observe(screen: np.ndarray) -> np.ndarray:
    """What an agent sees of a screen, or of the maximum of two: [84, 84] uint8."""
    return cv2.resize(screen, _OBSERVATION_SIZE, interpolation=cv2.INTER_AREA)
