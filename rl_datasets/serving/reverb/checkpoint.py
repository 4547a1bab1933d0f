"""Reverb's own checkpoint of a filled server, so that the next one need not be filled."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence

from rl_datasets._version import __version__
from rl_datasets.errors import DatasetError
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.part import Part
from rl_datasets.serving.reverb.connection import ANSWER_SECONDS, wait_until_full
from rl_datasets.serving.reverb.schema import Schema


def folder_of(
    checkpoints: pathlib.Path,
    fingerprint: str,
    splits: Sequence[str],
    cut: Cut,
    seed: int,
    part: Part,
) -> pathlib.Path:
    """The folder of the checkpoint of what is served, which need not exist.

    Its name follows from everything that decides what a server holds, this package's version too.
    So no server starts from the checkpoint of another dataset, split, cut, seed or part.
    """
    held = [fingerprint, splits, dataclasses.asdict(cut), seed, str(part), __version__]
    return checkpoints / f"reverb-{hashlib.sha256(json.dumps(held).encode()).hexdigest()[:16]}"


def schema_of(
    address: str,
    folder: pathlib.Path,
    fingerprint: str,
    splits: Sequence[str],
    cut: Cut,
    part: Part,
) -> Schema:
    """The schema of a server that started from a checkpoint.

    Raises:
      DatasetError: the checkpoint is not whole, or holds something else.
    """
    schema = wait_until_full(address, ANSWER_SECONDS)
    held = (schema.fingerprint, schema.splits, schema.cut, schema.part)
    if held != (fingerprint, tuple(splits), cut, part):
        raise DatasetError(f"{folder} holds the checkpoint of something else: {_ANEW}")
    return schema


def damaged(folder: pathlib.Path, error: RuntimeError) -> DatasetError:
    """The error of a checkpoint that Reverb cannot read."""
    return DatasetError(f"the checkpoint {folder} cannot be read ({error}): {_ANEW}")


_ANEW = "delete that folder, and `rl-datasets serve` makes it again"
