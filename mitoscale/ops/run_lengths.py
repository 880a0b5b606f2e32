"""Run lengths: label volumes as stretches of equal voxels along x, a hundredth as many as there are voxels.

Most voxels of a label volume are like the one before. What is counted or renamed by label is counted or renamed by
stretch, so that one quick comparison is the only pass over all voxels.
"""

from __future__ import annotations

import numpy as np


def run_lengths(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Stretches of voxels, in C order, over which none of the arrays changes.

    Parameters
    ----------
    *arrays : ndarray
        Of one shape.

    Returns
    -------
    lengths : (R,) int64
        Voxels of each stretch; they add up to the size of the arrays.
    *values : (R,) of each array's dtype
        What each array has there. A stretch may go on from the end of one row to the start of the next.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> lengths, a, b = run_lengths(np.array([[5, 5, 0]]), np.array([[1, 1, 1]]))
    >>> lengths.tolist(), a.tolist(), b.tolist()
    ([2, 1], [5, 0], [1, 1])
    """
    if len({array.shape for array in arrays}) != 1:
        raise ValueError(f"arrays of one shape are wanted, got {[array.shape for array in arrays]}")
    flat = [array.ravel() for array in arrays]
    changes = np.zeros(max(flat[0].size - 1, 0), bool)
    for values in flat:
        changes |= values[1:] != values[:-1]
    start = np.concatenate([np.zeros(min(flat[0].size, 1), np.int64), np.flatnonzero(changes) + 1])
    return np.diff(start, append=flat[0].size), *(values[start] for values in flat)


def sizes(labels: np.ndarray, count: int) -> np.ndarray:
    """Voxels of each label.

    Parameters
    ----------
    labels : ndarray of unsigned
        Below ``count``.
    count : int
        One more than the largest label.

    Returns
    -------
    (count,) int64

    Examples
    --------
    >>> sizes(np.array([[0, 2, 2]], np.uint32), 4).tolist()
    [1, 0, 2, 0]
    """
    lengths, values = run_lengths(labels)
    return totals(values, lengths, count)


def totals(values: np.ndarray, lengths: np.ndarray, count: int) -> np.ndarray:
    """(count,) int64: voxels of each value, from its stretches (R,) and their lengths (R,).

    Parameters
    ----------
    values : (R,) integer
        Value of each stretch.
    lengths : (R,) integer
        Voxels of each stretch.
    count : int
        All values are below.
    """
    return np.bincount(values, weights=lengths, minlength=count).astype(np.int64)


def renamed(labels: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Labels with other names.

    Parameters
    ----------
    labels : ndarray of unsigned
        Indices into ``names``.
    names : (N,) ndarray
        The new name of each label.

    Returns
    -------
    ndarray
        ``names[labels]``, several times quicker.

    Examples
    --------
    >>> renamed(np.array([[0, 2, 2]], np.uint32), np.array([0, 7, 9], np.uint64)).tolist()
    [[0, 9, 9]]
    """
    lengths, values = run_lengths(labels)
    return np.repeat(names[values], lengths).reshape(labels.shape)
