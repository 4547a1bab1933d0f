"""A reported table of Atari games as blocks of text: a line a game, a column an algorithm."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from benchmarks.tables.reported import ReportedRow, ReportedTable, Score

MILLION = 1e6
TITLES = {  # of blocks, by statistic
    "last_10": "reported, mean of the last 10 evaluations",
    "last": "reported, last evaluation",
    "best": "reported, best evaluation",
    "unstated": "reported, of which evaluations is not said",
}


@dataclasses.dataclass(frozen=True)
class Block:
    """Cells under a heading.

    Attributes:
      title: what the cells are.
      header: of the columns, the first of which names the lines.
      lines: of as many cells each.
    """

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]


def reported_blocks(table: ReportedTable) -> list[Block]:
    """A block for each statistic of a table. The longer of data and algorithms goes down."""
    rows = list(table.rows.values())
    algorithms = list(dict.fromkeys(row.algorithm for row in rows))
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    columns = dict.fromkeys(itertools.chain.from_iterable(row.scores for row in rows))
    blocks = []
    for column in columns:
        cells = {
            (row.algorithm, row.dataset): _cell(table, row, row.scores[column])
            for row in rows
            if column in row.scores
        }
        title = table.over_games.get(column) or TITLES[column]
        if len(datasets) >= len(algorithms):
            lines = [[d, *(cells.get((a, d), "") for a in algorithms)] for d in datasets]
            blocks.append(Block(title, ["game" if table.games else "", *algorithms], lines))
        else:
            lines = [[a, *(cells.get((a, d), "") for d in datasets)] for a in algorithms]
            blocks.append(Block(title, ["algorithm", *datasets], lines))
    return blocks


def _cell(table: ReportedTable, row: ReportedRow, score: Score) -> str:
    """A score with the digits that were printed, and a question mark if it is not believed."""
    return game_score(score) + ("?" if row.dataset in table.doubtful_datasets else "")


def game_score(score: Score) -> str:
    """Mean±spread, with as many digits as they have; in millions, M, from one million on."""
    in_millions = abs(score.mean) >= MILLION
    parts = [score.mean] if score.spread is None else [score.mean, score.spread]
    return "±".join(f"{part / MILLION:.6g}M" if in_millions else f"{part:.8g}" for part in parts)
