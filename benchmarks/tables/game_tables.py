"""A reported table of Atari games as blocks of text: values as printed, and over games.

What is computed over games is of the means that were reported, so it has no interval, and an
algorithm has it where a value of every game of the table is known.
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
FEWEST_GAMES = 3  # of which anything is computed together
SHOWN = ("batch_rl", "dqn_last", "human")  # the other two ways differ from these on few games


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
    """A score with the digits that were printed, and a question mark if it is not believed."""
    return game_score(score) + ("?" if row.dataset in table.doubtful_datasets else "")


def game_score(score: Score) -> str:
    """Mean±spread, with as many digits as they have; in millions, M, from one million on."""
    in_millions = abs(score.mean) >= MILLION
    parts = [score.mean] if score.spread is None else [score.mean, score.spread]
    return "±".join(f"{part / MILLION:.6g}M" if in_millions else f"{part:.8g}" for part in parts)


@dataclasses.dataclass(frozen=True)
class GameSet:
    """The believed values of a table that can be taken together.

    Attributes:
      data: what follows the game in the names of the datasets: `1%`, or "".
      statistic: of the values.
      games: every one of the table's.
      runs: the mean that was reported, by algorithm and game; the algorithms with all games alone.
    """

    data: str
    statistic: str
    games: Sequence[str]
    runs: Mapping[str, Mapping[str, Sequence[float]]]


def game_sets(table: ReportedTable) -> list[GameSet]:
    """One for each kind of data and statistic that has games enough; none of normalised tables."""
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
    """Medians, interquartile means and counts of games above, a block for each set of games."""
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
