"""Linking: masks of neighbouring slices that are one object become a fragment.

Pairs of masks attract by their overlap, and touching masks of one slice repel. Groups are joined strongest first by the
mean of all that lies between them, while that mean attracts (signed average linkage, Bailoni et al. 2022,
arXiv 1906.11713): one merged or split mask is outvoted by the slices around it. The arms of a U do not
touch in any slice, so they become one where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import fastremap
import numpy as np

from mitoscale.core.geometry import Spacing
from mitoscale.core.grid import Block
from mitoscale.ops.agglomerate import Groups

_CONTAINED = 0.8
"""One mask holds another that lies in it with at least this part."""

_HELD = 0.6
"""A merger holds at least this part of each of the masks that it merges."""

_OPEN = 2
"""Slices of an open end; see :func:`open_ends`."""

_GOES_ON = 0.5
"""A mask goes on behind a merger in one that shares at least this part of the larger of both."""

_FILLED = 0.85
"""What a merger merges fills at least this part of it; a bridge between two arms is filled less."""

_REPULSION = 1.5
"""How strongly touching masks repel; the strongest attraction of two masks is 1."""


Overlaps = tuple[np.ndarray, np.ndarray]
"""(E, 2) pairs of masks, the one of the earlier slice first, and (E,) their common pixels."""


@dataclass(frozen=True)
class _Masks:
    """All masks of a stack, numbered through."""

    labels: np.ndarray
    """(Z, Y, X) uint32: numbered in the order of their first voxel; 0 is background."""
    area: np.ndarray
    """(N + 1,) pixels; entry 0 stands for the background."""
    radius: np.ndarray
    """(N + 1,) that a disc of this area has, in nm."""
    centre: np.ndarray
    """(N + 1, 2) centroid in nm."""
    slice_of: np.ndarray
    """(N + 1,) slice."""


def link(
    labels: np.ndarray | Sequence[np.ndarray],
    spacing: Spacing,
    *,
    iou: float = 0.3,
    iom: float = 0.6,
    max_gap: int = 2,
    open_ends: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Link masks to fragments.

    Parameters
    ----------
    labels : (Z, Y, X) integer
        Masks of each slice, numbered within it; 0 is background. Equal numbers in different slices mean nothing.
    spacing : (z, y, x)
        Voxel size in nm.
    iou, iom : float
        Two masks of neighbouring slices attract from this intersection over union, or over the smaller mask, on; both
        fall as the z-step grows over the smaller mask's radius.
    max_gap : int
        Slices that a link may skip; it does so only where both masks end, and each is the other's only candidate.
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
    masks = _number(stack, spacing)
    groups = Groups(len(masks.area))
    overlaps = [_overlaps(masks, gap) for gap in range(max(max_gap, 2) + 1)]
    groups.add(*_repulsion(masks, overlaps, spacing))
    linked = np.zeros((0, 2), np.int64)
    for gap in range(max_gap + 1):
        pairs, strength = _attraction(masks, *overlaps[gap], gap, spacing, iou, iom)
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


def _number(labels: np.ndarray, spacing: Spacing) -> _Masks:
    """Number the masks of all slices through, and measure them."""
    numbered = np.zeros(labels.shape, np.uint32)
    area, centre, slice_of, count = [np.zeros(1)], [np.zeros((1, 2))], [np.zeros(1, np.int64)], 0
    for z, plane in enumerate(labels):
        inside = np.nonzero(plane)
        if len(inside[0]) == 0:
            continue
        own = fastremap.renumber(plane[inside])[0].astype(np.int64) - 1  # in the order of their first pixel
        size = int(own.max()) + 1
        numbered[z][inside] = own + count + 1
        sizes = np.bincount(own, minlength=size).astype(np.float64)
        middles = [np.bincount(own, weights=c) / sizes * s for c, s in zip(inside, spacing[1:], strict=True)]
        area.append(sizes)
        centre.append(np.stack(middles, axis=1))
        slice_of.append(np.full(size, z))
        count += size
    pixels = np.concatenate(area)
    radius = np.sqrt(pixels * spacing[1] * spacing[2] / np.pi)
    return _Masks(numbered, pixels, radius, np.concatenate(centre), np.concatenate(slice_of))


def _overlaps(masks: _Masks, gap: int) -> Overlaps:
    """(E, 2) pairs of masks ``gap + 1`` slices apart that overlap, and (E,) their common pixels."""
    size = len(masks.area)
    found_pairs, found_counts = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for a, b in zip(masks.labels[: -gap - 1], masks.labels[gap + 1 :], strict=True):
        both = (a > 0) & (b > 0)
        if both.any():
            packed, count = np.unique(a[both].astype(np.int64) * size + b[both], return_counts=True)
            found_pairs.append(np.stack(np.divmod(packed, size), axis=1))
            found_counts.append(count)
    return np.concatenate(found_pairs), np.concatenate(found_counts)


def _attraction(
    masks: _Masks, pairs: np.ndarray, common: np.ndarray, gap: int, spacing: Spacing, iou: float, iom: float
) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) pairs that may be one object, and (E,) how strongly."""
    a, b = masks.area[pairs[:, 0]], masks.area[pairs[:, 1]]
    smaller = np.minimum(a, b)
    of_union, of_smaller = common / (a + b - common), common / smaller
    radius = np.minimum(masks.radius[pairs[:, 0]], masks.radius[pairs[:, 1]])
    ease = 1 / (1 + (gap + 1) * spacing[0] / radius)
    shift = np.linalg.norm(masks.centre[pairs[:, 0]] - masks.centre[pairs[:, 1]], axis=1)
    strength = (of_union + of_smaller) / 2 / (1 + 0.5 * shift / (radius + spacing[0])) / (gap + 1)
    usable = (of_union >= iou * ease) | (of_smaller >= iom * ease)
    return pairs[usable], strength[usable]


def _settled(masks: _Masks, pairs: np.ndarray, open_ends: tuple[int, int]) -> np.ndarray:
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


def _repulsion(masks: _Masks, overlaps: list[Overlaps], spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) pairs that are different objects, and (E,) how clearly, below 0: touching masks, and what a merger merges.

    Touching masks repel a third as much where one mask of a neighbouring slice holds both, and not at all where both
    neighbouring slices say so: a profile that falls in two for one slice, between slices where it is whole, is noise.
    """
    touching = _touching(masks.labels)
    forward, backward = _holders(masks, overlaps[0], _CONTAINED)
    both = [(h[touching] > 0).all(axis=1) & (h[touching[:, 0]] == h[touching[:, 1]]) for h in (forward, backward)]
    z, last = masks.slice_of[touching[:, 0]], len(masks.labels) - 1
    sides = 2 - (z == last).astype(int) - (z == 0).astype(int)
    held = (both[0].astype(int) + both[1]) / np.maximum(sides, 1)
    merged = _merged(masks, overlaps, spacing)
    pairs = np.concatenate([touching, merged])
    radius = np.minimum(masks.radius[pairs[:, 0]], masks.radius[pairs[:, 1]])
    weight = -_REPULSION * np.concatenate([(1 - held) ** 1.5, np.ones(len(merged))]) / (1 + spacing[0] / radius)
    return pairs[weight < 0], weight[weight < 0]


def _holders(masks: _Masks, overlaps: Overlaps, part: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each mask the mask of the next, and of the previous, slice that holds ``part`` of it; 0 where none does."""
    pairs, common = overlaps
    forward, backward = np.zeros(len(masks.area), np.int64), np.zeros(len(masks.area), np.int64)
    a, b = pairs[common >= part * masks.area[pairs[:, 0]]].T
    forward[a] = b
    a, b = pairs[common >= part * masks.area[pairs[:, 1]]].T
    backward[b] = a
    return forward, backward


def _merged(masks: _Masks, overlaps: list[Overlaps], spacing: Spacing) -> np.ndarray:
    """(E, 2) pairs of masks that only one or two slices have as one: before and behind these they go on apart.

    The bridge of an H is not thinner than its arms' radius, and below the bottom of a U no arms go on.
    """
    forward, backward = _holders(masks, overlaps[0], _HELD)
    filled_before, filled_behind = _filled(masks, overlaps[0], forward, backward)
    found = [np.zeros((0, 2), np.int64)]
    for slices, (pairs, common) in enumerate(overlaps[1:3], start=1):
        a, b = pairs.T
        goes_on = common >= _GOES_ON * np.maximum(masks.area[a], masks.area[b])
        goes_on &= (filled_before[forward[a]] >= _FILLED) & (filled_behind[backward[b]] >= _FILLED)
        thin = slices * spacing[0] <= np.minimum(masks.radius[a], masks.radius[b])
        through = pairs[goes_on & thin & (forward[a] > 0) & (backward[b] > 0)]
        key = np.stack([forward[through[:, 0]], backward[through[:, 1]]], axis=1)
        _, group = np.unique(key, axis=0, return_inverse=True)
        order = np.argsort(group.ravel(), kind="stable")
        for members in np.split(through[order], np.flatnonzero(np.diff(group.ravel()[order])) + 1):
            for i, (a, b) in enumerate(members.tolist()):
                for c, d in members[i + 1 :].tolist():
                    if a != c and b != d:
                        found.append(np.array([(min(a, c), max(a, c)), (min(b, d), max(b, d))]))
    return np.unique(np.concatenate(found), axis=0)


def _filled(masks: _Masks, overlaps: Overlaps, forward: np.ndarray, backward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N + 1,) parts of each mask that masks of the slice before, and of that behind, fill which it holds."""
    pairs, common = overlaps
    (a, b), size = pairs.T, len(masks.area)
    before = np.bincount(b, weights=common * (forward[a] == b), minlength=size)
    behind = np.bincount(a, weights=common * (backward[b] == a), minlength=size)
    area = np.maximum(masks.area, 1)
    return before / area, behind / area


def _touching(labels: np.ndarray) -> np.ndarray:
    """(N, 2) pairs of masks that are neighbours (8-neighbourhood) in a slice."""
    pairs = [cc3d.region_graph(plane, connectivity=8) for plane in labels]
    return np.array(sorted((min(p), max(p)) for found in pairs for p in found), np.int64).reshape(-1, 2)
