"""Refuses data that do not fit in this machine's memory, before they are loaded."""

from __future__ import annotations

import os

from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version


def check(version: Version, what: str, size: int) -> None:
    """Refuses data of a version that take more memory than there is.

    Args:
      version: the version.
      what: the data that take the memory, such as `frames`.
      size: bytes that they take.
    """
    if size > of_machine():
        raise DatasetError(
            f"the {what} of {version.location} take {size / 1e9:.0f} GB, and this machine has "
            f"{of_machine() / 1e9:.0f}: name some of its splits or a share in the row, or use the "
            "feed stream"
        )


def of_machine() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
