"""Cutting one object in two, growing a new one from a point, and places by which an object is found again."""

from __future__ import annotations

import cc3d
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from mitoscale.core.geometry import Spacing, Triple

_DEEP = 2**25
"""Voxels of the largest box of which depths are computed."""


def split_mask(
    mask: np.ndarray, first: Triple, second: Triple, spacing: Spacing, foreground: np.ndarray | None = None
) -> np.ndarray:
    """The part of a mask that belongs to the second of two points.

    A watershed from the thickest places that lie uphill of both points: it meets where the object is thin, or where the
    foreground is unsure. Where both points lie on one thick place it meets half-way between them.

    Parameters
    ----------
    mask : (Z, Y, X) bool
        The object.
    first, second : (z, y, x)
        Voxels within it.
    spacing : (z, y, x)
        Voxel size in nm.
    foreground : (Z, Y, X) uint8, optional
        Probability times 255.

    Returns
    -------
    (Z, Y, X) bool
        What is not reached from either point stays with the first.

    Examples
    --------
    >>> bar = np.ones((1, 5, 20), bool)
    >>> bar[:, :2, 9:11] = bar[:, 3:, 9:11] = False  # two rooms and a door
    >>> part = split_mask(bar, (0, 2, 4), (0, 2, 15), (5.0, 5.0, 5.0))
    >>> int(part[..., :9].sum()), int(part[..., 11:].sum())
    (0, 45)
    """
    # Nothing is beyond the box, so that an object cut by the volume's border is as thick there as it looks.
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    paths = [_uphill(depth, point) for point in (first, second)]
    apart = paths[0][-1] != paths[1][-1]
    height = -depth / max(float(depth.max()), 1e-9) if apart else np.zeros(mask.shape)
    if foreground is not None:
        smooth = ndimage.gaussian_filter(foreground.astype(np.float32), [min(spacing) / s for s in spacing])
        height += 2 * (1 - smooth / 255)
    markers = np.zeros(mask.shape, np.int32)
    for number, path in enumerate(paths, 1):
        for voxel in path if apart else path[:1]:
            markers[voxel] = number
    markers[first], markers[second] = 1, 2
    part: np.ndarray = watershed(height, markers, mask=mask) == 2
    return part


def _uphill(depth: np.ndarray, point: Triple) -> list[Triple]:
    """The voxels from a point to where the object is thickest, always to the deepest neighbour."""
    path = [point]
    while True:
        low = [max(0, v - 1) for v in path[-1]]
        around = depth[tuple(slice(a, v + 2) for a, v in zip(low, path[-1], strict=True))]
        step = np.unravel_index(int(around.argmax()), around.shape)
        z, y, x = (int(a + s) for a, s in zip(low, step, strict=True))
        if not depth[z, y, x] > depth[path[-1]]:
            return path
        path.append((z, y, x))


def grown(foreground: np.ndarray, free: np.ndarray, point: Triple, threshold: float) -> np.ndarray:
    """The connected foreground around a point that belongs to no object yet.

    Parameters
    ----------
    foreground : (Z, Y, X) uint8
        Probability times 255.
    free : (Z, Y, X) bool
        Where there is no object.
    point : (z, y, x)
        A voxel.
    threshold : float
        Probability 0..1 from which a voxel counts.

    Returns
    -------
    (Z, Y, X) bool
        Empty where the point is no free foreground.
    """
    parts = cc3d.connected_components(np.ascontiguousarray(free & (foreground >= threshold * 255)), connectivity=26)
    grown: np.ndarray = (parts == parts[point]) & (parts[point] > 0)
    return grown


def inner_places(mask: np.ndarray, most: int = 16) -> np.ndarray:
    """Voxels well inside an object and spread over all of it: another outline of the same object still holds them.

    Parameters
    ----------
    mask : (Z, Y, X) bool
        The object.
    most : int
        So many at most.

    Returns
    -------
    (N, 3) int
        z, y, x; empty where the mask is.

    Examples
    --------
    >>> inner_places(np.ones((1, 5, 5), bool), most=3).tolist()
    [[0, 1, 2], [0, 2, 2], [0, 3, 2]]
    """
    inner = mask
    if mask.size <= _DEEP and mask.any():
        depth = ndimage.distance_transform_edt(np.pad(mask, ((0, 0), (1, 1), (1, 1))))[:, 1:-1, 1:-1]
        inner = depth >= np.quantile(depth[mask], 0.7)
    at = np.argwhere(inner)
    count = min(most, len(at))
    return at[[(2 * i + 1) * len(at) // (2 * count) for i in range(count)]]
