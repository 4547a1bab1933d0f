"""Normalises scores of Atari games in the five ways that papers use.

`reported/normalizers/atari.toml` has the reference scores and their sources.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from benchmarks.reported.game_scores import columns
from rl_datasets.errors import DatasetError
from rl_datasets.sources.atari import ATARI_GAMES


@dataclasses.dataclass(frozen=True)
class Normalization:
    """100 (score - low) / (high - low).

    Attributes:
      low: the column of `reported/normalizers/atari.toml` whose scores become 0.
      high: the column whose scores become 100.
      is_ordered: whether the larger of the two scores always becomes 100, so that more is better
        even where the online DQN is below a random policy.
    """

    low: str
    high: str
    is_ordered: bool = False


NORMALIZATIONS: Mapping[str, Normalization] = {
    # Agarwal, Schuurmans and Norouzi 2020, appendix A.4, with scores of the same online DQN.
    "batch_rl": Normalization("random", "dqn_best", is_ordered=True),
    # The same with the DQN's last iteration, as in other papers that follow that protocol.
    "dqn_last": Normalization("random", "dqn_last", is_ordered=True),
    # Gulcehre et al. 2020: the best snapshot of the online DQN.
    "rl_unplugged": Normalization("random", "dqn_best"),
    "human": Normalization("random", "human"),
    # Hafner et al. 2021 (DreamerV2), and Chen et al. 2021 (Decision Transformer) after them.
    "gamer": Normalization("gamer_random", "gamer"),
}


def games_of(normalization: str) -> list[str]:
    """The games for which both reference scores are known and differ.

    Raises:
      DatasetError: there is no such normalisation.
    """
    by = _named(normalization)
    low, high = columns()[by.low], columns()[by.high]
    return [game for game in low if game in high and low[game] != high[game]]


def bounds(normalization: str, game: str) -> tuple[float, float]:
    """The raw scores of a game that become 0 and 100.

    Args:
      normalization: a key of `NORMALIZATIONS`.
      game: a game, as DQN Replay's bucket spells it.

    Raises:
      DatasetError: there is no such normalisation or game, or the game has no such scores.
    """
    by = _named(normalization)
    check_games([game])
    low, high = columns()[by.low].get(game), columns()[by.high].get(game)
    if low is None or high is None:
        missing = by.low if low is None else by.high
        raise DatasetError(
            f"{game} cannot be normalised by {normalization!r}, because no score of {missing!r} is "
            "known: leave the game out or choose another normalisation"
        )
    if low == high:
        raise DatasetError(
            f"{game} cannot be normalised by {normalization!r}, because {by.low!r} and {by.high!r} "
            f"both score {low:g}: leave the game out or choose another normalisation"
        )
    return (min(low, high), max(low, high)) if by.is_ordered else (low, high)


def normalized(normalization: str, game: str, scores: npt.ArrayLike) -> np.ndarray:
    """Normalises raw scores [...] of a game to percent [...].

    Raises:
      DatasetError: as `bounds`.
    """
    low, high = bounds(normalization, game)
    return 100 * (np.asarray(scores, np.float64) - low) / (high - low)


def check_games(games: Collection[str]) -> None:
    """Refuses names that are not names of games.

    Raises:
      DatasetError: there is no such game; the message suggests the nearest name.
    """
    for game in games:
        if game not in ATARI_GAMES:
            nearest = difflib.get_close_matches(game, ATARI_GAMES, 1, 0)[0]
            raise DatasetError(f"there is no game {game!r}, did you mean {nearest!r}?")


def _named(normalization: str) -> Normalization:
    if normalization not in NORMALIZATIONS:
        known = ", ".join(NORMALIZATIONS)
        raise DatasetError(f"unknown normalisation {normalization!r}, choose one of: {known}")
    return NORMALIZATIONS[normalization]
