"""Means and standard deviations of data that are read piece by piece.

Needs NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def mean_and_std(pieces: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the population standard deviation of rows, in one pass (Chan et al. 1983).

    Of a single piece they are NumPy's, bit for bit. Of several they differ from NumPy's of all rows
    together by rounding in float64.

    Args:
      pieces: arrays [N, ...] of numbers; at least one of them has rows.

    Returns:
      [...] float64 each.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for piece in pieces:
        if not len(piece):
            continue
        of_piece = piece.mean(axis=0, dtype=np.float64)
        squares_of_piece = np.square(piece - of_piece).sum(axis=0)
        if not count:
            count, mean, squares = len(piece), of_piece, squares_of_piece
            continue
        together, apart = count + len(piece), of_piece - mean
        mean = mean + apart * (len(piece) / together)
        squares = squares + squares_of_piece + np.square(apart) * (count * len(piece) / together)
        count = together
    return mean, np.sqrt(squares / max(count, 1))
