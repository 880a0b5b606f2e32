"""Places for objects of any shape: apart from all others, or against one of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from mitoscale.core.geometry import Spacing, Triple
from mitoscale.ops.scenes.canvas import Box

GAP = 3
"""Voxels kept free between objects that are not meant to touch."""

_SEEN = 0.6
"""Part of an object that lies in the volume, at least."""

_CONTACT_NM2 = 3000.0
"""Area over which objects touch that are meant to, at least."""

_TRIES = 60
"""Places that are looked at for an object that stands alone."""

_SOME = (slice(1, None, 4),) * 3
"""Voxels that are looked at first."""

_DIRECTIONS = 6
"""Sides of a partner from which an object is brought near."""


class _Placed(NamedTuple):
    """An object that has its place."""

    mask: np.ndarray
    """(Z, Y, X) bool: what the volume shows of it."""
    place: Triple
    """Where that begins."""
    near: np.ndarray
    """(Z, Y, X) bool: the object and what is nearer than the gap, in the volume."""
    around: Box
    """Where that lies."""


class Placement:
    """Where objects stand in a volume.

    Parameters
    ----------
    taken : (Z, Y, X) bool
        Where something else stands.
    spacing : (z, y, x)
        Voxel size in nm.
    rng : numpy Generator
        Source of randomness.
    """

    def __init__(self, taken: np.ndarray, spacing: Spacing, rng: np.random.Generator) -> None:
        self._shape, self._spacing, self._rng = taken.shape, np.array(spacing), rng
        self._near = ndimage.binary_dilation(taken, iterations=GAP).astype(np.uint8)  # how many are there or nearer than the gap
        self._placed: list[_Placed] = []

    def __len__(self) -> int:
        return len(self._placed)

    def put(self, mask: np.ndarray, place: Triple) -> None:
        """Keep an object's place from others; objects are numbered from 1."""
        near = ndimage.distance_transform_cdt(np.pad(~mask, GAP, constant_values=True), "taxicab") <= GAP
        inner, outer = overlap(mask.shape, place, self._shape)
        shown, around = overlap(near.shape, _triple(np.subtract(place, GAP)), self._shape)
        self._placed.append(_Placed(mask[inner], _triple([s.start for s in outer]), near[shown], around))
        self._near[around] += near[shown]

    def free(self, mask: np.ndarray) -> Triple | None:
        """Look for a place where an object meets nothing.

        Parameters
        ----------
        mask : (Z, Y, X) bool
            The object.

        Returns
        -------
        (z, y, x) or None
            Where its first voxel comes to lie; it may be cut by the border. None where chance found no such place.
        """
        for _ in range(_TRIES):
            z, y, x = (
                int(self._rng.integers(n - m, 1) if m > n else self._rng.integers(-(m // 3), n - 2 * m // 3 + 1))
                for m, n in zip(mask.shape, self._shape, strict=True)
            )
            if self._is_free(mask, (z, y, x)):
                return z, y, x
        return None

    def against(self, mask: np.ndarray, partner: int) -> Triple | None:
        """Look for a place where an object touches another, and meets nothing else.

        Parameters
        ----------
        mask : (Z, Y, X) bool
            The object.
        partner : int
            Number of the other.

        Returns
        -------
        (z, y, x) or None
            As for :meth:`free`.
        """
        other = self._placed[partner - 1]
        self._near[other.around] -= other.near.view(np.uint8)
        found = next((p for _ in range(_DIRECTIONS) if (p := self._beside(mask, other)) is not None), None)
        self._near[other.around] += other.near
        return found

    def _beside(self, mask: np.ndarray, other: _Placed) -> Triple | None:
        """The first place, from the other's middle in a random direction, where what is seen of both does not overlap, if good."""
        step = self._rng.normal(size=3) / self._spacing
        step /= np.abs(step).max()
        start = np.array(other.place) + (np.array(other.mask.shape) - mask.shape) / 2
        for number in range(max(other.mask.shape) + max(mask.shape)):
            place = _triple(np.rint(start + number * step))
            inner, outer = overlap(mask.shape, _triple(np.subtract(place, other.place)), other.mask.shape)
            if not (mask[inner] & other.mask[outer]).any():
                return place if self._is_free(mask, place) and self._contact(mask, place, other) >= _CONTACT_NM2 else None
        return None

    def _is_free(self, mask: np.ndarray, place: Triple) -> bool:
        """Whether enough of an object is seen, and nothing else is too near to that.

        Of an object that has more slices than the volume only what lies in those counts, if it reaches through all of them.
        """
        inner, outer = overlap(mask.shape, place, self._shape)
        part, near, whole = mask[inner], self._near[outer], mask
        if np.logical_and(near[_SOME], part[_SOME]).any():  # what most places fail by
            return False
        if len(mask) > self._shape[0]:
            whole = mask[inner[0]] if len(part) == self._shape[0] else mask
        seen = np.count_nonzero(part) > _SEEN * np.count_nonzero(whole)
        return bool(seen and not np.logical_and(near, part).any())

    def _contact(self, mask: np.ndarray, place: Triple, other: _Placed) -> float:
        """Area over which two objects touch in the volume, about, in nm^2."""
        _, outer = overlap(mask.shape, place, self._shape)
        low = [max(s.start - 1, 0) for s in outer]
        size = [min(s.stop + 1, n) - a for s, n, a in zip(outer, self._shape, low, strict=True)]
        mine, theirs = np.zeros(size, bool), np.zeros(size, bool)
        for seen, what, where in ((mine, mask, place), (theirs, other.mask, other.place)):
            inner, outer = overlap(what.shape, _triple(np.subtract(where, low)), seen.shape)
            seen[outer] = what[inner]
        voxels = np.count_nonzero(ndimage.binary_dilation(mine, np.ones((3, 3, 3))) & theirs)
        return float(voxels * np.prod(self._spacing) / self._spacing.min())


def overlap(size: tuple[int, ...], place: Triple, shape: tuple[int, ...]) -> tuple[Box, Box]:
    """What a crop and a volume share.

    Parameters
    ----------
    size : (z, y, x)
        Voxels of the crop.
    place : (z, y, x)
        Where its first voxel lies in the volume; it may lie outside.
    shape : (z, y, x)
        Voxels of the volume.

    Returns
    -------
    inner, outer
        The same voxels as slices into the crop and into the volume; empty where they share nothing.
    """
    inner, outer = [], []
    for s, p, n in zip(size, place, shape, strict=True):
        first = min(max(0, -p), s)
        last = max(first, min(s, n - p))
        inner.append(slice(first, last))
        outer.append(slice(p + first, p + last))
    return (inner[0], inner[1], inner[2]), (outer[0], outer[1], outer[2])


def _triple(values: ArrayLike) -> Triple:
    """Whole numbers on three axes."""
    z, y, x = (int(v) for v in np.asarray(values))
    return z, y, x
