"""Publishing: stage, check, gate, commit by one rename.

`planning` says what is to be published, `staging_folder` keeps what is whole of it, `pipeline` has
the units written, and `assembly` makes the version of them. So a publish that was cut goes on from
the units that are whole, and readers, TFDS among them, see the version complete or not at all. On
an object store, which has no rename, MANIFEST.json would be written last and be the mark of the
commit; only local paths are published to so far.
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
    units, plan = planning.plan(builder, keep_going)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with staging.lock(staging_folder.lock_file(target), f"publishing {target}"):
            if target.exists():
                # A publish that was killed after it had committed leaves this folder.
                shutil.rmtree(staging_folder.folder_of(target), ignore_errors=True)
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
