"""The masks of all slices of a block, numbered through and measured, and where masks of different slices overlap."""

from __future__ import annotations

from dataclasses import dataclass

import fastremap
import numpy as np

from mitoscale.core.geometry import Spacing

Overlaps = tuple[np.ndarray, np.ndarray]
"""(E, 2) pairs of masks, the one of the earlier slice first, and (E,) their common pixels."""


@dataclass(frozen=True)
class SliceMasks:
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


def number_masks(labels: np.ndarray, spacing: Spacing) -> SliceMasks:
    """Number the masks of all slices through, and measure them.

    Parameters
    ----------
    labels : (Z, Y, X) int32
        Masks of each slice, numbered within it; 0 is background.
    spacing : (z, y, x)
        Voxel size in nm.
    """
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
    return SliceMasks(numbered, pixels, radius, np.concatenate(centre), np.concatenate(slice_of))


def overlaps_of(masks: SliceMasks, gap: int) -> Overlaps:
    """(E, 2) pairs of masks ``gap + 1`` slices apart that overlap, and (E,) their common pixels.

    Parameters
    ----------
    masks : SliceMasks
        Numbered masks of all slices.
    gap : int
        Slices between both.
    """
    size = len(masks.area)
    found_pairs, found_counts = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for a, b in zip(masks.labels[: -gap - 1], masks.labels[gap + 1 :], strict=True):
        both = (a > 0) & (b > 0)
        if both.any():
            packed, count = np.unique(a[both].astype(np.int64) * size + b[both], return_counts=True)
            found_pairs.append(np.stack(np.divmod(packed, size), axis=1))
            found_counts.append(count)
    return np.concatenate(found_pairs), np.concatenate(found_counts)
