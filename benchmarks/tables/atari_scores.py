"""Aggregates scores over Atari games: median, interquartile mean, games above, and profile.

The median is taken over the games' means over runs. The interquartile mean is the mean of the
middle half of all runs of all games (Agarwal et al. 2021, arXiv:2108.13264). A performance profile
gives, for each of many thresholds, the share of runs with a higher normalised score, averaged over
games. Intervals are 95 % percentile intervals of a seeded bootstrap that resamples the runs within
each game.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.reported.game_scores import columns
from benchmarks.tables import atari_normalizers, statistics
from rl_datasets.errors import DatasetError

Runs = Mapping[str, Sequence[float] | np.ndarray]  # raw scores of every run, by game


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number over games.

    Attributes:
      value: the estimate from all runs.
      interval: its 95 % interval; None if games have a single run.
    """

    value: float
    interval: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class GamesScore:
    """Aggregate scores of many games.

    Attributes:
      games: the games.
      runs: number of runs of each game.
      median: median over games, in percent.
      interquartile_mean: interquartile mean over runs and games, in percent.
      above: number of games whose mean raw score is above the reference score: the online DQN's, or
        a human's.
    """

    games: tuple[str, ...]
    runs: int
    median: Estimate
    interquartile_mean: Estimate
    above: Estimate


@dataclasses.dataclass(frozen=True)
class Profile:
    """A performance profile.

    Attributes:
      thresholds: [thresholds] normalised scores, in percent.
      shares: [thresholds] share of the runs above each threshold, mean over games, from 0 to 1.
      interval: [2, thresholds] low and high ends of the 95 % interval; None if games have a single
        run.
    """

    thresholds: np.ndarray
    shares: np.ndarray
    interval: np.ndarray | None


def over_games(normalization: str, runs: Runs, games: Collection[str] | None = None) -> GamesScore:
    """Aggregates the runs of many games.

    Args:
      normalization: a key of `atari_normalizers.NORMALIZATIONS`.
      runs: raw scores, with the same number of runs for every game.
      games: the games to aggregate, all of which `runs` must have; by default all games of `runs`.

    Raises:
      DatasetError: a game is missing, misspelt or cannot be normalised, or games differ in their
        number of runs.
    """
    raw = matrix(runs, games)
    names = tuple(games or runs)
    scores = _normalized(normalization, names, raw)
    column = atari_normalizers.NORMALIZATIONS[normalization].high
    others = np.array([columns()[column][game] for game in names])
    return GamesScore(
        names,
        len(raw),
        _estimate(median_of_means, scores),
        _estimate(statistics.interquartile_mean, scores),
        _estimate(lambda of: np.sum(np.mean(of, axis=-2) > others, axis=-1), raw),
    )


def performance_profile(normalization: str, runs: Runs, thresholds: npt.ArrayLike) -> Profile:
    """The share of runs above each threshold, mean over games.

    Args:
      normalization: a key of `atari_normalizers.NORMALIZATIONS`.
      runs: raw scores, with the same number of runs for every game.
      thresholds: [thresholds] normalised scores, in percent.

    Raises:
      DatasetError: as `over_games`.
    """
    at = np.asarray(thresholds, np.float64)
    scores = _normalized(normalization, tuple(runs), matrix(runs))

    def shares(of: np.ndarray) -> np.ndarray:
        return np.stack([np.mean(of > threshold, axis=(-2, -1)) for threshold in at], axis=-1)

    interval = None
    if len(scores) > 1:
        interval = np.stack(statistics.stratified_bootstrap(shares, scores))
    return Profile(at, shares(scores), interval)


def matrix(runs: Runs, games: Collection[str] | None = None) -> np.ndarray:
    """Raw scores as [runs, games].

    Games with different numbers of runs are refused, not cut or weighted: a pooled mean would give
    more weight to the game with more runs.

    Args:
      runs: raw scores by game.
      games: the games in the order of the columns; by default those of `runs`.

    Raises:
      DatasetError: a game is missing or misspelt, or games differ in their number of runs.
    """
    names = list(games or runs)
    atari_normalizers.check_games([*names, *runs])
    if missing := [game for game in names if game not in runs]:
        raise DatasetError(f"there is no score of {', '.join(missing)}: measure it or leave it out")
    counts = {game: len(runs[game]) for game in names}
    if not names or not all(counts.values()) or len(set(counts.values())) > 1:
        of_each = ", ".join(f"{game} has {count}" for game, count in counts.items())
        raise DatasetError(
            "every game must have the same number of runs, at least one, but "
            f"{of_each or 'there is no game'}: leave runs or games out"
        )
    return np.array([runs[game] for game in names], np.float64).T


def median_of_means(scores: npt.ArrayLike) -> np.ndarray:
    """Median over games of the mean over runs: [..., runs, games] -> [...]."""
    return np.median(np.mean(np.asarray(scores), axis=-2), axis=-1)


def _normalized(normalization: str, games: Sequence[str], raw: np.ndarray) -> np.ndarray:
    """Normalises raw scores [runs, games] to percent."""
    columns = [
        atari_normalizers.normalized(normalization, game, of)
        for game, of in zip(games, raw.T, strict=True)
    ]
    return np.stack(columns, axis=-1)


def _estimate(statistic: Callable[[np.ndarray], np.ndarray], scores: np.ndarray) -> Estimate:
    interval = None
    if len(scores) > 1:
        low, high = statistics.stratified_bootstrap(statistic, scores)
        interval = float(low), float(high)
    return Estimate(float(statistic(scores)), interval)
