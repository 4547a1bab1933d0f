"""Finds a builder by the name of its datasets: one of ours, or one of an installed package.

A package registers a builder as an entry point of the group `rl_datasets.builders`. In its
`pyproject.toml`:

    [project.entry-points."rl_datasets.builders"]
    my_robot = "my_package.my_robot_dataset_builder:Builder"

The name is that of the datasets, `my_robot/...`, and the class a `PublishedDatasetBuilder`.
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from rl_datasets.errors import DatasetError

if TYPE_CHECKING:
    from rl_datasets.publishing.builder import PublishedDatasetBuilder

GROUP = "rl_datasets.builders"


def builder_class(name: str) -> type[PublishedDatasetBuilder]:
    """The class of the builder with this name.

    Raises:
      DatasetError: there is no such builder or more than one, it cannot be imported, or it is not a
        builder of datasets with this name.
    """
    from rl_datasets.publishing.builder import PublishedDatasetBuilder

    points = _entry_points()
    # Of a package that is found twice, both entry points are the same.
    found = {point.value: point for point in points if point.name == name}
    if not found:
        known = sorted({point.name for point in points})
        raise DatasetError(f"there is no builder {name!r}: choose one of {', '.join(known)}")
    if len(found) > 1:
        raise DatasetError(
            f"there are several builders {name!r}, {' and '.join(found)}: uninstall the packages "
            "of all but one"
        )
    (point,) = found.values()
    try:
        builder = point.load()
    except Exception as error:  # A package's own code can raise anything.
        raise DatasetError(
            f"the builder {name!r}, {point.value}, cannot be imported ({error!r}): repair its "
            "package, or install what it needs"
        ) from error
    is_builder = isinstance(builder, type) and issubclass(builder, PublishedDatasetBuilder)
    if not is_builder or builder.name != name:
        what = f"of datasets named {builder.name!r}" if is_builder else "no PublishedDatasetBuilder"
        raise DatasetError(
            f"the builder {name!r}, {point.value}, is {what}: correct the entry point of its "
            "package"
        )
    return builder


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """Those of this project's builders, and those that packages have registered."""
    import builders

    classes = [getattr(builders, each) for each in builders.__all__]
    ours = [
        importlib.metadata.EntryPoint(each.name, f"{each.__module__}:{each.__name__}", GROUP)
        for each in classes
    ]
    return [*ours, *importlib.metadata.entry_points(group=GROUP)]
