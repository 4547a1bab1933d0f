"""Transitions as rows of bytes, so that copying a transition is one copy of memory."""

from __future__ import annotations

import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.serving.transitions import Transition

EXTRAS = "extras/"


def row_dtype(transitions: Transition) -> np.dtype:
    """The structured dtype of one transition as one row of bytes."""
    return np.dtype(
        [(name, field.dtype, field.shape[1:]) for name, field in _fields(transitions).items()]
    )


def pack(transitions: Transition) -> np.ndarray:
    """Transition of [N, ...] arrays -> [N] rows of `row_dtype`; no copy if `unpack` made them."""
    rows = transitions.reward.base
    if isinstance(rows, np.ndarray) and _are_views(transitions, rows):
        return rows
    rows = np.empty(len(transitions.reward), row_dtype(transitions))
    pack_into(rows, transitions)
    return rows


def pack_into(rows: np.ndarray, transitions: Transition) -> None:
    """Writes Transition of [N, ...] arrays into [N] rows.

    Raises:
      DatasetError: the transitions' fields, shapes or dtypes are not those of the rows.
    """
    if row_dtype(transitions) != rows.dtype:
        raise DatasetError(
            f"every episode must have the same fields: {rows.dtype} and {row_dtype(transitions)}"
        )
    for name, field in _fields(transitions).items():
        rows[name] = field


def unpack(rows: np.ndarray) -> Transition:
    """Rows [...] -> Transition of [..., ...] views, none of them copied."""
    fields = {name: rows[name] for name in rows.dtype.names or ()}
    extras = {name: fields.pop(name) for name in list(fields) if name.startswith(EXTRAS)}
    return Transition(
        **fields, extras={name.removeprefix(EXTRAS): field for name, field in extras.items()}
    )


def _are_views(transitions: Transition, rows: np.ndarray) -> bool:
    return rows.dtype == row_dtype(transitions) and all(
        field.__array_interface__ == rows[name].__array_interface__
        for name, field in _fields(transitions).items()
    )


def _fields(transitions: Transition) -> dict[str, np.ndarray]:
    *core, extras = transitions
    named = dict(zip(Transition._fields[:-1], core, strict=True))
    return named | {EXTRAS + name: extras[name] for name in sorted(extras)}
