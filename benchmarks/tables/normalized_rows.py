"""Normalises the measured scores of a recipe's games, row by row.

The ways are those of `atari_normalizers`, and two more. By `teacher`, 100 is the teacher of a row's
student, evaluated as the student is (Agarwal et al. 2022, arXiv:2206.01626). By `logged`, 100 is
the best iteration of the agent that logged the row's own data, by its log. The papers normalise so
by the online DQN that made their data. Their iterations are evaluated with epsilon 0.001; those of
`rl-datasets log-game` are the training itself, with the exploration of its schedule.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.reported.game_scores import columns
from benchmarks.tables import atari_normalizers
from benchmarks.tables.atari_normalizers import NORMALIZATIONS
from benchmarks.tables.comparison import Comparison
from benchmarks.tables.game_tables import FEWEST_GAMES, Block
from benchmarks.tables.results_folder import LOGGED, Dataset
from rl_datasets import run_log
from rl_datasets.errors import DatasetError
from rl_datasets.published.lineage import Lineage
from rl_datasets.sources.atari import ATARI_GAMES

TEACHER = "teacher"
WAYS = (*NORMALIZATIONS, LOGGED, TEACHER)
RANDOM = "random"  # dqn_zoo's scores of a random policy
HEADER = ("", "game", "0 is", "100 is", "measured", "normalised, %")

Results = Sequence[Mapping[str, Any]]


def normalized_rows(
    comparisons: Sequence[Comparison],
    results: Results,
    datasets: Mapping[str, Dataset],
    way: str,
    random: str | None = None,
) -> Block:
    """A line for each measured row, and for each algorithm with enough games their median.

    Args:
      comparisons: of the rows of a recipe.
      results: lines of those rows.
      datasets: what the results folder says of the rows' data.
      way: one of `WAYS`.
      random: of `logged` and `teacher`, where the scores of a random policy are from: a column of
        `reported/normalizers/atari.toml`, or a folder of runs that `rl-datasets log-game` logged
        with the agent `random`. By default dqn_zoo's.

    Raises:
      DatasetError: there is no such way or source; nothing was measured; a row is not of a game;
        its reference scores are not known, or the agent never did better than at random.
    """
    if way not in WAYS:
        raise DatasetError(f"unknown normalisation {way!r}, choose one of: {', '.join(WAYS)}")
    if random is not None and way in NORMALIZATIONS:
        raise DatasetError(
            f"{way} has a random score of its own: leave out --random, or normalise by {LOGGED} or "
            f"{TEACHER}"
        )
    lines, of_games = [], dict[str, dict[str, list[float]]]()
    for c in comparisons:
        if c.measured is None:
            continue
        game = c.row.scoring.environment
        if game not in ATARI_GAMES:
            raise DatasetError(
                f"row {c.row.name!r} is of {game}, and only scores of Atari games are normalised "
                "so: leave out --normalize"
            )
        if way in NORMALIZATIONS:
            low, high = atari_normalizers.bounds(way, game)
        else:
            of_row = [result for result in results if result["row"] == c.row.name]
            low = _random(random or RANDOM, game, of_row)
            high = _best_logged(c, datasets, low) if way == LOGGED else _teacher(c, of_row, low)
        score = 100 * (c.measured.mean - low) / (high - low)
        raw = (f"{value:.8g}" for value in (low, high, c.measured.mean))
        lines.append([c.row.name, game, *raw, f"{score:.1f}"])
        group = " ".join(filter(None, [c.row.learning.algorithm, c.row.data.drawing]))
        of_games.setdefault(group, {}).setdefault(game, []).append(score)
    if not lines:
        raise DatasetError("no row was run to its end, so there is nothing to normalise: run one")
    for group, scores in of_games.items():
        if len(scores) >= FEWEST_GAMES:
            median = np.median([np.mean(of_game) for of_game in scores.values()])
            name = " ".join(filter(None, [group, "median"]))
            lines.append([name, f"{len(scores)} games", "", "", "", f"{median:.1f}"])
    return Block(f"Normalised by {way}", HEADER, lines)


def explanation(way: str, random: str | None) -> str:
    """What 0 and 100 are, in one sentence or two."""
    if way in NORMALIZATIONS:
        by = NORMALIZATIONS[way]
        return (
            f"0 is the score of `{by.low}` and 100 that of `{by.high}`, see docs/atari_scores.md."
        )
    of_whom = {
        LOGGED: "best iteration of the agent that logged the row's data, while it learned",
        TEACHER: "row's teacher, evaluated as the student is",
    }
    return (
        f"0 is a random policy's score in `{random or RANDOM}`, and 100 is the mean return of the "
        f"{of_whom[way]}."
    )


def _best_logged(c: Comparison, datasets: Mapping[str, Dataset], low: float) -> float:
    logged = datasets.get(c.row.name, {}).get(LOGGED)
    if logged is None:
        raise DatasetError(
            f"the results say of {c.row.data.dataset} no iterations of the agent that logged it, "
            f"by which row {c.row.name!r} would be normalised: only data of `rl-datasets log-game` "
            "have them; choose another normalisation, or write older results of such data again "
            "with `rl-datasets reproduce`"
        )
    if logged["best"] <= low:
        raise DatasetError(
            f"the {logged['agent']} that logged {c.row.data.dataset} never did better than a "
            f"random policy, {logged['best']:.8g} against {low:.8g}: choose another normalisation "
            f"for row {c.row.name!r}"
        )
    return float(logged["best"])


def _teacher(c: Comparison, results: Results, low: float) -> float:
    """The mean over seeds of the teacher's returns."""
    returns = {
        result["seed"]: result["metrics"]["teacher_return"]
        for result in results
        if "teacher_return" in result["metrics"]
    }
    if not returns:
        raise DatasetError(
            f"row {c.row.name!r} has no teacher whose return was measured: choose another "
            "normalisation"
        )
    high = float(np.mean([*returns.values()]))
    if high <= low:
        raise DatasetError(
            f"the teacher of row {c.row.name!r} is no better than a random policy, {high:.8g} "
            f"against {low:.8g}: choose another normalisation"
        )
    return high


def _random(source: str, game: str, results: Results) -> float:
    known = [name for name in columns() if name.endswith(RANDOM)]
    if source in known:
        return columns()[source][game]
    folder = pathlib.Path(source)
    if not folder.is_dir():
        raise DatasetError(
            f"--random {source} is neither {' nor '.join(known)} nor a folder of logged runs: "
            "name one of these"
        )
    logs = [log for home in sorted((folder / game).glob("*")) if (log := run_log.read(home))]
    logs = [log for log in logs if log.get("agent") == "random"]
    iterations = [each for log in logs for each in Lineage.from_json(log).iterations]
    if not iterations:
        raise DatasetError(
            f"{folder} holds no run of a random agent in {game}: log one with `rl-datasets "
            f"log-game {game} random {folder}`"
        )
    for log in logs:
        _check_same_game(folder, game, log, results[0])
    episodes, returns = np.array(iterations).T
    return float(np.average(returns, weights=episodes))


def _check_same_game(
    folder: pathlib.Path, game: str, log: Mapping[str, Any], result: Mapping[str, Any]
) -> None:
    """Refuses a random agent's run on another ROM or with other rules than the row's scores."""
    for in_log, in_result in (
        ("rom_md5", "rom_md5"),
        ("sticky_probability", "sticky_probability"),
        ("time_limit", "max_episode_steps"),
    ):
        if log.get(in_log) != result[in_result]:
            raise DatasetError(
                f"{folder} has a random agent's run of {game} with {in_log} {log.get(in_log)}, and "
                f"row {result['row']!r} was scored with {result[in_result]}: log one with that"
            )
