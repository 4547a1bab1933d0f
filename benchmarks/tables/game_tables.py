"""Turns a reported table of Atari games into blocks of text: values as printed, and aggregates.

Aggregates over games are computed from the reported means, so they have no intervals. An algorithm
has them only if its value is known for every game of the table.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from benchmarks.tables import atari_normalizers, atari_scores
from benchmarks.tables.atari_normalizers import NORMALIZATIONS
from benchmarks.tables.reported import ReportedRow, ReportedTable, Score, game_of
from benchmarks.tables.scores import NAMES

MILLION = 1e6
FEWEST_GAMES = 3  # that are aggregated
SHOWN = ("batch_rl", "dqn_last", "human")  # the other two ways differ from these in few games


@dataclasses.dataclass(frozen=True)
class Block:
    """Cells under a heading.

    Attributes:
      title: what the cells are.
      header: the columns' headings; the first column names the lines.
      lines: the lines, with one cell for each column.
    """

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]


def reported_blocks(table: ReportedTable) -> list[Block]:
    """One block for each statistic of a table.

    Its lines are the datasets or the algorithms, whichever are more.
    """
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
        title = table.over_games.get(column) or _evaluation(column)
        if len(datasets) >= len(algorithms):
            lines = [[d, *(cells.get((a, d), "") for a in algorithms)] for d in datasets]
            blocks.append(Block(title, ["game" if table.games else "", *algorithms], lines))
        else:
            lines = [[a, *(cells.get((a, d), "") for d in datasets)] for a in algorithms]
            blocks.append(Block(title, ["algorithm", *datasets], lines))
    return blocks


def _evaluation(statistic: str) -> str:
    return f"reported, evaluation: {NAMES[statistic]}"


def _cell(table: ReportedTable, row: ReportedRow, score: Score) -> str:
    """A score with the digits that were printed, and a question mark if it is doubtful."""
    return game_score(score) + ("?" if row.dataset in table.doubtful_datasets else "")


def game_score(score: Score) -> str:
    """Mean±spread with all of their digits; from one million on, in millions (M)."""
    in_millions = abs(score.mean) >= MILLION
    parts = [score.mean] if score.spread is None else [score.mean, score.spread]
    return "±".join(f"{part / MILLION:.6g}M" if in_millions else f"{part:.8g}" for part in parts)


@dataclasses.dataclass(frozen=True)
class GameSet:
    """Values of a table that can be aggregated, without doubtful ones.

    Attributes:
      data: what follows the game in the datasets' names: `1%`, or "".
      statistic: the values' statistic, such as `last_10`.
      games: all games of these values.
      runs: the reported mean, by algorithm and game, for the algorithms that have all games.
    """

    data: str
    statistic: str
    games: Sequence[str]
    runs: Mapping[str, Mapping[str, Sequence[float]]]


def game_sets(table: ReportedTable) -> list[GameSet]:
    """One set for each kind of data and statistic with enough games; none for normalised tables."""
    if not table.games or table.normalized:
        return []
    means: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    for row in table.rows.values():
        if row.dataset not in table.doubtful_datasets:
            game, data = game_of(row.dataset), row.dataset.partition("/")[2]
            for statistic, score in row.scores.items():
                of_algorithm = means.setdefault((data, statistic), {}).setdefault(row.algorithm, {})
                of_algorithm[game] = [score.mean]
    sets = []
    for (data, statistic), runs in means.items():
        games = list(dict.fromkeys(itertools.chain.from_iterable(runs.values())))
        whole = {algorithm: of for algorithm, of in runs.items() if len(of) == len(games)}
        if len(games) >= FEWEST_GAMES:
            sets.append(GameSet(data, statistic, games, whole))
    return sets


def blocks_over_games(table: ReportedTable) -> list[Block]:
    """Medians, interquartile means and counts of games above, one block for each set of games."""
    return [_block_over_games(of) for of in game_sets(table)]


def _block_over_games(games: GameSet) -> Block:
    lines = []
    for normalization in SHOWN:
        can = set(atari_normalizers.games_of(normalization))
        names = [game for game in games.games if game in can]
        scores = [
            atari_scores.over_games(normalization, runs, names) for runs in games.runs.values()
        ]
        name = f"{normalization} ({len(names)})"
        above = f"above {NORMALIZATIONS[normalization].high} ({len(names)})"
        lines += [
            [f"{name} median, %", *(f"{of.median.value:.1f}" for of in scores)],
            [f"{name} IQM, %", *(f"{of.interquartile_mean.value:.1f}" for of in scores)],
            [above, *(f"{of.above.value:.0f}" for of in scores)],
        ]
    of_data = " ".join(filter(None, [games.data, _evaluation(games.statistic)]))
    title = f"computed over games, by the means: {of_data}"
    return Block(title, ["normalised by (games)", *games.runs], lines)
