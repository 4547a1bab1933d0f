"""Lists what is published in a folder, or in a store."""

from __future__ import annotations

import os

from rl_datasets.errors import DatasetError
from rl_datasets.published import names
from rl_datasets.published.version import Version


def list_published(
    data_dir: str | os.PathLike[str],
) -> tuple[list[Version], dict[str, DatasetError]]:
    """All published versions under `data_dir`, by name, and by location why one cannot be read."""
    versions, errors = [], {}
    for place in names.places(data_dir):
        try:
            versions.append(Version.open(place.location))
        except DatasetError as error:
            errors[place.location] = error
    return sorted(versions, key=lambda version: version.name), errors
