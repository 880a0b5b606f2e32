"""Linking: masks of neighbouring slices that are one object become a fragment.

Pairs of masks attract by their overlap, and touching masks of one slice repel. Groups are joined strongest first by the
mean of all that lies between them, while that mean attracts (signed average linkage, Bailoni et al. 2022,
arXiv 1906.11713): one merged or split mask is outvoted by the slices around it. The arms of a U do not
touch in any slice, so they become one where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mitoscale.core.geometry import SINGLE_NM, Spacing
from mitoscale.core.grid import Block
from mitoscale.ops.agglomerate import Groups
from mitoscale.ops.repulsion import repulsion
from mitoscale.ops.slice_masks import Overlaps, SliceMasks, number_masks, overlaps_of

_OPEN = 2
"""Slices of an open end; see :func:`open_ends`."""

_NECK = 1.5
"""No gap closes where the object would be narrower than on both sides by this much."""


def link(
    labels: np.ndarray | Sequence[np.ndarray],
    spacing: Spacing,
    *,
    iou: float = 0.15,
    iom: float = 0.7,
    max_gap: int = 2,
    open_ends: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Link masks to fragments.

    Parameters
    ----------
    labels : (Z, Y, X) integer
        Masks of each slice, numbered within it; 0 is background. Equal numbers in different slices mean nothing.
    spacing : (z, y, x)
        Voxel size in nm. Where slices are single pictures (:data:`mitoscale.core.geometry.SINGLE_NM`) nothing is linked.
    iou, iom : float
        Two masks of neighbouring slices attract from this intersection over union, or over the smaller mask, on. A thin
        object that runs along the slices has little in common with itself, but with a mask of its own size; what has a part of a
        much smaller mask in common is mostly another object's end.
    max_gap : int
        Slices that a link may skip; it does so only where both masks end, each is the other's only candidate, and neither has
        narrowed to the end of its object.
    open_ends : (int, int)
        How many slices, from the first and from the last, tell too little because the volume goes on behind them: a mask
        there that meets several masks further inside joins none. 0 where the volume ends.

    Returns
    -------
    (Z, Y, X) uint32
        Fragments numbered from 1 in the order of their first voxel.

    Raises
    ------
    ValueError
        If ``labels`` is not three-dimensional.

    Examples
    --------
    >>> stack = np.zeros((3, 6, 6), np.int32); stack[0, :2] = 4; stack[1, :2] = 9; stack[2, :2] = 1; stack[:, 4:] = 5
    >>> link(stack, (5, 5, 5))[:, ::4, 0].tolist()
    [[1, 2], [1, 2], [1, 2]]
    """
    stack = np.asarray(labels)
    if stack.ndim != 3:
        raise ValueError(f"masks must be (Z, Y, X), got shape {stack.shape}")
    masks = number_masks(stack, spacing)
    if spacing[0] >= SINGLE_NM:
        return masks.labels
    groups = Groups(len(masks.area))
    overlaps = [overlaps_of(masks, gap) for gap in range(max(max_gap, 2) + 1)]
    groups.add(*repulsion(masks, overlaps, spacing))
    linked = np.zeros((0, 2), np.int64)
    for gap in range(max_gap + 1):
        pairs, strength = _attraction(masks, *overlaps[gap], gap, spacing, iou, iom)
        if gap:
            closes = _neck(masks, overlaps[0], pairs) <= _NECK
            pairs, strength = pairs[closes], strength[closes]
        chosen = _licensed(pairs, linked, groups, len(masks.area)) if gap else _settled(masks, pairs, open_ends)
        groups.add(pairs[chosen], strength[chosen])
        groups.join()
        linked = np.concatenate([linked, pairs])
    fragments: np.ndarray = groups.numbers()[masks.labels]
    return fragments


def open_ends(block: Block) -> tuple[int, int]:
    """Slices at both ends of a block's read region that tell too little (see :func:`link`).

    Two, where the volume goes on behind them and the margin is four times that: then they are nobody's core.

    Examples
    --------
    >>> from mitoscale.core.geometry import Region
    >>> from mitoscale.core.grid import BlockGrid
    >>> grid = BlockGrid(region=Region.of_shape((64, 8, 8)), core_shape=(32, 8, 8), margin=(8, 0, 0))
    >>> [open_ends(block) for block in grid.blocks()]
    [(0, 2), (2, 0)]
    """
    before = (block.core.start[0] - block.halo.start[0]) // 4
    behind = (block.halo.stop[0] - block.core.stop[0]) // 4
    return min(before, _OPEN), min(behind, _OPEN)


def _attraction(
    masks: SliceMasks, pairs: np.ndarray, common: np.ndarray, gap: int, spacing: Spacing, iou: float, iom: float
) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) pairs that may be one object, and (E,) how strongly."""
    a, b = masks.area[pairs[:, 0]], masks.area[pairs[:, 1]]
    smaller = np.minimum(a, b)
    of_union, of_smaller = common / (a + b - common), common / smaller
    radius = np.minimum(masks.radius[pairs[:, 0]], masks.radius[pairs[:, 1]])
    shift = np.linalg.norm(masks.centre[pairs[:, 0]] - masks.centre[pairs[:, 1]], axis=1)
    strength = (of_union + of_smaller) / 2 / (1 + 0.5 * shift / (radius + spacing[0])) / (gap + 1)
    usable = (of_union >= iou) | (of_smaller >= iom)
    return pairs[usable], strength[usable]


def _neck(masks: SliceMasks, overlaps: Overlaps, pairs: np.ndarray) -> np.ndarray:
    """(E,) how much narrower an object of two masks is at the one, the other, or both, than on both sides of there.

    Where masks are missing an object is as wide as ever; two objects that end there both narrow. What lies beside a mask in
    its slice and goes on from the same mask counts with it: a profile that falls in two is no neck.
    """
    (a, b), common = overlaps[0].T, overlaps[1]
    size, area = len(masks.area), masks.area
    behind, before = np.bincount(a, area[b], minlength=size), np.bincount(b, area[a], minlength=size)
    last, following = np.zeros(size, np.int64), np.zeros(size, np.int64)
    order = np.argsort(common, kind="stable")  # of several the one stays that shares most
    last[b[order]], following[a[order]] = a[order], b[order]
    low, high = pairs.T
    p, n = last[low], following[high]
    at_low = np.minimum(area[p], area[high]) / np.maximum(behind[p], 1)
    at_high = np.minimum(area[low], area[n]) / np.maximum(before[n], 1)
    at_both = np.minimum(area[p], area[n]) / np.maximum(np.maximum(behind[p], before[n]), 1)
    return np.max([at_low, at_high, at_both], axis=0)


def _settled(masks: SliceMasks, pairs: np.ndarray, open_ends: tuple[int, int]) -> np.ndarray:
    """(E,) bool: at an open end, a mask that meets several masks further inside joins none.

    It may be the bottom of a U, or merge two objects by mistake: only the slices behind it tell, and another block has them.
    """
    settled = np.ones(len(pairs), bool)
    first, behind = open_ends[0], len(masks.labels) - open_ends[1]
    for outer, at_end in ((0, masks.slice_of[pairs[:, 0]] < first), (1, masks.slice_of[pairs[:, 1]] >= behind)):
        meets = np.bincount(pairs[:, outer], minlength=len(masks.area))[pairs[:, outer]]
        settled &= ~(at_end & (meets > 1))
    return settled


def _licensed(pairs: np.ndarray, linked: np.ndarray, groups: Groups, size: int) -> np.ndarray:
    """(E,) bool: gaps close only between two masks that end there and are each other's only candidate."""
    root = groups.roots()
    one = linked[root[linked[:, 0]] == root[linked[:, 1]]]
    has_next, has_previous = np.zeros(size, bool), np.zeros(size, bool)
    has_next[one[:, 0]] = True
    has_previous[one[:, 1]] = True
    free = ~has_next[pairs[:, 0]] & ~has_previous[pairs[:, 1]]
    one_next = np.bincount(pairs[free, 0], minlength=size) == 1
    one_previous = np.bincount(pairs[free, 1], minlength=size) == 1
    licensed: np.ndarray = free & one_next[pairs[:, 0]] & one_previous[pairs[:, 1]]
    return licensed
