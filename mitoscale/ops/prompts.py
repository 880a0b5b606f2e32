"""Prompts of one slice: what a segmenter is asked, one prompt a profile."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The prompts of one slice; coordinates are pixels of the slice, axis order (y, x)."""

    profiles: np.ndarray
    """(Y, X) int32: the profile each pixel belongs to; 0 is background, prompt ``i`` asks for profile ``i + 1``. There may be
    more profiles than prompts."""
    points: np.ndarray
    """(N, 2) float32: an interior point of each profile."""
    boxes: np.ndarray
    """(N, 4) int32: y0, x0, y1, x1 of each profile, half-open."""
    others: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """(M, 2) float32: interior points of profiles that are not asked for."""

    def __len__(self) -> int:
        return len(self.points)


def prompts_from_profiles(profiles: np.ndarray, asked: int | None = None) -> Prompts:
    """One prompt for each profile.

    Parameters
    ----------
    profiles : (Y, X) int32
        Profiles numbered 1..N without gaps, 0 is background.
    asked : int, optional
        Only the first so many are asked for.

    Returns
    -------
    Prompts
        Point: the centroid where it lies inside, else the innermost pixel.

    Examples
    --------
    >>> prompts = prompts_from_profiles(np.pad(np.ones((3, 5), np.int32), 2))
    >>> prompts.points.tolist(), prompts.boxes.tolist()
    ([[3.0, 4.0]], [[2, 2, 5, 7]])
    """
    found = ndimage.find_objects(profiles)
    points, boxes = np.zeros((len(found), 2), np.float32), np.zeros((len(found), 4), np.int32)
    for i, (rows, columns) in enumerate(found):
        points[i] = interior_point(profiles[rows, columns] == i + 1) + (rows.start, columns.start)
        boxes[i] = rows.start, columns.start, rows.stop, columns.stop
    return Prompts(profiles=profiles, points=points[:asked], boxes=boxes[:asked], others=points[len(points[:asked]) :])


def interior_point(mask: np.ndarray) -> np.ndarray:
    """A pixel inside a mask: the one at its centroid, or the innermost where the centroid is outside (a crescent).

    Parameters
    ----------
    mask : (H, W) bool
        At least one True.

    Returns
    -------
    (2,) int64
        y, x.
    """
    inside = np.argwhere(mask)
    centre = np.rint(inside.mean(axis=0)).astype(np.int64)
    if mask[tuple(centre)]:
        return centre
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.array(np.unravel_index(int(depth.argmax()), mask.shape))
