"""Measured scores of games taken together, beside the reported ones of the same games."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.tables import comparison
from benchmarks.tables.atari_normalizers import games_of
from benchmarks.tables.atari_scores import Estimate, over_games
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.game_tables import FEWEST_GAMES, Block
from benchmarks.tables.reported import ReportedTable, game_of
from benchmarks.tables.scores import format_interval
from benchmarks.training.recipe import Recipe
from benchmarks.training.row import OWN

NORMALIZATION = "batch_rl"
HEADER = (
    *("", "games", "seeds", "reported median", "measured median"),
    *("reported interquartile mean", "measured interquartile mean"),
    *("reported games above the DQN", "measured games above the DQN"),
)


def measured_over_games(reported: ReportedTable, comparisons: Sequence[Comparison]) -> Block | None:
    """A line for each algorithm, variant and kind of data that has games enough; None where none.

    Rows count that are compared and not doubtful. What was reported has no interval: it is computed
    of the means.
    """
    if not reported.games or reported.normalized:
        return None
    groups: dict[str, list[Comparison]] = {}
    for c in comparisons:
        row = reported.rows[c.row.reported]
        if c.status in comparison.COMPARED and row.dataset not in reported.doubtful_datasets:
            data = row.dataset.partition("/")[2]
            name = " ".join(filter(None, [row.algorithm, data, c.row.variant]))
            groups.setdefault(name, []).append(c)
    lines = [_line(reported, name, group) for name, group in groups.items()]
    lines = [line for line in lines if line]
    return Block("Games together", HEADER, lines) if lines else None


def _line(reported: ReportedTable, name: str, group: Sequence[Comparison]) -> list[str]:
    """Its cells; [] where there are too few games."""
    can, theirs, ours = set(games_of(NORMALIZATION)), {}, {}
    for c in group:
        game = game_of(reported.rows[c.row.reported].dataset)
        if game in can and c.reported is not None and c.measured is not None:
            theirs[game], ours[game] = [c.reported.mean], c.measured.per_seed
    if len(ours) < FEWEST_GAMES:
        return []
    sides = over_games(NORMALIZATION, theirs), over_games(NORMALIZATION, ours)
    cells = [name, str(len(ours)), str(sides[1].runs)]
    cells += [_told(side.median, 1) for side in sides]
    cells += [_told(side.interquartile_mean, 1) for side in sides]
    return cells + [_told(side.above, 0) for side in sides]


OVER_GAMES = (
    *("", "games", "reported median", "measured median"),
    *("reported games above the DQN", "measured games above the DQN"),
)


def measured_beside_all_games(
    table: ReportedTable,
    recipe: Recipe,
    comparisons: Sequence[Comparison],
    results: Sequence[Mapping[str, Any]],
) -> Block | None:
    """A line for each algorithm of a recipe beside values over many games; None where none.

    A game's score is that of the best iteration of the mean over its runs, which are rows. A game
    counts once all of its rows whose batches are drawn alike have run to their end.

    Args:
      table: with `over_games`.
      recipe: with the same.
      comparisons: of every row of the recipe.
      results: lines of its rows.
    """
    rows: dict[tuple[str, str, str], list[Comparison]] = {}
    for c in comparisons:
        of = c.row.learning.algorithm, c.row.data.drawing, c.row.scoring.environment
        rows.setdefault(of, []).append(c)
    can = set(games_of(NORMALIZATION))
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    for (algorithm, drawing, game), of_game in rows.items():
        is_whole = all(c.status == comparison.APART and c.row.data.kind != OWN for c in of_game)
        if is_whole and game in can:
            best = _best_of_mean(of_game, results)
            scores.setdefault((algorithm, drawing), {})[game] = [best]
    lines = []
    for (algorithm, drawing), of_games in scores.items():
        if len(of_games) >= FEWEST_GAMES:
            name = f"{algorithm}, {drawing}" if drawing else algorithm
            ours = over_games(NORMALIZATION, of_games)
            row = table.rows.get(f"{algorithm}/{recipe.over_games}")
            theirs = [f"{row.scores[of].mean:g}" if row else "" for of in table.over_games]
            median, above = _told(ours.median, 1), _told(ours.above, 0)
            lines.append([name, str(len(of_games)), theirs[0], median, theirs[1], above])
    return Block("Games together", OVER_GAMES, lines) if lines else None


def _best_of_mean(rows: Sequence[Comparison], results: Sequence[Mapping[str, Any]]) -> float:
    names = {c.row.name for c in rows}
    runs = {
        (name, seed): returns
        for name in names
        for seed, (_, returns) in comparison.curves(
            [result for result in results if result["row"] == name]
        ).items()
    }
    return float(np.max(np.mean(list(runs.values()), axis=0)))


def _told(estimate: Estimate, digits: int) -> str:
    value = f"{estimate.value:z.{digits}f}"
    return f"{value} {format_interval(estimate.interval, digits)}" if estimate.interval else value
