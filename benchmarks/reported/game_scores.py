"""Scores of Atari games by which others are normalised.

`normalizers/atari.toml` has their sources.
"""

from __future__ import annotations

import functools
import pathlib
import tomllib

FILE = pathlib.Path(__file__).parent / "normalizers" / "atari.toml"


@functools.cache
def columns() -> dict[str, dict[str, float]]:
    """All reference scores, by column and game."""
    fields = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {name: column["games"] for name, column in fields.items()}
