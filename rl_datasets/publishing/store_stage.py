"""The stage of a version in a store, whose workers need to share nothing else.

    <version>.staging/claim.json                  the plan; whoever creates it first, publishes
    <version>.staging/<hash of the plan>/         shards, receipts, and reasons of skipped units
    <version>/                                    the version

Nothing is ever changed, so it does not matter that two workers attempt the same unit, or two
launchers the same plan. The commit copies the shards to the version, creates MANIFEST.json, by
which readers of this project see it, and last dataset_info.json, by which TFDS does. If a launcher
dies at any moment, another one does the rest, from the receipts alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.publishing.stage import Stage, Task
from rl_datasets.publishing.units import Receipt, parse_receipt, write_unit
from rl_datasets.stores.store import Conflict, Store

INFO = "dataset_info.json"
_SHARDS, _RECEIPTS, _SKIPPED = "version/", "receipts/", "skipped/"


@dataclasses.dataclass(frozen=True)
class StoreStage(Stage):
    """The stage of a version in a store.

    Attributes:
      store: the store of the version's configuration.
      number: the number of the version, such as 1.0.0.
      plan: the plan, as in the manifest.
      launch: names the launcher, whose workers alone stop with it.
    """

    store: Store
    number: str
    plan: Mapping[str, Any]
    look_seconds: float = 5.0
    launch: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        if not self.is_published():
            try:
                self.store.write(_claim(self.number), self._content)
            except Conflict as error:
                raise DatasetError(
                    f"{self.store.at(self.number)} is being published from another plan: wait for "
                    "that, complete it with `rl-datasets publish --finish`, or delete "
                    f"{self.store.at(_folder(self.number))} if nobody publishes it any more"
                ) from error
        try:
            yield
        finally:
            self.store.delete(self._stop)

    def is_published(self) -> bool:
        return self.store.stat(f"{self.number}/{INFO}") is not None

    def start(self) -> None:
        """There is nothing to prepare: a whole unit counts even if it was skipped before."""

    @contextlib.contextmanager
    def version(self, shards: Mapping[str, str]) -> Iterator[pathlib.Path]:
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            yield folder
            self._commit(shards, folder)
        self.clear()

    def clear(self) -> None:
        for name in self.store.names(f"{_folder(self.number)}/"):
            self.store.delete(name)

    def write(self, task: Task, check: Callable[[], None], report: Callable[[int], None]) -> None:
        if self._is_whole(task):
            return
        with tempfile.TemporaryDirectory() as scratch:
            shard = pathlib.Path(scratch, task.shard)
            receipt = shard.with_name(f"{task.shard}.json")
            write_unit(
                task.unit,
                task.spec,
                shard,
                receipt,
                check,
                report,
                keep_going=task.keep_going,
                sources=task.sources,
                file_format=task.file_format,
            )
            self.store.create(self._at(_SHARDS + task.shard), shard)
            self.store.create(self._at(_RECEIPTS + task.shard), receipt)

    def report(self, shard: str, transitions: int | None) -> None:
        """A store is not told of single transitions."""

    def skip(self, shard: str, reason: str) -> None:
        with contextlib.suppress(Conflict):
            self.store.write(self._at(_SKIPPED + shard), reason)

    def stop(self, reason: str) -> None:
        with contextlib.suppress(Conflict):
            self.store.write(self._stop, reason)

    def stop_reason(self) -> str | None:
        return self._text(self._stop)

    def receipt(self, shard: str) -> Receipt | None:
        text = self._text(self._at(_RECEIPTS + shard))
        return None if text is None else parse_receipt(text)

    def why_skipped(self, shard: str) -> str | None:
        return self._text(self._at(_SKIPPED + shard))

    def settled(self) -> set[str]:
        return {
            name.removeprefix(self._at(kind))
            for kind in (_RECEIPTS, _SKIPPED)
            for name in self.store.names(self._at(kind))
        }

    def transitions_read(self, shard: str) -> int:
        return 0

    @property
    def _content(self) -> str:
        """The content of the claim."""
        return json.dumps({"format": manifest.FORMAT, "plan": self.plan})

    @property
    def _stop(self) -> str:
        return self._at(f"stop-{self.launch}")

    def _at(self, name: str) -> str:
        digest = hashlib.sha256(self._content.encode()).hexdigest()
        return f"{_folder(self.number)}/{digest[:16]}/{name}"

    def _text(self, name: str) -> str | None:
        try:
            return self.store.read(name).decode()
        except FileNotFoundError:
            return None

    def _is_whole(self, task: Task) -> bool:
        holds = self.receipt(task.shard)
        if holds is None or (holds.left_out and not task.keep_going):
            return False
        stat = self.store.stat(self._at(_SHARDS + task.shard))
        return stat is not None and stat.size == holds.size

    def _commit(self, shards: Mapping[str, str], folder: pathlib.Path) -> None:
        """Copies the shards, and creates the other files; what exists already stays."""
        try:
            for staged, final in shards.items():
                self.store.copy(self._at(_SHARDS + staged), f"{self.number}/{final}")
        except FileNotFoundError:
            # Another launcher of this plan was faster, and has already cleared the stage.
            if not self.is_published():
                raise
        for staged, final in shards.items():
            self._check(staged, final)
        last = (manifest.FILE_NAME, INFO)
        others = {path.name for path in folder.iterdir()}.difference(last)
        for name in (*sorted(others), *last):
            self.store.create(f"{self.number}/{name}", folder / name)

    def _check(self, staged: str, final: str) -> None:
        """Checks that a copy has the size, and where the store has one the checksum, of a shard."""
        copied = self.store.stat(f"{self.number}/{final}")
        wanted = self.store.stat(self._at(_SHARDS + staged))
        if copied is None or (wanted is not None and copied != wanted):
            raise DatasetError(
                f"{self.store.at(f'{self.number}/{final}')} is not what the workers wrote: delete "
                "it, and publish again"
            )


def staged_plan(store: Store, number: str) -> str | None:
    """The claim of whoever publishes this version; None if nobody does."""
    try:
        return store.read(_claim(number)).decode()
    except FileNotFoundError:
        return None


def _folder(number: str) -> str:
    return f"{number}.staging"


def _claim(number: str) -> str:
    return f"{_folder(number)}/claim.json"
