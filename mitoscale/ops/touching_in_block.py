"""Which fragments of a block touch: they were told apart there, so whatever makes them one object is suspicious."""

from __future__ import annotations

import cc3d
import numpy as np


def touching_pairs(fragments: np.ndarray) -> np.ndarray:
    """Pairs of different fragments that touch (26-neighbourhood).

    Parameters
    ----------
    fragments : (Z, Y, X) uint32
        0 is background.

    Returns
    -------
    (N, 2) uint32
        Unique, the smaller id first, sorted.

    Examples
    --------
    >>> touching_pairs(np.array([[[1, 2, 0, 3]]], np.uint32)).tolist()
    [[1, 2]]
    """
    where = _box_of_contacts(np.asarray(fragments, np.uint32)) if fragments.any() else None
    found = cc3d.region_graph(np.ascontiguousarray(fragments[where], np.uint32), connectivity=26) if where else ()
    pairs = np.array(sorted(found), np.uint32).reshape(-1, 2)
    pairs.sort(axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _box_of_contacts(fragments: np.ndarray) -> tuple[slice, ...] | None:
    """A box that holds all places where different fragments touch; None where none do.

    Neighbours lie in a common window of two voxels along each axis. The largest and the smallest label of all windows take a
    few quick comparisons, and often tell that nothing touches.
    """
    met = []
    before = None
    for z, plane in enumerate(fragments):
        # One less, so that the background becomes the largest of all, and one more again at the end.
        now = _of_windows(np.maximum, plane), _of_windows(np.minimum, plane - np.uint32(1))
        largest, smallest = now if before is None else (np.maximum(now[0], before[0]), np.minimum(now[1], before[1]))
        differ = smallest + np.uint32(1) != largest
        if differ.any():
            y, x = (np.flatnonzero(differ.any(axis=axis)) for axis in (1, 0))
            met.append(((max(z - 1, 0), y[0], x[0]), (z + 1, y[-1] + 2, x[-1] + 2)))
        before = now
    if not met:
        return None
    start, stop = np.min([m[0] for m in met], axis=0), np.max([m[1] for m in met], axis=0)
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def _of_windows(extreme: np.ufunc, plane: np.ndarray) -> np.ndarray:
    """The extreme value of all windows of 2 x 2 pixels of a plane, of fewer where it is one pixel wide."""
    if len(plane) > 1:
        plane = extreme(plane[1:], plane[:-1])
    return extreme(plane[:, 1:], plane[:, :-1]) if plane.shape[1] > 1 else plane
