"""Chooses the stage of a version by where it is published."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from rl_datasets.errors import DatasetError
from rl_datasets.publishing import folder_stage, store_stage
from rl_datasets.publishing.stage import Stage
from rl_datasets.stores.store import Store, is_address, open_store


def of(target: str, plan: Mapping[str, Any]) -> Stage:
    """The stage of a version.

    Args:
      target: the folder of the version, or its address.
      plan: the plan of the publication.
    """
    if is_address(target):
        store, number = _place(target)
        return store_stage.StoreStage(store, number, plan)
    return folder_stage.FolderStage(pathlib.Path(target), plan)


def staged_plan(target: str) -> dict[str, Any]:
    """The plan of a publication that was begun.

    Raises:
      DatasetError: none was.
    """
    if is_address(target):
        staged = store_stage.staged_plan(*_place(target))
    else:
        staged = folder_stage.staged_plan(pathlib.Path(target))
    if staged is None:
        raise DatasetError(f"nothing is staged for {target}: publish it from its source")
    return json.loads(staged)["plan"]


def _place(target: str) -> tuple[Store, str]:
    url, _, number = target.rpartition("/")
    return open_store(url), number
