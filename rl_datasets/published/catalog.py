"""Lists what is published in a folder."""

from __future__ import annotations

import os
import pathlib

from rl_datasets.errors import DatasetError
from rl_datasets.published import names
from rl_datasets.published.version import Version


def list_published(
    data_dir: str | os.PathLike[str],
) -> tuple[list[Version], dict[pathlib.Path, DatasetError]]:
    """All published versions under `data_dir`, by name, and by folder why one cannot be read."""
    versions, errors = [], {}
    for folder in names.folders(data_dir):
        try:
            versions.append(Version.open(folder))
        except DatasetError as error:
            errors[folder] = error
    return sorted(versions, key=lambda version: version.name), errors
