"""A game, one emulated frame at a time, with states that can be gone back to.

This is the Atari protocol of `collection.atari` without its chance: whether a frame executes the
new action or the one before is the caller's choice. What is seen after a step is, byte for byte,
what `AtariEnvironment` sees.

Where a game is over in the fourth frame of a step, ale-py pools the third with both frames of the
step before, and Dopamine with the last of them alone. No log holds that observation; here it is
ale-py's, so that a log which was replayed and one which was collected hold the same.
"""

from __future__ import annotations

import os
import pathlib

import ale_py
import cv2
import numpy as np

from rl_datasets.errors import DatasetError

FRAME_SKIP = 4
STICKY_PROBABILITY = 0.25
NOOP = 0  # In every minimal action set; after a reset it is "the action before".
_OBSERVATION_SIZE = (84, 84)


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
        if not rom.is_file() or rom.stem not in ale_py.roms.get_all_rom_ids():
            raise DatasetError(
                f"{rom} is not the ROM of a game: give the file of one, named as ale-py names it"
            )
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._rom = rom
        self._game = ale_py.ALEInterface()
        self._game.setFloat("repeat_action_probability", 0.0)
        self.reset()
        self._actions = self._game.getMinimalActionSet()
        self._screen_shape = self._game.getScreenDims()
        self.num_actions = len(self._actions)

    def reset(self) -> None:
        """To the start of an episode, as `AtariEnvironment.reset_with` comes to it."""
        self._game.loadROM(self._rom)
        self._game.reset_game()

    def act(self, action: int) -> int:
        """Emulates one frame; gives its reward."""
        return self._game.act(self._actions[action])

    def clone(self) -> ale_py.ALEState:
        return self._game.cloneState()

    def restore(self, snapshot: ale_py.ALEState) -> None:
        self._game.restoreState(snapshot)

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


def observe(screen: np.ndarray) -> np.ndarray:
    """What an agent sees of a screen, or of the maximum of two: [84, 84] uint8."""
    return cv2.resize(screen, _OBSERVATION_SIZE, interpolation=cv2.INTER_AREA)
