"""Logged Atari episodes replayed in the emulator: `replay.replay`."""
