"""The entry point of all exports."""

from __future__ import annotations

import os

from rl_datasets.errors import DatasetError
from rl_datasets.exporting.source import Export
from rl_datasets.published.version import ALL, VersionLike

KINDS = ("arrays", "d4rl", "minari", "parquet", "replay-logs")


def export(
    version: VersionLike,
    kind: str,
    target: str | os.PathLike[str],
    split: str = ALL,
) -> Export:
    """Exports a published version as a stream, and reads back what it wrote.

    Args:
      version: a published version, as `Version.open` takes it.
      kind: one of `KINDS`; each has a module of its name beside this one.
      target: the file or folder to create; it is created whole or not at all.
      split: name of a split, several joined by `+`, or "all" for every split in the order of the
        manifest.

    Raises:
      DatasetError: there is no such version, kind or split, the version does not fit the kind, or
        the target exists or cannot be written.
    """
    if kind == "arrays":
        from rl_datasets.exporting.arrays import to_arrays

        return to_arrays(version, target, split)
    if kind == "d4rl":
        from rl_datasets.exporting.d4rl import to_d4rl

        return to_d4rl(version, target, split)
    if kind == "minari":
        from rl_datasets.exporting.minari import to_minari

        return to_minari(version, target, split)
    if kind == "parquet":
        from rl_datasets.exporting.parquet import to_parquet

        return to_parquet(version, target, split)
    if kind == "replay-logs":
        from rl_datasets.exporting.replay_logs import to_replay_logs

        return to_replay_logs(version, target, split)
    raise DatasetError(f"there is no export {kind!r}; choose one of {', '.join(KINDS)}")
