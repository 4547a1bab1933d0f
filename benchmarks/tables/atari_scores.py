"""Scores of many Atari games together: median, interquartile mean, games above, and the profile.

The median over games is that of the means over runs. The interquartile mean is that of the middle
half of all runs of all games (Agarwal et al. 2021, arXiv:2108.13264). A performance profile says on
what share of the runs, mean over games, a normalised score is above each of many thresholds.
Intervals are 95 % percentiles of a bootstrap that draws runs anew within every game; it is seeded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.tables import atari_normalizers, statistics
from rl_datasets.errors import DatasetError

Runs = Mapping[str, Sequence[float] | np.ndarray]  # raw scores of every run, by game


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number over games.

    Attributes:
      value: of the runs there are.
      interval: of 95 %; None where a game has a single run.
    """

    value: float
    interval: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class GamesScore:
    """Many games together.

    Attributes:
      games: which.
      runs: how many a game.
      median: over games, in percent.
      interquartile_mean: over runs and games, in percent.
      above: on how many games the mean raw score is above the score that is normalised by: the
        online DQN's, or a human's.
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
      shares: [thresholds] of the runs above each, mean over games, from 0 to 1.
      interval: [2, thresholds] low and high ends, of 95 %; None where a game has a single run.
    """

    thresholds: np.ndarray
    shares: np.ndarray
    interval: np.ndarray | None


def over_games(normalization: str, runs: Runs, games: Collection[str] | None = None) -> GamesScore:
    """Takes the runs of many games together.

    Args:
      normalization: of `atari_normalizers.NORMALIZATIONS`.
      runs: raw scores, as many runs of every game.
      games: that are to be there, and that alone are counted; by default those of `runs`.

    Raises:
      DatasetError: a game is missing, misspelt or cannot be normalised, or games differ in how many
        runs they have.
    """
    raw = matrix(runs, games)
    names = tuple(games or runs)
    scores = _normalized(normalization, names, raw)
    column = atari_normalizers.NORMALIZATIONS[normalization].high
    others = np.array([atari_normalizers.columns()[column][game] for game in names])
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
      normalization: of `atari_normalizers.NORMALIZATIONS`.
      runs: raw scores, as many runs of every game.
      thresholds: [thresholds] normalised scores, in percent.

    Raises:
      DatasetError: as `over_games` does.
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

    Games that differ in how many runs they have are refused, and not cut or weighted: a pooled mean
    would count the one with more runs for more.

    Args:
      runs: raw scores by game.
      games: which, and in which order; by default those of `runs`.

    Raises:
      DatasetError: a game is missing or misspelt, or they differ in how many runs they have.
    """
    names = list(games or runs)
    atari_normalizers.check_games([*names, *runs])
    if missing := [game for game in names if game not in runs]:
        raise DatasetError(f"there is no score of {', '.join(missing)}: measure it or leave it out")
    counts = {game: len(runs[game]) for game in names}
    if not names or not all(counts.values()) or len(set(counts.values())) > 1:
        of_each = ", ".join(f"{game} has {count}" for game, count in counts.items())
        raise DatasetError(
            f"every game must have as many runs, at least one: {of_each or 'there is no game'}; "
            "leave runs or games out"
        )
    return np.array([runs[game] for game in names], np.float64).T


def median_of_means(scores: npt.ArrayLike) -> np.ndarray:
    """Median over games of the mean over runs: [..., runs, games] -> [...]."""
    return np.median(np.mean(np.asarray(scores), axis=-2), axis=-1)


def _normalized(normalization: str, games: Sequence[str], raw: np.ndarray) -> np.ndarray:
    """[runs, games] in percent."""
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
