"""Moved to `rl_datasets.records`."""

from rl_datasets.records import frame, read_records

__all__ = ["frame", "read_records"]
