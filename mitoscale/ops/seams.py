"""Seams: what faces each other across a plane, and whether it looks cut or fused there.

The same is asked at the faces between blocks and at planes inside blocks, where nothing was stitched: a stitch is as good
as it can be when both answers are alike.
"""

from __future__ import annotations

import math

import numpy as np

from mitoscale.ops.run_lengths import run_lengths

Contacts = dict[str, np.ndarray]
"""Columns ``before``, ``behind`` (labels, uint32), ``strength`` (float32), ``mutual`` (bool), ``v``, ``u`` (int64)."""

ALIKE = 0.5
"""Two profiles that are each other's best and at least this alike look like one object that crosses the plane."""

UNLIKE = 0.2
"""Two profiles of one object that are less alike than this look like two objects that were fused."""


def contacts(before: np.ndarray, behind: np.ndarray) -> Contacts:
    """Pairs of profiles that face each other across a plane.

    Parameters
    ----------
    before, behind : (V, U) uint32
        Labels of the voxels on both sides; 0 is background.

    Returns
    -------
    dict
        ``before``, ``behind`` (E,) uint32; ``strength`` (E,) float32, the mean of the two overlap fractions; ``mutual``
        (E,) bool, whether each is the other's strongest; ``v``, ``u`` (E,) int64 a pixel that both cover, near the
        middle of what they share. Sorted by pair.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> found = contacts(np.array([[1, 1, 0, 2]], np.uint32), np.array([[7, 7, 0, 7]], np.uint32))
    >>> found["before"].tolist(), found["strength"].astype(float).round(2).tolist(), found["mutual"].tolist()
    ([1, 2], [0.83, 0.67], [True, False])
    """
    if before.shape != behind.shape:
        raise ValueError(f"both sides of a plane must be alike, got shapes {before.shape} and {behind.shape}")
    v, u = np.nonzero((before > 0) & (behind > 0))
    a, b = before[v, u].astype(np.int64), behind[v, u].astype(np.int64)
    size = int(behind.max(initial=0)) + 1
    packed, pair, shared = np.unique(a * size + b, return_inverse=True, return_counts=True)
    low, high = np.divmod(packed, size)
    strength = (shared / np.bincount(before.ravel())[low] + shared / np.bincount(behind.ravel())[high]) / 2
    middle = [np.bincount(pair, weights=c, minlength=len(packed)) / shared for c in (v, u)]
    away = (v - middle[0][pair]) ** 2 + (u - middle[1][pair]) ** 2
    order = np.lexsort((away, pair))
    first = order[np.searchsorted(pair[order], np.arange(len(packed)))]
    return {
        "before": low.astype(np.uint32),
        "behind": high.astype(np.uint32),
        "strength": strength.astype(np.float32),
        "mutual": _strongest(low, strength) & _strongest(high, strength),
        "v": v[first],
        "u": u[first],
    }


def _strongest(label: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """(E,) bool: which pairs no other pair of the same label exceeds."""
    most = np.zeros(int(label.max(initial=0)) + 1)
    np.maximum.at(most, label, strength)
    strongest: np.ndarray = strength >= most[label]
    return strongest


def meeting_points(
    low: np.ndarray, high: np.ndarray, pairs: np.ndarray, axis: int, plane: int, core: tuple[slice, ...]
) -> np.ndarray:
    """A voxel that both fragments of each pair have, also where they do not face each other at the plane.

    Parameters
    ----------
    low, high : (Z, Y, X) uint32
        Fragments of two blocks over what both have read.
    pairs : (E, 2) integers
        Fragments of ``low`` and of ``high`` that share voxels; each pair once.
    axis, plane : int
        First plane behind the face, normal to ``axis``.
    core : tuple of 3 slice
        What of these arrays lies in either block's core; voxels there come first, then those near the plane.

    Returns
    -------
    (E, 3) int64

    Raises
    ------
    ValueError
        If a pair shares no voxel.

    Examples
    --------
    >>> bar = np.zeros((1, 3, 8), np.uint32); bar[0, 1, :3] = 7
    >>> meeting_points(bar, bar, np.array([[7, 7]]), 2, 4, np.s_[0:1, 0:3, 0:8]).tolist()
    [[0, 1, 2]]
    """
    lengths, a, b = run_lengths(low, high)
    size = int(high.max(initial=0)) + 1
    code, wanted = a.astype(np.int64) * size + b, pairs[:, 0].astype(np.int64) * size + pairs[:, 1].astype(np.int64)
    at = np.flatnonzero(np.isin(code, wanted))
    points = np.stack(np.unravel_index((np.cumsum(lengths) - lengths)[at], low.shape), axis=1).astype(np.int64)
    last = np.minimum(points[:, 2] + lengths[at], low.shape[2]) - 1  # a stretch may go on in the next row
    points[:, 2] = np.minimum(np.maximum(points[:, 2], plane if axis == 2 else core[2].start), last)
    outside = np.any([(points[:, n] < part.start) | (points[:, n] >= part.stop) for n, part in enumerate(core)], axis=0)
    order = np.lexsort((np.abs(2 * (points[:, axis] - plane) + 1), outside, code[at]))
    found, first = np.unique(code[at][order], return_index=True)
    if not np.isin(wanted, found).all():
        raise ValueError("fragments of a pair share no voxel")
    nearest: np.ndarray = points[order][first][np.searchsorted(found, wanted)]
    return nearest


def suspects(found: Contacts, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs look cut, and which look fused.

    Parameters
    ----------
    found : dict
        From :func:`contacts`.
    same : (E,) bool
        Whether both profiles are one object.

    Returns
    -------
    cut, fused : (E,) bool

    Examples
    --------
    >>> found = contacts(np.array([[1, 1, 1, 1, 1, 1]], np.uint32), np.array([[7, 7, 7, 7, 7, 0]], np.uint32))
    >>> [bool(s[0]) for s in suspects(found, np.array([False]))]
    [True, False]
    """
    cut = found["mutual"] & (found["strength"] >= ALIKE) & ~same
    return cut, same & (found["strength"] < UNLIKE)


def counts(found: Contacts, same: np.ndarray) -> dict[str, int]:
    """How many pairs look like one object and how many of them are cut; how many are one and how many of them look fused.

    Parameters
    ----------
    found : Contacts
        Pairs of pieces that meet at a plane.
    same : (N,) bool
        Whether both pieces of a pair have one label.
    """
    cut, fused = suspects(found, same)
    alike = found["mutual"] & (found["strength"] >= ALIKE)
    return {"alike": int(alike.sum()), "cut": int(cut.sum()), "joined": int(same.sum()), "fused": int(fused.sum())}


def interval(part: float, whole: float) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927, doi 10.1080/01621459.1927.10502953); 0..1 where nothing was counted.

    Parameters
    ----------
    part : float
        Number of cases.
    whole : float
        Number of trials.

    Examples
    --------
    >>> [round(x, 3) for x in interval(5, 1000)]
    [0.002, 0.012]
    """
    if whole <= 0:
        return 0.0, 1.0
    z, rate = 1.959964, part / whole
    middle = rate + z * z / (2 * whole)
    spread = z * math.sqrt(rate * (1 - rate) / whole + z * z / (4 * whole * whole))
    scale = 1 + z * z / whole
    # Rounding must not put the rate itself outside.
    return max(0.0, min(rate, (middle - spread) / scale)), min(1.0, max(rate, (middle + spread) / scale))
