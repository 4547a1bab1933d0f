"""Measured scores of games taken together, beside the reported ones of the same games."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.tables import comparison
from benchmarks.tables.atari_normalizers import games_of
from benchmarks.tables.atari_scores import Estimate, over_games
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.game_tables import FEWEST_GAMES, Block
from benchmarks.tables.reported import ReportedTable, game_of
from benchmarks.tables.scores import format_interval

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


def _told(estimate: Estimate, digits: int) -> str:
    value = f"{estimate.value:z.{digits}f}"
    return f"{value} {format_interval(estimate.interval, digits)}" if estimate.interval else value
