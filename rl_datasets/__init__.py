"""Logged reinforcement-learning data as versioned datasets with proof of their contents.

`load` opens a published version:

    version = rl_datasets.load("brac/halfcheetah-pure-recollected")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rl_datasets._version import __version__
from rl_datasets.files import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from rl_datasets.published.version import Version

__all__ = ["__version__", "load"]


def load(
    version: str | os.PathLike[str], data_dir: str | os.PathLike[str] = DEFAULT_DATA_DIR
) -> Version:
    """Opens a published version.

    Args:
      version: `builder/config:1.0.0`; without the number, the newest; or the folder of a version.
      data_dir: the folder of published datasets.

    Raises:
      DatasetError: there is no such version, or its manifest is damaged.
    """
    from rl_datasets.published.version import Version

    return Version.open(version, data_dir)
