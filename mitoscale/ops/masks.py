"""Masks of one slice: which stay, who owns a pixel, and who claims what no mask covers.

Masks carry the number of the profile they were asked for; several masks of one profile are parts of it and never
compete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True, kw_only=True)
class Mask:
    """A 2D mask, kept as a crop."""

    y0: int
    """First row of the crop in the slice."""
    x0: int
    """First column of the crop in the slice."""
    mask: np.ndarray
    """(H, W) bool."""
    logits: np.ndarray | None = None
    """(H, W) float32: above 0 inside; None: all inside pixels count the same."""
    score: float
    """Larger is better."""
    profile: int
    """Number of the profile it was asked for, from 1."""

    @property
    def slices(self) -> tuple[slice, slice]:
        """The crop's place as slices into the slice."""
        height, width = self.mask.shape
        return slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width)


def masks_of(full: np.ndarray, scores: np.ndarray) -> list[Mask]:
    """Crops of full masks; empty ones are left out.

    Parameters
    ----------
    full : (N, Y, X) bool
        Mask of prompt i, which asks for profile i + 1.
    scores : (N,) float
        Larger is better.

    Examples
    --------
    >>> [m.mask.shape for m in masks_of(np.pad(np.ones((1, 2, 3), bool), ((0, 1), (1, 1), (1, 1))), np.ones(2))]
    [(2, 3)]
    """
    found = []
    for i, (mask, score) in enumerate(zip(full, scores, strict=True)):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            found.append(Mask(y0=int(rows[0]), x0=int(columns[0]), mask=crop, score=float(score), profile=i + 1))
    return found


def suppress(masks: Sequence[Mask], *, iou: float, iom: float) -> list[int]:
    """Masks that stay when, best score first, those too similar to a better one of another profile go.

    Parameters
    ----------
    masks : sequence of Mask
        Ties of score go to the smaller profile.
    iou : float
        Largest intersection over union with a mask that stays.
    iom : float
        Largest intersection over the smaller of both.

    Returns
    -------
    list of int
        Indices that stay, best first.
    """
    order = sorted(range(len(masks)), key=lambda i: (-masks[i].score, masks[i].profile, masks[i].y0, masks[i].x0))
    areas = [int(m.mask.sum()) for m in masks]
    start = np.array([(m.y0, m.x0) for m in masks]).reshape(-1, 2)
    stop = start + np.array([m.mask.shape for m in masks]).reshape(-1, 2)
    profile = np.array([m.profile for m in masks])
    stays = np.zeros(len(masks), bool)
    kept: list[int] = []
    for i in order:
        near = stays & (profile != profile[i]) & (start < stop[i]).all(axis=1) & (stop > start[i]).all(axis=1)
        if all(_differ(masks[i], masks[j], areas[i], areas[j], iou, iom) for j in np.flatnonzero(near).tolist()):
            kept.append(i)
            stays[i] = True
    return kept


def _differ(a: Mask, b: Mask, area_a: int, area_b: int, iou: float, iom: float) -> bool:
    shared = _intersection(a, b)
    return shared <= iou * (area_a + area_b - shared) and shared <= iom * min(area_a, area_b)


def _intersection(a: Mask, b: Mask) -> int:
    y0, x0 = max(a.y0, b.y0), max(a.x0, b.x0)
    y1 = min(a.y0 + a.mask.shape[0], b.y0 + b.mask.shape[0])
    x1 = min(a.x0 + a.mask.shape[1], b.x0 + b.mask.shape[1])
    part_a = a.mask[y0 - a.y0 : y1 - a.y0, x0 - a.x0 : x1 - a.x0]
    return int((part_a & b.mask[y0 - b.y0 : y1 - b.y0, x0 - b.x0 : x1 - b.x0]).sum())


def paint(shape: tuple[int, ...], masks: Sequence[Mask]) -> np.ndarray:
    """Each pixel to the profile whose mask has the highest logit there.

    Parameters
    ----------
    shape : (Y, X)
        Of the slice.
    masks : sequence of Mask
        Earlier ones win ties. Where one has no logits its score stands for them.

    Returns
    -------
    (Y, X) int32
        Number of the profile; 0 where there is no mask.
    """
    labels = np.zeros(shape, np.int32)
    highest = np.full(shape, -np.inf, np.float32)
    for mask in masks:
        values = mask.logits if mask.logits is not None else np.full(mask.mask.shape, mask.score, np.float32)
        take = mask.mask & (values > highest[mask.slices])
        labels[mask.slices][take] = mask.profile
        highest[mask.slices][take] = values[take]
    return labels


def score_of_profiles(masks: Sequence[Mask]) -> np.ndarray:
    """How sure the segmenter is of what it answered for each profile.

    Parameters
    ----------
    masks : sequence of Mask
        Those that stay.

    Returns
    -------
    (M,) float64
        Indexed by the profile's number: mean score of its masks, weighted by their pixels; 0 where it has none. In steps
        of 1/1024, so that sums over voxels are exact in any order.

    Examples
    --------
    >>> mask = Mask(y0=0, x0=0, mask=np.ones((2, 2), bool), score=0.75, profile=2)
    >>> score_of_profiles([mask]).tolist()
    [0.0, 0.0, 0.75]
    """
    profile = np.array([m.profile for m in masks], np.int64)
    pixels = np.array([int(m.mask.sum()) for m in masks], np.float64)
    scores = np.array([m.score for m in masks], np.float64)
    total = np.bincount(profile, pixels * scores, minlength=1)
    return np.rint(total / np.maximum(np.bincount(profile, pixels, minlength=1), 1) * 1024) / 1024


def clip_to_foreground(labels: np.ndarray, foreground: np.ndarray, distance: float, aspect: float = 1.0) -> np.ndarray:
    """Labels only within ``distance`` pixels of the foreground.

    Parameters
    ----------
    labels : (Y, X) int32
        Painted masks.
    foreground : (Y, X) bool
        Where the detector sees mitochondria.
    distance : float
        In pixels along y.
    aspect : float
        Width of a pixel (x) over its height (y).

    Returns
    -------
    (Y, X) int32
    """
    if not foreground.any():  # the distance to nothing is undefined
        return np.zeros_like(labels)
    near = ndimage.distance_transform_edt(~foreground, sampling=(1.0, aspect)) <= distance
    return np.where(near, labels, 0)


def fill_unclaimed(labels: np.ndarray, profiles: np.ndarray, least: int = 4) -> np.ndarray:
    """Foreground that no mask claims falls back to the watershed's profile.

    Parameters
    ----------
    labels : (Y, X) int32
        Masks, numbered like the profiles they were asked for.
    profiles : (Y, X) int32
        The watershed's profiles, numbered from 1.
    least : int
        Claimed crumbs of fewer pixels are given up.

    Returns
    -------
    (Y, X) int32
        The unclaimed rest of a profile joins the mask that was asked for there, or else the one that covers more than
        half of the profile; a profile with neither stands for itself.

    Examples
    --------
    >>> fill_unclaimed(np.array([[1, 1, 1, 1, 0, 0, 0]]), np.array([[1, 2, 2, 2, 2, 0, 3]]), least=2).tolist()
    [[1, 1, 1, 1, 1, 0, 3]]
    """
    size = max(int(profiles.max(initial=0)), int(labels.max(initial=0))) + 1
    areas = np.bincount(labels.ravel(), minlength=size)
    claimed = np.where(areas[labels] >= least, labels, 0)
    heir = np.arange(size)
    has_mask = np.bincount(claimed.ravel(), minlength=size) > 0
    both = (claimed > 0) & (profiles > 0) & ~has_mask[profiles]
    packed, count = np.unique(profiles[both].astype(np.int64) * size + claimed[both], return_counts=True)
    profile, mask = np.divmod(packed, size)
    most = 2 * count > np.bincount(profiles.ravel(), minlength=size)[profile]  # at most one mask covers more than half
    heir[profile[most]] = mask[most]
    return np.where(claimed > 0, claimed, heir[profiles]).astype(np.int32)
