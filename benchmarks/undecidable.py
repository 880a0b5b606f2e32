"""Which objects of a truth cannot be told from the masks of its slices. It is a question to the truth alone, not to a result.

Masks carry no names: that two masks of neighbouring slices are one object can be seen from their likeness alone, the mean of IoU
and intersection over the smaller one. Two masks of two objects are *as one* where they are at least as alike as the least alike
hundredth of all true continuations at the same distance, and where one of both objects has its end there. An object is undecidable

- ``ends meet``: if a mask of it and one of another object are as one in neighbouring slices, and the two objects touch in no
  slice, which would tell them apart;
- ``gap``: the same over one or two slices in which neither object lies between the masks, and both have their ends: so looks an
  object of which masks are missing;
- ``in pieces``: if its own masks do not hang together by masks of neighbouring slices that overlap.

Whoever gets all of the first kind right cuts one in a hundred true objects from slice to slice.
"""

from __future__ import annotations

from collections import defaultdict

import cc3d
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mitoscale.core.geometry import Spacing
from mitoscale.ops.slice_masks import Overlaps, SliceMasks, number_masks, overlaps_of
from synthetic.perturb import Mistakes, perturb

GAPS = 2
"""Most slices that are skipped."""

PART = 1.0
"""Percent of true continuations that are less alike than masks which pass for one."""


def undecidable(truth: np.ndarray, spacing: Spacing) -> dict[int, str]:
    """Objects that slices cannot tell, and why.

    Parameters
    ----------
    truth : (Z, Y, X) unsigned
        26-connected objects; 0 is background.
    spacing : (z, y, x)
        Voxel size in nm.
    """
    masks = number_masks(perturb(truth, Mistakes(), seed=0), spacing)
    owner = np.zeros(len(masks.area), np.int64)
    owner[masks.labels.ravel()] = truth.ravel()
    owner[0] = 0
    overlaps = [overlaps_of(masks, gap) for gap in range(GAPS + 1)]
    found = dict.fromkeys(_in_pieces(owner, overlaps[0]), "in pieces")
    beside = _beside(truth)
    for gap in range(GAPS + 1):
        for a, b in _as_one(masks, owner, overlaps, gap).tolist():
            if (min(a, b), max(a, b)) not in beside:
                for label in (a, b):
                    found.setdefault(label, "gap" if gap else "ends meet")
    return found


def _as_one(masks: SliceMasks, owner: np.ndarray, overlaps: list[Overlaps], gap: int) -> np.ndarray:
    """(E, 2) labels of different objects of which two masks, so many slices apart, are as one."""
    pairs, common = overlaps[gap]
    low, high = masks.area[pairs.T]
    likeness = (common / (low + high - common) + common / np.minimum(low, high)) / 2
    same = owner[pairs[:, 0]] == owner[pairs[:, 1]]
    goes_on, came = (np.zeros(len(owner), bool) for _ in range(2))
    for distance in range(gap + 1):
        near = overlaps[distance][0]
        own = near[owner[near[:, 0]] == owner[near[:, 1]]]
        goes_on[own[:, 0]], came[own[:, 1]] = True, True
    ends, begins = ~goes_on[pairs[:, 0]], ~came[pairs[:, 1]]
    alike = likeness >= np.percentile(likeness[same], PART) if same.any() else np.zeros(len(pairs), bool)
    chosen = ~same & alike & ((ends & begins) if gap else (ends | begins))
    return np.unique(owner[pairs[chosen]], axis=0)


def _in_pieces(owner: np.ndarray, overlaps: Overlaps) -> list[int]:
    """Labels of objects whose masks do not hang together."""
    pairs = overlaps[0][owner[overlaps[0][:, 0]] == owner[overlaps[0][:, 1]]]
    graph = coo_array((np.ones(len(pairs), bool), tuple(pairs.T)), shape=(len(owner), len(owner)))
    _, part = connected_components(graph, directed=False)
    parts: dict[int, set[int]] = defaultdict(set)
    for label, number in zip(owner[1:].tolist(), part[1:].tolist(), strict=True):
        parts[label].add(number)
    return sorted(label for label, numbers in parts.items() if len(numbers) > 1)


def _beside(truth: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of objects that touch in a slice (8-neighbourhood)."""
    found = (cc3d.region_graph(np.ascontiguousarray(plane), connectivity=8) for plane in truth.astype(np.uint32))
    return {(min(pair), max(pair)) for pairs in found for pair in pairs}
