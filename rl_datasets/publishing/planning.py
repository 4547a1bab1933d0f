"""The plan of a publication: everything that determines the bytes of a version."""

from __future__ import annotations

import concurrent.futures
import functools
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.publishing.units import SourceChanged, SourceUnit
from rl_datasets.sources import buckets

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder


def plan(
    builder: PublishedDatasetBuilder, keep_going: bool
) -> tuple[list[SourceUnit], dict[str, Any]]:
    """The units, and everything that determines the bytes of the version, as plain data.

    The builder describes its source again after the files were hashed, so that the description
    belongs to the hashed files. The workers compare the hashes once they have read the files.
    """
    first = list(builder.source_units())
    _check_units(first)
    sources = sorted({file for unit in first for file in unit.files}, key=str)
    names = _names(sources)
    description = _description(builder, first, names)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        identity_of = functools.partial(_identity, keep_going=keep_going)
        identities = dict(zip(sources, pool.map(identity_of, sources), strict=True))
    builder.reread_source()
    units = list(builder.source_units())
    if _description(builder, units, names) != description:
        raise SourceChanged(
            f"the source of {builder.info.full_name} changed while it was being read; publish "
            "again once nothing writes to it"
        )
    plan = {
        "dataset": builder.name,
        "config": builder.builder_config_name,
        "version": str(builder.version),
        "file_format": builder.file_format,
        "spec": description["spec"],
        "units": description["units"],
        "sources": {names[source]: identities[source] for source in sources},
        "lineage": description["lineage"],
    }
    return units, json.loads(json.dumps(plan))


def _check_units(units: Sequence[SourceUnit]) -> None:
    if not units:
        raise DatasetError("the source has no units to publish; name one that has data")
    names = [unit.name for unit in units]
    for unit in units:
        if names.count(unit.name) > 1:
            raise DatasetError(f"two units of the source are named {unit.name!r}; rename one")
        if unit.num_episodes is not None and unit.num_episodes < 1:
            raise DatasetError(f"unit {unit.name!r} has no episodes; leave it out of the source")


def _description(
    builder: PublishedDatasetBuilder,
    units: Sequence[SourceUnit],
    names: Mapping[str | buckets.Object, str],
) -> dict[str, Any]:
    """The builder's description of its source."""
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
    """The sha256 of a file, or the bucket's description of an object, which is not read twice.

    It is None for what cannot be read and may be skipped.
    """
    try:
        return source.identity if isinstance(source, buckets.Object) else files.sha256_of(source)
    except OSError as error:
        if keep_going:
            return None
        raise DatasetError(
            f"source file {source} cannot be read: {error.strerror}; restore it and publish again, "
            "or publish the rest with --keep-going"
        ) from error


def _names(sources: Sequence[str | buckets.Object]) -> dict[str | buckets.Object, str]:
    """Relative names of files, so that the same source gives the same bytes wherever it is."""
    paths = [source for source in sources if isinstance(source, str)]
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths] or ["/"])
    return {
        source: os.path.relpath(source, root) if isinstance(source, str) else source.name
        for source in sources
    }
