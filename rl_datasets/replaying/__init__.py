"""Replays logged Atari episodes in the emulator, starting from `replay.replay`."""
