"""The stage of a version in a folder: a folder beside it, and one rename in the end.

`<version>.staging/` holds `plan.json`, the shards in `version/`, the receipts, and the reasons why
units were skipped. An interrupted publication continues from the whole units, and readers such as
TFDS see either the complete version or nothing. All workers must see the same file system.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rl_datasets import files, staging
from rl_datasets.published import manifest
from rl_datasets.publishing.stage import Stage, Task
from rl_datasets.publishing.units import Receipt, read_receipt, write_unit

_PLAN, _PROGRESS = "plan.json", ".progress"


@dataclasses.dataclass(frozen=True)
class FolderStage(Stage):
    """The stage of a version in a folder.

    Attributes:
      target: the folder of the version.
      plan: the plan, as in the manifest.
    """

    target: pathlib.Path
    plan: Mapping[str, Any]
    look_seconds: float = 0.2

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with staging.lock(
            self.target.with_name(f"{self.target.name}.lock"), f"publishing {self.target}"
        ):
            yield

    def is_published(self) -> bool:
        return self.target.exists()

    def start(self) -> None:
        path = _folder(self.target) / _PLAN
        staged = json.dumps({"format": manifest.FORMAT, "plan": self.plan})
        if not path.exists() or path.read_text(encoding="utf-8") != staged:
            self.clear()
        for folder in (self._receipts, self._version, self._skipped):
            folder.mkdir(parents=True, exist_ok=True)
        files.write(path, staged)
        self._stop.unlink(missing_ok=True)
        for stale in (*self._skipped.iterdir(), *self._receipts.glob(f"*{_PROGRESS}")):
            stale.unlink()  # A killed process left it.

    @contextlib.contextmanager
    def version(self, shards: Mapping[str, str]) -> Iterator[pathlib.Path]:
        for staged, final in shards.items():
            if (self._version / staged).exists():  # Otherwise a killed process renamed it.
                os.rename(self._version / staged, self._version / final)
        for path in self._version.iterdir():
            if path.name not in shards.values():
                path.unlink()
        yield self._version
        staging.commit(self._version, self.target)
        self.clear()

    def clear(self) -> None:
        shutil.rmtree(_folder(self.target), ignore_errors=True)

    def write(self, task: Task, check: Callable[[], None], report: Callable[[int], None]) -> None:
        write_unit(
            task.unit,
            task.spec,
            self._version / task.shard,
            self._receipts / f"{task.shard}.json",
            check,
            report,
            keep_going=task.keep_going,
            sources=task.sources,
            file_format=task.file_format,
        )

    def report(self, shard: str, transitions: int | None) -> None:
        path = self._receipts / f"{shard}{_PROGRESS}"
        if transitions is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(str(transitions), encoding="utf-8")

    def skip(self, shard: str, reason: str) -> None:
        _leave(self._skipped / shard, reason)

    def stop(self, reason: str) -> None:
        if not self._stop.exists():
            _leave(self._stop, reason)

    def stop_reason(self) -> str | None:
        return _read(self._stop)

    def receipt(self, shard: str) -> Receipt | None:
        return read_receipt(self._receipts / f"{shard}.json")

    def why_skipped(self, shard: str) -> str | None:
        return _read(self._skipped / shard)

    def settled(self) -> set[str]:
        written = {path.name.removesuffix(".json") for path in self._receipts.glob("*.json")}
        return written | {path.name for path in self._skipped.iterdir()}

    def transitions_read(self, shard: str) -> int:
        try:
            return int(_read(self._receipts / f"{shard}{_PROGRESS}") or 0)
        except ValueError:  # The file is half-written at this moment.
            return 0

    @property
    def _version(self) -> pathlib.Path:
        return _folder(self.target) / "version"

    @property
    def _receipts(self) -> pathlib.Path:
        return _folder(self.target) / "receipts"

    @property
    def _skipped(self) -> pathlib.Path:
        return _folder(self.target) / "skipped"

    @property
    def _stop(self) -> pathlib.Path:
        return _folder(self.target) / "stop"


def staged_plan(target: pathlib.Path) -> str | None:
    """The plan that is staged for the version in this folder; None if none is."""
    return _read(_folder(target) / _PLAN)


def _folder(target: pathlib.Path) -> pathlib.Path:
    return target.with_name(f"{target.name}.staging")


def _leave(path: pathlib.Path, text: str) -> None:
    with files.replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _read(path: pathlib.Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
