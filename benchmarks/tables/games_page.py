"""Writes the page of a reported table of games: values, aggregates over games, and figures."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.tables import figures
from benchmarks.tables.atari_normalizers import normalized
from benchmarks.tables.atari_scores import performance_profile
from benchmarks.tables.game_tables import (
    Block,
    GameSet,
    blocks_over_games,
    game_sets,
    reported_blocks,
)
from benchmarks.tables.page import table, write_page
from benchmarks.tables.report_text import reported_text
from benchmarks.tables.reported import ReportedTable
from rl_datasets.errors import DatasetError

NORMALIZATION = "batch_rl"  # in the pictures
THRESHOLDS = np.linspace(0, 200, 101)  # percent
GAMES_A_PANEL = 15


def write_games_page(reported: ReportedTable, folder: pathlib.Path, name: str) -> pathlib.Path:
    """Writes `<name>.md` and `<name>.html`, with pictures if the values are raw scores.

    Args:
      reported: a table of games, or of values over many games.
      folder: created if it does not exist.
      name: the table's name.

    Returns:
      The path of the HTML page.

    Raises:
      DatasetError: the table has no games, so it has no page.
    """
    if not (reported.games or reported.over_games):
        raise DatasetError(
            f"{name} has no recipe, so there are no results to report: `rl-datasets scores "
            f"{name}` shows what was reported"
        )
    sets = game_sets(reported)
    parts = [
        _section(block) for block in (*reported_blocks(reported), *blocks_over_games(reported))
    ]
    drawn = _pictures(sets)
    if drawn:
        parts.append(
            f"## Pictures\n\nNormalised as `{NORMALIZATION}` does: 0 is a random policy, 100 the "
            "best iteration of an online DQN. Beyond 100 the bars' axis goes by powers of ten. "
            "Doubtful values are left out.\n\n" + "\n\n".join(f"{{{figure}}}" for figure in drawn)
        )
    parts.append("## Where it is from\n\n" + reported_text(reported))
    return write_page(folder, name, reported.title, "\n\n".join(parts) + "\n", drawn)


def _section(block: Block) -> str:
    title = block.title[:1].upper() + block.title[1:]
    return f"## {title}\n\n" + table(block.header, block.lines)


def _pictures(sets: Sequence[GameSet]) -> dict[str, Figure]:
    if not sets:
        return {}
    profiles = [
        figures.ProfilePanel(
            _title(of, f"{len(of.games)} games"),
            {
                algorithm: performance_profile(NORMALIZATION, runs, THRESHOLDS)
                for algorithm, runs in of.runs.items()
            },
            "normalised score, %",
        )
        for of in sets
    ]
    bars = [
        figures.BarPanel(
            _title(of, f"{games[0]} to {games[-1]}"),
            games,
            {
                algorithm: [float(normalized(NORMALIZATION, game, runs[game])[0]) for game in games]
                for algorithm, runs in of.runs.items()
            },
            "normalised score, %",
            linear_to=100,
        )
        for of in sets
        for games in (
            of.games[start : start + GAMES_A_PANEL]
            for start in range(0, len(of.games), GAMES_A_PANEL)
        )
    ]
    return {"profile": figures.profiles(profiles), "games": figures.bars(bars)}


def _title(of: GameSet, games: str) -> str:
    """The data, the evaluation if it is known, and the games."""
    statistic = "" if of.statistic == "unstated" else of.statistic.replace("_", " ")
    return ", ".join(filter(None, [of.data, statistic, games]))
