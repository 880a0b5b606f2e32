"""Linking: masks of neighbouring slices that are one object become a fragment.

Pairs of masks attract by their overlap, touching masks of one slice repel, and pairs are joined strongest first as long
as nothing in the two groups repels (the idea of the mutex watershed, Wolf et al. 2018,
doi 10.1007/978-3-030-01225-0_34). The arms of a U do not touch in any slice, so they may become one where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import fastremap
import numpy as np

from mitoscale.core.geometry import Spacing

_CONTAINED = 0.8
"""Two touching masks do not repel where one mask on either side contains at least this part of both."""


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
        Slices without a mask that a link may skip; it does so only where both masks have no nearer candidate, and each
        is the other's only one.

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
    pairs, strength = _attraction(masks, spacing, iou, iom, max_gap)
    groups = _Groups(len(masks.area))
    for a, b in _repulsion(masks):
        groups.part(a, b)
    # Strongest first; ties by number, so that the result depends on nothing else.
    for i in np.lexsort((pairs[:, 1], pairs[:, 0], -strength)):
        groups.join(int(pairs[i, 0]), int(pairs[i, 1]))
    fragments: np.ndarray = groups.numbers()[masks.labels]
    return fragments


class _Groups:
    """Union-find whose groups know whom they must not join; member 0 is the background and stays alone."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))
        self.parted: list[set[int]] = [set() for _ in range(count)]

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def part(self, a: int, b: int) -> None:
        self.parted[a].add(b)
        self.parted[b].add(a)

    def join(self, a: int, b: int) -> bool:
        """Make one group of two unless they must not be; whether they are one now."""
        a, b = self.root(a), self.root(b)
        if a == b or b in self.parted[a]:
            return a == b
        if len(self.parted[a]) < len(self.parted[b]):  # the shorter list moves: O(R log R) for R repulsions
            a, b = b, a
        self.parent[b] = a
        for other in self.parted[b]:
            self.parted[other].discard(b)
            self.parted[other].add(a)
        self.parted[a] |= self.parted[b]
        self.parted[b] = set()
        return True

    def numbers(self) -> np.ndarray:
        """(N + 1,) uint32: the group of each member, groups in the order of their smallest member."""
        root = np.array([self.root(i) for i in range(len(self.parent))])
        _, first, inverse = np.unique(root, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.uint32)
        rank[np.argsort(first)] = np.arange(len(first), dtype=np.uint32)
        result: np.ndarray = rank[inverse]
        return result


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


def _overlaps(masks: _Masks, gap: int) -> tuple[np.ndarray, np.ndarray]:
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


def _attraction(masks: _Masks, spacing: Spacing, iou: float, iom: float, max_gap: int) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) pairs that may be one object, and (E,) how strongly."""
    has_next, has_previous = np.zeros(len(masks.area), bool), np.zeros(len(masks.area), bool)
    all_pairs, all_strength = [], []
    for gap in range(max_gap + 1):
        if gap + 1 >= len(masks.labels):
            break
        pairs, common = _overlaps(masks, gap)
        a, b = masks.area[pairs[:, 0]], masks.area[pairs[:, 1]]
        smaller = np.minimum(a, b)
        of_union, of_smaller = common / (a + b - common), common / smaller
        radius = np.sqrt(smaller * spacing[1] * spacing[2] / np.pi)
        ease = 1 / (1 + (gap + 1) * spacing[0] / radius)
        shift = np.linalg.norm(masks.centre[pairs[:, 0]] - masks.centre[pairs[:, 1]], axis=1)
        strength = (of_union + of_smaller) / 2 / (1 + 0.5 * shift / (radius + spacing[0]))
        usable = (of_union >= iou * ease) | (of_smaller >= iom * ease)
        if gap:
            usable &= _alone(pairs, usable, has_next, has_previous)
        pairs, strength = pairs[usable], strength[usable] / (gap + 1)
        has_next[pairs[:, 0]] = True
        has_previous[pairs[:, 1]] = True
        all_pairs.append(pairs)
        all_strength.append(strength)
    if not all_pairs:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    return np.concatenate(all_pairs), np.concatenate(all_strength)


def _alone(pairs: np.ndarray, usable: np.ndarray, has_next: np.ndarray, has_previous: np.ndarray) -> np.ndarray:
    """(E,) bool: gaps close only between two masks that end there and have one candidate each."""
    free = usable & ~has_next[pairs[:, 0]] & ~has_previous[pairs[:, 1]]
    size = len(has_next)
    one_next = np.bincount(pairs[free, 0], minlength=size) == 1
    one_previous = np.bincount(pairs[free, 1], minlength=size) == 1
    alone: np.ndarray = free & one_next[pairs[:, 0]] & one_previous[pairs[:, 1]]
    return alone


def _repulsion(masks: _Masks) -> list[tuple[int, int]]:
    """Touching masks of one slice, except where a single mask contains both in each neighbouring slice that has one.

    A profile that falls in two for one slice only, between slices where it is whole, is noise; it does not repel
    itself.
    """
    touching = _touching(masks.labels)
    if len(touching) == 0:
        return []
    pairs, common = _overlaps(masks, 0)
    within: dict[int, dict[int, set[int]]] = {-1: {}, 1: {}}
    for (a, b), n in zip(pairs.tolist(), common.tolist(), strict=True):
        if n >= _CONTAINED * masks.area[a]:
            within[1].setdefault(a, set()).add(b)
        if n >= _CONTAINED * masks.area[b]:
            within[-1].setdefault(b, set()).add(a)
    parted = []
    last = len(masks.labels) - 1
    for a, b in touching.tolist():
        z = masks.slice_of[a]
        sides = [side for side in (-1, 1) if 0 <= z + side <= last]
        joined = [bool(within[side].get(a, set()) & within[side].get(b, set())) for side in sides]
        if not joined or not all(joined):
            parted.append((a, b))
    return parted


def _touching(labels: np.ndarray) -> np.ndarray:
    """(N, 2) pairs of masks that are neighbours (8-neighbourhood) in a slice."""
    pairs = [cc3d.region_graph(plane, connectivity=8) for plane in labels]
    return np.array(sorted((min(p), max(p)) for found in pairs for p in found), np.int64).reshape(-1, 2)
