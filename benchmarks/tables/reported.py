"""Reported tables: what was published, as data, with its source, protocol and known defects.

The tables shipped are the files `reported/*.toml`. A table names its algorithms, and for each of
them, by statistic and dataset, what was reported:

    [algorithms."TD3+BC".last]
    halfcheetah-medium-v2 = { mean = 48.10, spread = 0.18 }   # over the protocol's seeds
    hopper-medium-v2 = 60.37                                  # one value, of one run
    walker2d-medium-v2 = [84.1, 79.9, 82.0]                   # a value for each seed

A dataset that is not called as a task of D4RL's says by which one's random and expert returns its
scores are measured, if there is one of the same body:

    [scaled_as]
    "Walker2d-v2/*" = "walker2d-medium-v2"

The datasets of a table with `games = true` are games of Atari's, or `<game>/<which of its data>`,
such as `Pong/1%`. Where a value is of many games together, the table says what it is of them, and
the columns of its algorithms have these names in the place of statistics:

    [over_games]
    median = "median over the games, in percent"
    [algorithms.REM.median]
    "1000 iterations" = 123.8
"""

from __future__ import annotations

import csv
import dataclasses
import fnmatch
import pathlib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from benchmarks.tables import atari_normalizers
from rl_datasets.errors import DatasetError
from rl_datasets.sources import atari, d4rl_tasks

FOLDER = pathlib.Path(__file__).parents[1] / "reported"

MARGIN = 0.1

# What a score is of one run's evaluations. A source that does not say which of them it reports is
# held against the last.
STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "last_10": lambda evaluations: float(np.mean(evaluations[-10:])),
    "last": lambda evaluations: float(evaluations[-1]),
    "best": lambda evaluations: float(np.max(evaluations)),
    "unstated": lambda evaluations: float(evaluations[-1]),
}


@dataclasses.dataclass(frozen=True)
class Score:
    """A score over seeds.

    Attributes:
      mean: over the seeds, or the one value there is.
      spread: population standard deviation over the seeds; None of a single value.
      per_seed: a value for each seed; empty where they are not known.
    """

    mean: float
    spread: float | None = None
    per_seed: tuple[float, ...] = ()

    @classmethod
    def over_seeds(cls, values: Iterable[float]) -> Score:
        """Mean and spread of one value a seed; one seed alone has no spread."""
        values = tuple(map(float, values))
        spread = float(np.std(values)) if len(values) > 1 else None
        return cls(float(np.mean(values)), spread, values)


@dataclasses.dataclass(frozen=True)
class ReportedRow:
    """What was reported for one algorithm on one dataset.

    Attributes:
      name: of the row, `<algorithm>/<dataset>`; the dataset alone in a table of one algorithm.
      algorithm: as the source calls it.
      dataset: as the source calls it.
      scores: by statistic (see `STATISTICS`), or by what a value is of many games; empty where no
        value is known.
    """

    name: str
    algorithm: str
    dataset: str
    scores: Mapping[str, Score]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ReportedTable:
    """A published table.

    Attributes:
      title: of the table.
      paper: where it was published.
      source: where these very numbers are from.
      license: of the source.
      metric: what a value is.
      statistic: the one by which rows are compared, of `STATISTICS` or of `over_games`.
      exact: whether the values are the authors' own numbers, as against read off a figure.
      defects: what is known to be wrong with them, or with the code that made them.
      defects_of: the same, of single algorithms.
      protocol: how they were measured; `seeds` is how many runs a value is of.
      rows: by name.
      normalized: whether values are D4RL's normalised scores (0 random, 100 expert), or those of
        games by scores that the source has, as against undiscounted returns.
      scaled_as: D4RL's task of the same body, by patterns of datasets (see the top).
      games: whether datasets are games of Atari's (see the top).
      over_games: what a value is of many games together, by the name of its column; empty where
        rows are of single datasets.
      doubtful_datasets: why their values are not believed. They are shown as printed, and left out
        of what is computed over games.
      margin: within which a measured value agrees with a reported one, as a share of what that is
        above a random policy's.
      margin_reason: why it is not `MARGIN`; "" where it is.
      spread: which spread the source gives; "" where it gives none.
      unreported: why there are rows without a value; "" where there are none.
      steps: [evaluations] gradient steps, of the curves.
      curves: by name of the row, [seeds, evaluations]; empty where none were published.
    """

    title: str
    paper: str
    source: str
    license: str
    metric: str
    statistic: str
    exact: bool
    defects: tuple[str, ...]
    protocol: dict[str, Any]
    rows: dict[str, ReportedRow]
    defects_of: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    normalized: bool = False
    scaled_as: Mapping[str, str] = dataclasses.field(default_factory=dict)
    games: bool = False
    over_games: Mapping[str, str] = dataclasses.field(default_factory=dict)
    doubtful_datasets: Mapping[str, str] = dataclasses.field(default_factory=dict)
    margin: float = MARGIN
    margin_reason: str = ""
    spread: str = ""
    unreported: str = ""
    steps: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    curves: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def scale(self, row: ReportedRow) -> tuple[float, float] | None:
        """What a random policy and an expert score, in the table's values; None if not known.

        Of a game, a random policy and the best of an online DQN, the lower one first.
        """
        if self.normalized:
            return 0.0, 100.0
        if self.games:
            return atari_normalizers.bounds("batch_rl", game_of(row.dataset))
        named = [to for of, to in self.scaled_as.items() if fnmatch.fnmatchcase(row.dataset, of)]
        task = d4rl_tasks.tasks().get(named[0] if named else row.dataset)
        return task.reference if task else None

    def of_single_games(self, rows: Mapping[str, tuple[str, str]]) -> ReportedTable:
        """A table of values over many games as its single games have it: without a value.

        Args:
          rows: algorithm and game, by the name of a row.
        """
        return dataclasses.replace(
            self,
            rows={name: ReportedRow(name, *of, {}) for name, of in rows.items()},
            statistic="best",
            games=True,
            over_games={},
            unreported="the source has values of many games together alone",
        )

    def margin_of(self, row: ReportedRow) -> float | None:
        """How far a measured value may be from a row's reported one and agree, in its values."""
        scale = self.scale(row)
        if scale is None:
            return None
        return self.margin * abs(row.scores[self.statistic].mean - scale[0])


def game_of(dataset: str) -> str:
    """The game of a dataset of a table of games: `Pong` of `Pong/1%`."""
    return dataset.partition("/")[0]


def table_names() -> list[str]:
    """Names of the tables that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def empty_table(title: str, rows: Iterable[str]) -> ReportedTable:
    """What a recipe that stands beside no table is shown beside: its rows, without values."""
    return ReportedTable(
        title=title,
        paper="",
        source="",
        license="",
        metric="",
        statistic="last_10",
        exact=True,
        defects=(),
        protocol={},
        rows={row: ReportedRow(row, "", row, {}) for row in rows},
        unreported="there is no table",
    )


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
        raise DatasetError(f"there is no table {name!r}: name one of {', '.join(table_names())}")
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        curves = fields.pop("curves", None)
        steps, curves = _read_curves(folder / curves) if curves else (np.zeros(0), {})
        algorithms = fields.pop("algorithms")
        table = ReportedTable(
            defects=tuple(fields.pop("defects")),
            defects_of={a: tuple(of.pop("defects", ())) for a, of in algorithms.items()},
            rows=_rows(algorithms, fields.pop("unreported_datasets", ())),
            steps=steps,
            curves=curves,
            **fields,
        )
        _check(table)
        return table
    except (
        DatasetError,
        tomllib.TOMLDecodeError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise DatasetError(f"reported table {path} is malformed, correct it: {error}") from error


def _rows(
    algorithms: Mapping[str, Mapping[str, Mapping[str, Any]]], unreported_datasets: Iterable[str]
) -> dict[str, ReportedRow]:
    rows = {}
    for algorithm, columns in algorithms.items():
        for dataset in dict.fromkeys(
            [d for c in columns.values() for d in c] + [*unreported_datasets]
        ):
            name = dataset if len(algorithms) == 1 else f"{algorithm}/{dataset}"
            scores = {
                statistic: _score(name, column[dataset])
                for statistic, column in columns.items()
                if dataset in column
            }
            rows[name] = ReportedRow(name, algorithm, dataset, scores)
    return rows


def _score(name: str, value: Any) -> Score:
    if isinstance(value, dict):
        return Score(float(value.pop("mean")), float(value.pop("spread")), **value)
    if isinstance(value, list):
        if len(value) < 2:
            raise ValueError(f"row {name!r} must have a value for each of two or more seeds")
        return Score.over_seeds(value)
    return Score(float(value))


def _check(table: ReportedTable) -> None:
    if not 0 < table.margin < 1 or (table.margin == MARGIN) == bool(table.margin_reason):
        raise ValueError(f"a margin is a share, and one that is not {MARGIN} has a margin_reason")
    for task in table.scaled_as.values():
        if d4rl_tasks.task(task).reference is None:
            raise ValueError(f"scaled_as names {task}, for which D4RL has no reference scores")
    datasets = {row.dataset for row in table.rows.values()}
    if unknown := table.doubtful_datasets.keys() - datasets:
        raise ValueError(f"doubtful_datasets names {sorted(unknown)}, of which there is no row")
    if table.games and (unknown := {game_of(of) for of in datasets} - atari.ATARI_GAMES.keys()):
        raise ValueError(f"there is no game {sorted(unknown)}, spell it as DQN Replay does")
    columns = table.over_games or STATISTICS
    for row in table.rows.values():
        if unknown := row.scores.keys() - columns.keys():
            raise ValueError(f"row {row.name!r} has a statistic {unknown} not of {[*columns]}")
        if table.statistic not in row.scores and not table.unreported:
            raise ValueError(f"row {row.name!r} lacks its value of {table.statistic!r}")
        for score in row.scores.values():
            if score.per_seed and len(score.per_seed) != table.protocol["seeds"]:
                raise ValueError(f"row {row.name!r} must have a value for each seed")
            if score.spread is not None and not (
                table.spread and table.protocol.get("seeds", 2) > 1
            ):
                raise ValueError("a spread needs `spread`, which one it is, and more than one seed")


def _read_curves(path: pathlib.Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A CSV file whose columns are the step, and then `<row>/<seed>` each."""
    with path.open(encoding="utf-8") as file:
        (_, *names), *lines = csv.reader(file)
    steps, *columns = np.array(lines, np.float64).T
    curves: dict[str, list[np.ndarray]] = {}
    for name, column in zip(names, columns, strict=True):
        curves.setdefault(name.rpartition("/")[0], []).append(column)
    return steps, {row: np.stack(runs) for row, runs in curves.items()}
