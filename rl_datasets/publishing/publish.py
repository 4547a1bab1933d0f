"""Publishing: plan, stage, check and commit.

`planning` says what to publish, a `stage` keeps the units that are whole, `pipeline` writes the
units, and `assembly` makes a version of them. So an interrupted publication continues from the
whole units, and readers such as TFDS see either the complete version or nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing import assembly, pipeline, planning, progress, runners, stages
from rl_datasets.publishing.stage import Stage
from rl_datasets.publishing.tasks import make_tasks

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder


@dataclasses.dataclass(frozen=True)
class Publication:
    """The result of publishing.

    Attributes:
      target: folder of the version, or its address.
      manifest: content of its MANIFEST.json.
      is_new: whether the version is new; if not, it existed and was verified.
    """

    target: str
    manifest: Mapping[str, Any]
    is_new: bool

    @property
    def path(self) -> pathlib.Path:
        """The folder of the version, which must be on this machine."""
        return files.local_path(self.target)


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
    units, plan = planning.plan(builder, keep_going)
    stage = stages.of(builder.target, plan)
    with _explaining(builder.target), stage.claimed():
        if stage.is_published():
            stage.clear()  # A process that was killed after its commit leaves the stage.
            return _reuse(builder.target, plan, keep_going)
        try:
            stage.start()
            tasks = make_tasks(builder, units, plan, stage, keep_going)
            with progress.shown(tasks, builder.info.full_name), pipeline.stopping(stage):
                pipeline.run(tasks, num_workers=num_workers, beam_flags=beam_flags)
            return _commit(builder, plan, stage)
        except (DatasetError, OSError):
            if not stage.is_published():
                raise
            stage.clear()  # Another launcher of this plan was faster, and cleared it already.
            return _reuse(builder.target, plan, keep_going)


def finish(builder_of: type[PublishedDatasetBuilder], **kwargs: Any) -> Publication:
    """Completes a publication whose workers are done and whose launcher died.

    Neither the source nor a runner is needed.

    Args:
      builder_of: the builder's class.
      **kwargs: `config`, `data_dir` and `version`, as for the builder.

    Raises:
      DatasetError: nothing is staged for this version, a unit is missing, or a file cannot be read
        or written.
    """
    builder = builder_of(**kwargs, staged=True)
    plan = stages.staged_plan(builder.target)
    stage = stages.of(builder.target, plan)
    with _explaining(builder.target), stage.claimed():
        return _commit(builder, plan, stage)


def _commit(builder: PublishedDatasetBuilder, plan: Mapping[str, Any], stage: Stage) -> Publication:
    found = assembly.outcome(plan, stage)
    with stage.version(found.shards) as folder:
        assembly.write_tfds_metadata(builder, plan, found, folder)
        content = assembly.make_manifest(plan, found, folder)
        manifest.write(folder, content)
    return Publication(builder.target, content, is_new=True)


@contextlib.contextmanager
def _explaining(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"{target} could not be published: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}; fix that and publish again, "
            "which keeps the whole units"
        ) from error


def _reuse(target: str, plan: Mapping[str, Any], keep_going: bool) -> Publication:
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
