"""Labels of a slice of which people have looked at some objects only."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from scipy import ndimage


def trusted_only(
    corrected: np.ndarray, own: np.ndarray, *, known: Collection[int], rim: tuple[float, float], unknown: int
) -> np.ndarray:
    """Labels where somebody has corrected or accepted something, and what is next to it; all else is unknown.

    Whoever looks at an object sees where it ends: pixels beside it that belong to no object are background too.

    Parameters
    ----------
    corrected : (Y, X) integer
        Labels with all corrections.
    own : (Y, X) integer
        Labels before them.
    known : collection of int
        Objects that somebody has changed, made, removed or accepted.
    rim : (y, x)
        How far beside them pixels are known, in pixels.
    unknown : int
        Label of what is not known.

    Returns
    -------
    (Y, X) int64

    Examples
    --------
    >>> own = np.array([[0, 1, 1, 0, 0, 2, 0, 0, 0]])
    >>> trusted_only(np.where(own == 2, 0, own), own, known=[2], rim=(1, 1), unknown=9).tolist()
    [[9, 9, 9, 9, 0, 0, 0, 9, 9]]
    """
    removed, sure = (np.isin(labels, list(known)) for labels in (own, corrected))
    removed &= corrected == 0
    seen = sure | removed
    beside = np.zeros_like(seen)
    if seen.any():
        beside = (ndimage.distance_transform_edt(~seen, sampling=[1 / r for r in rim]) <= 1) & (corrected == 0) & (own == 0)
    result = np.full(corrected.shape, unknown, np.int64)
    result[beside | removed] = 0
    result[sure] = corrected[sure]
    return result
