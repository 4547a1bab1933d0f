"""Rows that differ from others in a few options."""

from typing import Any

from benchmarks.training.row import Row


def changed(row: Row, **options: Any) -> Row:
    """The row with other values of some options."""
    return Row.of(**{**row.options, **options})
