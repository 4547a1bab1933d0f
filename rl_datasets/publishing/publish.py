"""Publishing: stage, check, and commit by one rename.

`planning` says what to publish, `staging_folder` keeps the units that are whole, `pipeline` writes
the units, and `assembly` makes a version of them. So an interrupted publication continues from the
whole units, and readers such as TFDS see either the complete version or nothing. An object store
has no rename, so MANIFEST.json would be written last to mark the commit; so far, only local paths
can be published to.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rl_datasets import staging
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing import assembly, pipeline, planning, progress, runners, staging_folder
from rl_datasets.publishing.units import SourceUnit

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder


@dataclasses.dataclass(frozen=True)
class Publication:
    """The result of publishing.

    Attributes:
      path: folder of the version.
      manifest: content of its MANIFEST.json.
      is_new: whether the version is new; if not, it existed and was verified.
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
      builder: provides the spec, the units, the lineage, and the folder of the version.
      num_workers: number of processes on this machine; 1 stays in this process.
      beam_flags: Beam's pipeline options, which may name another runner; see `runners.check`.
      keep_going: whether to skip units whose source is bad or missing and single faulty records,
        publish the rest, and list what is missing and why in the manifest; otherwise the first of
        them stops everything.

    Raises:
      DatasetError: an option of Beam is refused, the source is not what it says, a file cannot be
        read or written, another process is publishing this version, or the version exists with
        other content. What is published does not change.
      KeyboardInterrupt: Ctrl-C; whole units stay, and the same call continues from them.
    """
    runners.check(num_workers, beam_flags)
    target = pathlib.Path(builder.data_dir).absolute()
    units, plan = planning.plan(builder, keep_going)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with staging.lock(staging_folder.lock_file(target), f"publishing {target}"):
            if target.exists():
                # A process that was killed after its commit leaves this folder.
                shutil.rmtree(staging_folder.folder_of(target), ignore_errors=True)
                return _reuse(target, plan, keep_going)
            return _publish(builder, units, plan, target, num_workers, beam_flags, keep_going)
    except OSError as error:
        raise DatasetError(
            f"{target} could not be published: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}; fix that and publish again, "
            "which keeps the whole units"
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
    folder = staging_folder.open_stage(target, plan)
    tasks = staging_folder.make_tasks(builder, units, plan, folder, keep_going)
    with progress.shown(tasks, builder.info.full_name), pipeline.stopping(tasks[0]):
        pipeline.run(tasks, num_workers=num_workers, beam_flags=beam_flags)
    skipped = assembly.why_skipped(plan, tasks)
    kept = [task for task in tasks if task.unit.name not in skipped]
    receipts, version = assembly.read_receipts(kept), folder / "version"
    shards = assembly.name_shards(builder, kept, version)
    assembly.write_tfds_metadata(builder, kept, receipts, version)
    content = assembly.make_manifest(plan, kept, receipts, shards, skipped, version)
    manifest.write(version, content)
    staging.commit(version, target)
    shutil.rmtree(folder)
    return Publication(target, content, is_new=True)


def _reuse(target: pathlib.Path, plan: Mapping[str, Any], keep_going: bool) -> Publication:
    """The version that exists, if it is whole and was made from the same plan."""
    version = Version.open(target)
    of_version = version.manifest["plan"]
    of_version = {**of_version, "file_format": manifest.file_format(of_version)}
    differing = sorted(key for key in plan if of_version.get(key) != plan[key])
    if differing:
        raise DatasetError(
            f"{target} is already published and its {', '.join(differing)} would differ; a "
            "published version never changes: give another --version or another data_dir"
        )
    lacking = manifest.lacking(version.manifest)
    if lacking and not keep_going:
        raise DatasetError(
            f"{target} is published without {', '.join(lacking)} of this source, for reasons that "
            f"{manifest.FILE_NAME} gives; accept that with --keep-going, or repair the source and "
            "publish it under another --version"
        )
    verify(version, deep=False)
    return Publication(target, version.manifest, is_new=False)
