"""Repulsion: what tells masks apart. Masks that touch in a slice are different objects, and so are those that one slice merges."""

from __future__ import annotations

import cc3d
import numpy as np

from mitoscale.core.geometry import Spacing
from mitoscale.ops.slice_masks import Overlaps, SliceMasks

_CONTAINED = 0.8
"""One mask holds another that lies in it with at least this part."""

_HELD = 0.6
"""A merger holds at least this part of each of the masks that it merges."""

_GOES_ON = 0.5
"""A mask goes on behind a merger in one that shares at least this part of the larger of both."""

_FILLED = 0.85
"""What a merger merges fills at least this part of it; a bridge between two arms is filled less."""

_REPULSION = 1.5
"""How strongly touching masks repel; the strongest attraction of two masks is 1."""


def repulsion(masks: SliceMasks, overlaps: list[Overlaps], spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) pairs that are different objects, and (E,) how clearly, below 0: touching masks, and what a merger merges.

    Touching masks repel a third as much where one mask of a neighbouring slice holds both, and not at all where both
    neighbouring slices say so: a profile that falls in two for one slice, between slices where it is whole, is noise.

    Parameters
    ----------
    masks : SliceMasks
        Numbered masks of all slices.
    overlaps : list of Overlaps
        Of neighbouring slices first; see :func:`mitoscale.ops.slice_masks.overlaps_of`.
    spacing : (z, y, x)
        Voxel size in nm.
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


def _holders(masks: SliceMasks, overlaps: Overlaps, part: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each mask the mask of the next, and of the previous, slice that holds ``part`` of it; 0 where none does."""
    pairs, common = overlaps
    forward, backward = np.zeros(len(masks.area), np.int64), np.zeros(len(masks.area), np.int64)
    a, b = pairs[common >= part * masks.area[pairs[:, 0]]].T
    forward[a] = b
    a, b = pairs[common >= part * masks.area[pairs[:, 1]]].T
    backward[b] = a
    return forward, backward


def _merged(masks: SliceMasks, overlaps: list[Overlaps], spacing: Spacing) -> np.ndarray:
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


def _filled(masks: SliceMasks, overlaps: Overlaps, forward: np.ndarray, backward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
