"""Where a run is in doubt: probabilities near a half, and places where the labels are not what the foreground says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def doubt(foreground: np.ndarray, labels: np.ndarray | None = None, threshold: float = 0.5) -> float:
    """How much of a window is in doubt.

    An outline is always a little uncertain, however sure the network is of the object: so doubt counts only where it is wider than
    a few pixels.

    Parameters
    ----------
    foreground : (Y, X) uint8
        Foreground probability times 255.
    labels : (Y, X) integer, optional
        Final labels, where there are some.
    threshold : float
        Probability from which a pixel is foreground, 0..1.

    Returns
    -------
    float
        Mean over the window, 0..1: 1 where the probability is a half or the labels contradict it, 0 where all is sure.

    Examples
    --------
    >>> sure, unsure = np.zeros((8, 8), np.uint8), np.full((8, 8), 127, np.uint8)
    >>> doubt(sure), round(doubt(unsure), 2), doubt(sure, np.ones((8, 8), np.uint8))
    (0.0, 1.0, 1.0)
    """
    probability = foreground.astype(np.float32) / 255
    uncertain = 1 - np.abs(2 * probability - 1)
    uncertain = ndimage.minimum_filter(uncertain, 3, mode="nearest")
    if labels is not None:
        other = (labels > 0) != (probability >= threshold)
        uncertain = np.maximum(uncertain, ndimage.minimum_filter(other, 3, mode="nearest"))
    return float(uncertain.mean())


def most_doubtful(scores: Sequence[float], places: Sequence[tuple[int, int, int]], count: int) -> list[int]:
    """The windows with the largest scores that are not neighbours, and then the best of the rest.

    Parameters
    ----------
    scores : (N,) float
        Of each window.
    places : (N,) of (z, y, x)
        Index of each window in a grid; windows whose indices differ by one at most are neighbours.
    count : int
        How many are wanted.

    Returns
    -------
    list of int
        Their numbers, best first, ``count`` or all of them.

    Examples
    --------
    >>> most_doubtful([0.9, 0.8, 0.1, 0.5], [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)], 3)
    [0, 3, 1]
    """
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], places[i]))
    apart: list[int] = []
    for i in order:
        if all(max(abs(a - b) for a, b in zip(places[i], places[j], strict=True)) > 1 for j in apart):
            apart.append(i)
    beside = [i for i in order if i not in set(apart)]
    return [*apart, *beside][:count]
