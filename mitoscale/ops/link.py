"""Linking: masks of neighbouring slices that are one object become a fragment.

Pairs of masks attract by their overlap, and touching masks of one slice repel. Groups are joined strongest first by the
mean of all that lies between them, while that mean attracts (signed average linkage, Bailoni et al. 2022,
doi 10.1109/CVPR52688.2022.01135): one merged or split mask is outvoted by the slices around it. The arms of a U do not
touch in any slice, so they become one where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import fastremap
import numpy as np

from mitoscale.core.geometry import Spacing
from mitoscale.ops.agglomerate import Groups

_CONTAINED = 0.8
"""One mask holds another that lies in it with at least this part."""

_HELD = 0.6
"""A merger holds at least this part of each of the masks that it merges."""

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
    open_ends: tuple[bool, bool] = (False, False),
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
    open_ends : (bool, bool)
        Whether the volume goes on before the first slice, and behind the last.

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
    groups.add(*_repulsion(masks, overlaps, open_ends))
    linked = np.zeros((0, 2), np.int64)
    for gap in range(max_gap + 1):
        pairs, strength = _attraction(masks, *overlaps[gap], gap, spacing, iou, iom)
        chosen = _licensed(pairs, linked, groups, len(masks.area)) if gap else _settled(masks, pairs, open_ends)
        groups.add(pairs[chosen], strength[chosen])
        groups.join()
        linked = np.concatenate([linked, pairs])
    fragments: np.ndarray = groups.numbers()[masks.labels]
    return fragments


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
        pixels = np.bincount(own, minlength=size).astype(np.float64)
        middles = [np.bincount(own, weights=c) / pixels * s for c, s in zip(inside, spacing[1:], strict=True)]
        area.append(pixels)
        centre.append(np.stack(middles, axis=1))
        slice_of.append(np.full(size, z))
        count += size
    return _Masks(numbered, np.concatenate(area), np.concatenate(centre), np.concatenate(slice_of))


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
    radius = np.sqrt(smaller * spacing[1] * spacing[2] / np.pi)
    ease = 1 / (1 + (gap + 1) * spacing[0] / radius)
    shift = np.linalg.norm(masks.centre[pairs[:, 0]] - masks.centre[pairs[:, 1]], axis=1)
    strength = (of_union + of_smaller) / 2 / (1 + 0.5 * shift / (radius + spacing[0])) / (gap + 1)
    usable = (of_union >= iou * ease) | (of_smaller >= iom * ease)
    return pairs[usable], strength[usable]


def _settled(masks: _Masks, pairs: np.ndarray, open_ends: tuple[bool, bool]) -> np.ndarray:
    """(E,) bool: a mask of an open end that meets several masks inside joins none: what it is, only the next slice tells."""
    settled = np.ones(len(pairs), bool)
    for end, z, inner in ((0, 0, 1), (1, len(masks.labels) - 1, 0)):
        if open_ends[end]:
            outer = pairs[:, 1 - inner]
            several = np.bincount(outer, minlength=len(masks.area))[outer] > 1
            settled &= ~(several & (masks.slice_of[outer] == z))
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


def _repulsion(masks: _Masks, overlaps: list[Overlaps], open_ends: tuple[bool, bool]) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) pairs that are different objects, and (E,) how clearly, below 0: touching masks, and what a merger merges.

    Touching masks repel half as much where one mask of a neighbouring slice holds both, and not at all where both
    neighbouring slices say so: a profile that falls in two for one slice, between slices where it is whole, is noise.
    """
    touching = _touching(masks.labels)
    forward, backward = _holders(masks, overlaps[0], _CONTAINED)
    both = [(h[touching] > 0).all(axis=1) & (h[touching[:, 0]] == h[touching[:, 1]]) for h in (forward, backward)]
    z, last = masks.slice_of[touching[:, 0]], len(masks.labels) - 1
    sides = 2 - ((z == last) & (not open_ends[1])).astype(int) - ((z == 0) & (not open_ends[0])).astype(int)
    held = (both[0].astype(int) + both[1]) / np.maximum(sides, 1)
    merged = _merged(masks, overlaps)
    pairs = np.concatenate([touching, merged])
    weight = -_REPULSION * np.concatenate([1 - held, np.ones(len(merged))])
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


def _merged(masks: _Masks, overlaps: list[Overlaps]) -> np.ndarray:
    """(E, 2) pairs of masks that only one or two slices have as one: before and behind these they go on apart.

    The bridge of an H is thicker than that, and below the bottom of a U no arms go on.
    """
    forward, backward = _holders(masks, overlaps[0], _HELD)
    found = [np.zeros((0, 2), np.int64)]
    for pairs, common in overlaps[1:3]:
        smaller = np.minimum(masks.area[pairs[:, 0]], masks.area[pairs[:, 1]])
        through = pairs[(common >= _HELD * smaller) & (forward[pairs[:, 0]] > 0) & (backward[pairs[:, 1]] > 0)]
        key = np.stack([forward[through[:, 0]], backward[through[:, 1]]], axis=1)
        _, group = np.unique(key, axis=0, return_inverse=True)
        order = np.argsort(group.ravel(), kind="stable")
        for members in np.split(through[order], np.flatnonzero(np.diff(group.ravel()[order])) + 1):
            for i, (a, b) in enumerate(members.tolist()):
                for c, d in members[i + 1 :].tolist():
                    if a != c and b != d:
                        found.append(np.array([(min(a, c), max(a, c)), (min(b, d), max(b, d))]))
    return np.unique(np.concatenate(found), axis=0)


def _touching(labels: np.ndarray) -> np.ndarray:
    """(N, 2) pairs of masks that are neighbours (8-neighbourhood) in a slice."""
    pairs = [cc3d.region_graph(plane, connectivity=8) for plane in labels]
    return np.array(sorted((min(p), max(p)) for found in pairs for p in found), np.int64).reshape(-1, 2)
