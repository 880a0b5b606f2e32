"""Following an object from the slice in which somebody pointed at it: each mask is the prompt for the next slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mitoscale.core.geometry import Region
from mitoscale.ops.prompts import interior_point

SLICES = 64
"""So many slices are followed on each side, unless another number is asked for."""

Box = tuple[int, int, int, int]
"""y0, x0, y1, x1 in pixels of the volume, half-open."""


@dataclass(frozen=True, kw_only=True)
class SliceMask:
    """An object in one slice."""

    z: int
    """The slice."""
    y0: int
    """First row of the mask in the volume."""
    x0: int
    """First column."""
    mask: np.ndarray
    """(H, W) bool; all of its edges hold a pixel of the object."""
    score: float
    """Larger is surer; SAM: predicted IoU x stability, 0..1."""

    @property
    def box(self) -> Box:
        """What the mask spans."""
        return self.y0, self.x0, self.y0 + self.mask.shape[0], self.x0 + self.mask.shape[1]

    @property
    def point(self) -> tuple[float, float]:
        """The centroid, or where that is outside (a crescent) the innermost pixel; (y, x) in the volume."""
        y, x = interior_point(self.mask)
        return float(y) + self.y0, float(x) + self.x0


Ask = Callable[[int, tuple[float, float], Box], SliceMask | None]
"""Answers slice, point and box with a mask; None where there is nothing."""


def follow(ask: Ask, first: SliceMask, slices: Iterable[int], *, least_score: float, least_overlap: float) -> list[SliceMask]:
    """Masks of the slices that come next, until the answer is unsure, or is another object.

    Parameters
    ----------
    ask : callable
        Answers a prompt.
    first : SliceMask
        Where it begins.
    slices : iterable of int
        The next slices, in the order in which they are asked.
    least_score : float
        It ends at an answer with a lower score.
    least_overlap : float
        It ends at a mask whose IoU with the one before is lower.

    Examples
    --------
    >>> disc = np.ones((4, 4), bool)
    >>> def ask(z, point, box):
    ...     return SliceMask(z=z, y0=box[0], x0=box[1] + (3 if z == 7 else 0), mask=disc, score=0.9)
    >>> first = SliceMask(z=4, y0=10, x0=10, mask=disc, score=1.0)
    >>> [one.z for one in follow(ask, first, range(5, 9), least_score=0.5, least_overlap=0.5)]
    [5, 6]
    """
    found: list[SliceMask] = []
    last = first
    for z in slices:
        answer = ask(z, last.point, last.box)
        if answer is None or answer.score < least_score or overlap(answer, last) < least_overlap:
            break
        found.append(answer)
        last = answer
    return found


def overlap(a: SliceMask, b: SliceMask) -> float:
    """Intersection over union of two masks, as if they were of one slice."""
    low = max(a.y0, b.y0), max(a.x0, b.x0)
    high = min(a.box[2], b.box[2]), min(a.box[3], b.box[3])
    if low[0] >= high[0] or low[1] >= high[1]:
        return 0.0
    parts = [one.mask[low[0] - one.y0 : high[0] - one.y0, low[1] - one.x0 : high[1] - one.x0] for one in (a, b)]
    common = int(np.count_nonzero(parts[0] & parts[1]))
    return common / (int(a.mask.sum()) + int(b.mask.sum()) - common)


def without_crumbs(mask: np.ndarray, share: float = 0.1) -> np.ndarray:
    """A mask without what hangs nowhere: parts smaller than this share of the largest one; the arms of a U stay.

    Parameters
    ----------
    mask : (Y, X) bool
        An object in a slice.
    share : float
        Of the largest part's pixels, 0..1.

    Examples
    --------
    >>> without_crumbs(np.array([[1] * 20 + [0, 1, 0, 1, 1]], bool)).sum()
    np.int64(22)
    """
    parts, count = ndimage.label(mask, np.ones((3, 3), bool))
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept: np.ndarray = (sizes >= share * sizes.max())[parts] & mask
    return kept


def stacked(masks: list[SliceMask]) -> tuple[Region, np.ndarray]:
    """Masks of slices without a gap as one.

    Returns
    -------
    region : Region
        What they span.
    mask : (Z, Y, X) bool
        The object.
    """
    zs = [one.z for one in masks]
    low = min(zs), min(one.y0 for one in masks), min(one.x0 for one in masks)
    high = max(zs) + 1, max(one.box[2] for one in masks), max(one.box[3] for one in masks)
    region = Region(start=low, stop=high)
    result = np.zeros(region.shape, bool)
    for one in masks:
        y0, x0, y1, x1 = one.box
        result[one.z - low[0], y0 - low[1] : y1 - low[1], x0 - low[2] : x1 - low[2]] |= one.mask
    return region, result
