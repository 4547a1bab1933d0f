"""Reported tables: what was published, as data, with its source, protocol and known defects.

The tables shipped are the files `reported/*.toml`.
"""

from __future__ import annotations

import csv
import dataclasses
import pathlib
import tomllib
from typing import Any

import numpy as np

from rl_datasets.errors import DatasetError

FOLDER = pathlib.Path(__file__).parent / "reported"


@dataclasses.dataclass(frozen=True)
class ReportedRow:
    """What was reported for one dataset.

    Attributes:
      name: of the row.
      last_10: a value for each seed, the mean of its last ten evaluations.
      final: a value for each seed, its last evaluation.
    """

    name: str
    last_10: tuple[float, ...]
    final: tuple[float, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ReportedTable:
    """A published table.

    Attributes:
      title: of the table.
      paper: where it was published.
      source: where these very numbers are from.
      license: of the source.
      metric: what a value is.
      exact: whether the values are the authors' own numbers, as against read off a figure.
      defects: what is known to be wrong with them, or with the code that made them.
      protocol: how they were measured.
      rows: by name.
      steps: [evaluations] gradient steps, of the curves.
      curves: by name of the row, [seeds, evaluations]; empty where none were published.
    """

    title: str
    paper: str
    source: str
    license: str
    metric: str
    exact: bool
    defects: tuple[str, ...]
    protocol: dict[str, Any]
    rows: dict[str, ReportedRow]
    steps: np.ndarray
    curves: dict[str, np.ndarray]


def table_names() -> list[str]:
    """Names of the tables that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_table(name: str, folder: pathlib.Path | None = None) -> ReportedTable:
    """Reads `reported/<name>.toml`, and the curves beside it where it names them.

    Args:
      name: of the table.
      folder: where to look instead.

    Raises:
      DatasetError: there is no such table, or it is malformed.
    """
    folder = folder or FOLDER
    path = folder / f"{name}.toml"
    if not path.is_file():
        raise DatasetError(f"unknown table {name!r}, choose one of: {', '.join(table_names())}")
    try:
        fields = tomllib.loads(path.read_text())
        curves = fields.pop("curves", None)
        steps, curves = _read_curves(folder / curves) if curves else (np.zeros(0), {})
        rows = [_row(**row) for row in fields.pop("rows")]
        defects = tuple(fields.pop("defects"))
        return ReportedTable(
            rows={row.name: row for row in rows},
            defects=defects,
            steps=steps,
            curves=curves,
            **fields,
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"reported table {path} is malformed, correct it: {error}") from error


def _row(name: str, last_10: list[float], final: list[float]) -> ReportedRow:
    if not last_10 or len(last_10) != len(final):
        raise ValueError(f"row {name!r} must have one value a seed in last_10 and in final")
    return ReportedRow(name, tuple(map(float, last_10)), tuple(map(float, final)))


def _read_curves(path: pathlib.Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A CSV file whose columns are the step, and then `<row>/<seed>` each."""
    with path.open() as file:
        (_, *names), *lines = csv.reader(file)
    steps, *columns = np.array(lines, np.float64).T
    curves: dict[str, list[np.ndarray]] = {}
    for name, column in zip(names, columns, strict=True):
        curves.setdefault(name.rpartition("/")[0], []).append(column)
    return steps, {row: np.stack(runs) for row, runs in curves.items()}
