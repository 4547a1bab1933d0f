"""Publishing: stage, check, gate, commit by one rename.

Everything is built in `<version>.staging` beside the version's folder, under a lock:

    1.0.0.staging/plan.json     what is being published; another plan starts anew
    1.0.0.staging/receipts/     one a unit, written after its shard
    1.0.0.staging/version/      becomes 1.0.0

So a publish that was cut goes on from the units that are whole, and readers, TFDS among them, see
the version complete or not at all. On an object store, which has no rename, MANIFEST.json would be
written last and be the mark of the commit; only local paths are published to so far.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich.console
import rich.progress
import rich.table
import tensorflow_datasets as tfds

from rl_datasets import files, staging
from rl_datasets.errors import DatasetError
from rl_datasets.published import kinds, manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing import pipeline, runners
from rl_datasets.publishing.units import Receipt, SourceChanged, SourceUnit, read_receipt
from rl_datasets.sources import buckets

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder

_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Publication:
    """The outcome of a publish.

    Attributes:
      path: folder of the version.
      manifest: content of its MANIFEST.json.
      is_new: whether this publish made it; otherwise it stood there, and was verified.
    """

    path: pathlib.Path
    manifest: Mapping[str, Any]
    is_new: bool


def publish(
    builder: PublishedDatasetBuilder,
    *,
    num_workers: int = 1,
    beam_flags: Sequence[str] = (),
    keep_going: bool = False,
) -> Publication:
    """Publishes the builder's dataset as an immutable version that any TFDS user can open.

    Args:
      builder: gives the plan: spec, units, lineage, and the folder of the version.
      num_workers: processes on this machine; 1 stays in this process.
      beam_flags: Beam's pipeline options, which may name another runner; see `runners.check`.
      keep_going: skips units whose source is bad or missing, and single records that are at fault,
        publishes the rest, and lists what is lacking and why in the manifest; otherwise the first
        of them stops everything.

    Raises:
      DatasetError: an option of Beam is refused, the source is not what it says, a file cannot be
        read or written, another process publishes this version, or the version exists with other
        content. What is published stays as it was.
      KeyboardInterrupt: Ctrl-C; units that are whole stay, and the same call goes on from them.
    """
    runners.check(num_workers, beam_flags)
    target = pathlib.Path(builder.data_dir).absolute()
    units, plan = _plan(builder, keep_going)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with staging.lock(_beside(target, "lock"), f"publishing {target}"):
            if target.exists():
                # Which a publish leaves behind that was killed after it had committed.
                shutil.rmtree(_beside(target, "staging"), ignore_errors=True)
                return _reuse(target, plan, keep_going)
            return _publish(builder, units, plan, target, num_workers, beam_flags, keep_going)
    except OSError as error:
        raise DatasetError(
            f"{target} could not be published: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}; mend that and publish again, "
            "the units that are whole are kept"
        ) from error


def _publish(
    builder: PublishedDatasetBuilder,
    units: Sequence[SourceUnit],
    plan: Mapping[str, Any],
    target: pathlib.Path,
    num_workers: int,
    beam_flags: Sequence[str],
    keep_going: bool,
) -> Publication:
    stage = _stage(target, plan)
    tasks = _tasks(builder, units, plan, stage, keep_going)
    with _progress(tasks, builder.info.full_name), _stopping(tasks[0]):
        pipeline.run(tasks, num_workers=num_workers, beam_flags=beam_flags)
    skipped = _skipped(plan, tasks)
    kept = [task for task in tasks if task.unit.name not in skipped]
    receipts, version = _receipts(kept), stage / "version"
    shards = _name_shards(builder, kept, version)
    _write_tfds_metadata(builder, kept, receipts, version)
    content = _manifest(plan, kept, receipts, shards, skipped, version)
    manifest.write(version, content)
    staging.commit(version, target)
    shutil.rmtree(stage)
    return Publication(target, content, is_new=True)


def _reuse(target: pathlib.Path, plan: Mapping[str, Any], keep_going: bool) -> Publication:
    """The version that stands there, proved whole and made from the same plan."""
    version = Version.open(target)
    of_version = version.manifest["plan"]
    differing = sorted(key for key in plan if of_version.get(key) != plan[key])
    if differing:
        raise DatasetError(
            f"{target} is published already and its {', '.join(differing)} would differ; a "
            "published version never changes: publish another by --version, or to another data_dir"
        )
    lacking = manifest.lacking(version.manifest)
    if lacking and not keep_going:
        raise DatasetError(
            f"{target} is published without {', '.join(lacking)} of this source, whose reasons "
            f"{manifest.FILE_NAME} tells; accept that with --keep-going, or mend the source and "
            "publish another version by --version"
        )
    verify(version, deep=False)
    return Publication(target, version.manifest, is_new=False)


def _check_units(units: Sequence[SourceUnit]) -> None:
    if not units:
        raise DatasetError("the source has no units, so there is nothing to publish")
    names = [unit.name for unit in units]
    for unit in units:
        if names.count(unit.name) > 1:
            raise DatasetError(f"two units of the source are named {unit.name!r}; rename one")
        if unit.num_episodes is not None and unit.num_episodes < 1:
            raise DatasetError(f"unit {unit.name!r} has no episodes; leave it out of the source")


def _plan(
    builder: PublishedDatasetBuilder, keep_going: bool
) -> tuple[list[SourceUnit], dict[str, Any]]:
    """The units, and everything that the bytes of the version follow from, as plain data.

    What the builder says of its source is asked again after the files were hashed, so that it is of
    the files that were, which the workers compare once they have read them.
    """
    first = list(builder.source_units())
    _check_units(first)
    sources = sorted({file for unit in first for file in unit.files}, key=str)
    names = _names(sources)
    said = _said(builder, first, names)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        identity_of = functools.partial(_identity, keep_going=keep_going)
        identities = dict(zip(sources, pool.map(identity_of, sources), strict=True))
    builder.look_again()
    units = list(builder.source_units())
    if _said(builder, units, names) != said:
        raise SourceChanged(
            f"the source of {builder.info.full_name} changed since it was first looked at; publish "
            "again once nothing writes to it"
        )
    plan = {
        "dataset": builder.name,
        "config": builder.builder_config_name,
        "version": str(builder.version),
        "spec": said["spec"],
        "units": said["units"],
        "sources": {names[source]: identities[source] for source in sources},
        "lineage": said["lineage"],
    }
    return units, json.loads(json.dumps(plan))


def _said(
    builder: PublishedDatasetBuilder,
    units: Sequence[SourceUnit],
    names: Mapping[str | buckets.Object, str],
) -> dict[str, Any]:
    """What a builder says of its source."""
    return {
        "spec": manifest.spec_to_json(builder.episode_spec()),
        "units": [
            {
                "name": unit.name,
                "split": unit.split,
                "episodes": unit.num_episodes,
                "transitions": unit.num_transitions,
                "files": [names.get(file, str(file)) for file in unit.files],
            }
            for unit in units
        ],
        "lineage": dict(builder.lineage()),
    }


def _identity(source: str | buckets.Object, keep_going: bool) -> str | dict[str, Any] | None:
    """The sha256 of a file, or what the bucket says of an object, which is not read twice.

    None for what cannot be read and may be skipped.
    """
    try:
        return source.identity if isinstance(source, buckets.Object) else files.sha256_of(source)
    except OSError as error:
        if keep_going:
            return None
        raise DatasetError(
            f"source file {source} cannot be read: {error.strerror}; restore it and publish again, "
            "or publish what is there with --keep-going"
        ) from error


def _names(sources: Sequence[str | buckets.Object]) -> dict[str | buckets.Object, str]:
    """Relative names of files, so that the same source gives the same bytes wherever it lies."""
    paths = [source for source in sources if isinstance(source, str)]
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths] or ["/"])
    return {
        source: os.path.relpath(source, root) if isinstance(source, str) else source.name
        for source in sources
    }


def _beside(target: pathlib.Path, suffix: str) -> pathlib.Path:
    return target.with_name(f"{target.name}.{suffix}")


def _stage(target: pathlib.Path, plan: Mapping[str, Any]) -> pathlib.Path:
    """The staging folder of this plan, with whatever an earlier publish of it left whole."""
    stage = _beside(target, "staging")
    path = stage / "plan.json"
    staged = json.dumps({"format": manifest.FORMAT, "plan": plan})
    if not path.exists() or path.read_text(encoding="utf-8") != staged:
        shutil.rmtree(stage, ignore_errors=True)
    (stage / "receipts").mkdir(parents=True, exist_ok=True)
    (stage / "version").mkdir(exist_ok=True)
    files.write(path, staged)
    return stage


def _tasks(
    builder: PublishedDatasetBuilder,
    units: Sequence[SourceUnit],
    plan: Mapping[str, Any],
    stage: pathlib.Path,
    keep_going: bool,
) -> list[pipeline.Task]:
    """A task a unit, in the units' order."""
    spec, stop = builder.episode_spec(), stage / "stop"
    stop.unlink(missing_ok=True)
    shutil.rmtree(stage / "skipped", ignore_errors=True)
    (stage / "skipped").mkdir()
    for stale in (stage / "receipts").glob("*.progress"):  # A process that was killed left it.
        stale.unlink()
    return [
        pipeline.Task(
            unit=unit,
            spec=spec,
            shard=stage / "version" / shard,
            receipt=stage / "receipts" / f"{shard}.json",
            stop=stop,
            skipped=stage / "skipped" / shard if keep_going else None,
            sources={
                file: plan["sources"][name]
                for file, name in zip(unit.files, planned["files"], strict=True)
                if isinstance(file, str)  # The copy of an object was compared as it was made.
            },
        )
        for unit, planned, shard in zip(
            units, plan["units"], _shard_names(builder, units), strict=True
        )
    ]


def _shard_names(builder: PublishedDatasetBuilder, units: Sequence[SourceUnit]) -> list[str]:
    """The file name of every unit's shard, as TFDS names the shards of a split."""
    names: dict[str, Iterator[str]] = {}
    for split, of_split in _by_split(units).items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=builder.data_dir,
            dataset_name=builder.name,
            split=split,
            filetype_suffix="tfrecord",
        )
        names[split] = iter(template.sharded_filenames(len(of_split)))
    return [next(names[unit.split]) for unit in units]


def _by_split(units: Sequence[SourceUnit]) -> dict[str, list[int]]:
    """Indices of the units of every split, splits in the order in which units name them."""
    splits: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        splits.setdefault(unit.split, []).append(index)
    return splits


@contextlib.contextmanager
def _stopping(task: pipeline.Task) -> Iterator[None]:
    """Stops the workers when the launcher gives up, and tells why they stopped."""
    try:
        yield
    except BaseException as error:
        if not task.stop.exists():
            interrupted = isinstance(error, KeyboardInterrupt)
            pipeline.stop(task, pipeline.INTERRUPTED if interrupted else str(error))
            raise
        raise _reason(task) from error
    if task.stop.exists():
        raise _reason(task)


def _reason(task: pipeline.Task) -> BaseException:
    """Why the workers stopped."""
    reason = task.stop.read_text(encoding="utf-8")
    return KeyboardInterrupt(reason) if reason == pipeline.INTERRUPTED else DatasetError(reason)


@contextlib.contextmanager
def _progress(tasks: Sequence[pipeline.Task], title: str) -> Iterator[None]:
    """Shows what is safe on the disk, as the receipts appear, and what was read beyond."""
    done = threading.Event()
    is_counted = all(task.unit.num_transitions is not None for task in tasks)

    def amount(some: Sequence[pipeline.Task]) -> int:
        return sum(task.unit.num_transitions or 0 for task in some) if is_counted else len(some)

    total = amount(tasks)
    # Where the terminal is narrow, the name is cut and not the counts.
    counts = rich.table.Column(no_wrap=True, min_width=len(f"{total}/{total}"))
    noun = "transitions" if is_counted else "source units"
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(table_column=counts),
        rich.progress.TextColumn(
            "{task.fields[unit]}", table_column=rich.table.Column(min_width=len(noun))
        ),
        rich.progress.TimeRemainingColumn(),
        console=rich.console.Console(stderr=True),
    )

    def watch() -> None:
        row = bar.add_task(title, total=total, unit=noun)
        waiting, is_last_look = tasks, False
        while not is_last_look:
            is_last_look = done.wait(_POLL_SECONDS)
            waiting = [task for task in waiting if not _is_settled(task)]
            safe, read = total - amount(waiting), sum(task.transitions_read() for task in waiting)
            if is_counted:
                bar.update(row, completed=safe + read)
            else:
                beyond = f", {read:,} transitions of the next" if read else ""
                bar.update(row, completed=safe, unit=noun + beyond)

    with bar:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _is_settled(task: pipeline.Task) -> bool:
    return task.receipt.exists() or (task.skipped is not None and task.skipped.exists())


def _skipped(plan: Mapping[str, Any], tasks: Sequence[pipeline.Task]) -> dict[str, str]:
    """Why units were skipped, by their names."""
    skipped = {}
    for task, planned in zip(tasks, plan["units"], strict=True):
        if task.skipped is not None and task.skipped.exists():
            reason = task.skipped.read_text(encoding="utf-8")
            # Relative names, so that the same source gives the same bytes wherever it lies.
            for path, name in zip(task.unit.files, planned["files"], strict=True):
                reason = reason.replace(str(path), name)
            skipped[task.unit.name] = reason
    if len(skipped) == len(tasks):
        raise DatasetError(
            f"every unit of the source is bad, so nothing was published; the first because "
            f"{skipped[tasks[0].unit.name]}"
        )
    return skipped


def _name_shards(
    builder: PublishedDatasetBuilder, kept: Sequence[pipeline.Task], version: pathlib.Path
) -> list[str]:
    """Names the shards as if there had been no other units, and removes what is none of them."""
    names = _shard_names(builder, [task.unit for task in kept])
    for task, name in zip(kept, names, strict=True):
        if task.shard.name != name:
            os.rename(task.shard, version / name)
    for path in version.iterdir():
        if path.name not in names:
            path.unlink()
    return names


def _receipts(tasks: Sequence[pipeline.Task]) -> list[Receipt]:
    """The receipt of every task. Raises `DatasetError` where the runner lost a unit."""
    receipts = []
    for task in tasks:
        receipt = read_receipt(task.receipt)
        if receipt is None:
            raise DatasetError(
                f"the runner lost unit {task.unit.name!r}, so nothing was published; "
                "publish again, the units that are whole are kept"
            )
        receipts.append(receipt)
    return receipts


def _write_tfds_metadata(
    builder: PublishedDatasetBuilder,
    tasks: Sequence[pipeline.Task],
    receipts: Sequence[Receipt],
    version: pathlib.Path,
) -> None:
    """Writes dataset_info.json and features.json, by TFDS's own classes."""
    builder.info.set_splits(
        tfds.core.splits.SplitDict(
            [
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[receipts[i].records for i in indices],
                    num_bytes=sum(receipts[i].size for i in indices),
                )
                for split, indices in _by_split([task.unit for task in tasks]).items()
            ]
        )
    )
    builder.info.write_to_directory(version)


def _manifest(
    plan: Mapping[str, Any],
    tasks: Sequence[pipeline.Task],
    receipts: Sequence[Receipt],
    shards: Sequence[str],
    skipped: Mapping[str, str],
    version: pathlib.Path,
) -> dict[str, Any]:
    kind = kinds.of(tasks[0].spec)
    splits = {
        split: kind.statistics([receipts[i].tally for i in indices])
        for split, indices in _by_split([task.unit for task in tasks]).items()
    }
    counted = {
        receipt.unit: kind.counts(receipt.tally)
        for task, receipt in zip(tasks, receipts, strict=True)
        if task.unit.num_episodes is None
    }
    copied = {name: sha256 for each in receipts for name, sha256 in each.copied.items()}
    left_out = {each.unit: list(each.left_out) for each in receipts if each.left_out}
    entries = {
        shard: {"size": receipt.size, "sha256": receipt.sha256}
        for shard, receipt in zip(shards, receipts, strict=True)
    }
    # TFDS may leave more than its two files, such as a LICENSE.
    for path in sorted(version.iterdir()):
        if path.name not in entries and path.name != manifest.FILE_NAME:
            entries[path.name] = manifest.file_entry(path)
    return manifest.make(
        plan, splits, entries, counted=counted, copied=copied, skipped=skipped, left_out=left_out
    )
