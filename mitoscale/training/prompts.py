"""Prompts simulated from truth, as inference will give them: jittered boxes, interior points, negative neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

POINTS = 5
"""Points of a prompt: two box corners, a positive point, up to two negative ones; the rest is padding."""

_PADDING, _NEGATIVE, _POSITIVE, _BOX_START, _BOX_STOP = -1, 0, 1, 2, 3
_MIN_AREA = 150


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """The prompts of one window."""

    points: np.ndarray
    """(P, POINTS, 2) float32 pixel coordinates (y, x)."""
    meaning: np.ndarray
    """(P, POINTS) int64: see :mod:`mitoscale.nets.sam`."""
    masks: np.ndarray
    """(P, S, S) bool truth."""


def simulate(profiles: np.ndarray, count: int, rng: np.random.Generator, kind: str | None = None) -> Prompted | None:
    """Prompts for random profiles of a window.

    Parameters
    ----------
    profiles : (S, S) unsigned
        Connected 2D profiles, 0 is background.
    count : int
        Prompts wanted; profiles repeat where there are fewer.
    rng : numpy Generator
        Source of randomness.
    kind : {"box", "point"}, optional
        Exact boxes, or the innermost point; without it a jittered mixture for training.

    Returns
    -------
    Prompted or None
        None where no profile has at least 150 pixels.
    """
    areas = np.bincount(profiles.ravel())
    areas[0] = 0
    usable = np.flatnonzero(areas >= _MIN_AREA)
    if len(usable) == 0:
        return None
    if kind is None:
        chosen = rng.permutation(np.resize(rng.permutation(usable), count))
    else:
        chosen = usable[:count]
    boxes = ndimage.find_objects(profiles.astype(np.int32))
    points = np.zeros((len(chosen), POINTS, 2), np.float32)
    meaning = np.full((len(chosen), POINTS), _PADDING, np.int64)
    masks = np.stack([profiles == p for p in chosen])
    for i, profile in enumerate(chosen):
        rows, columns = boxes[profile - 1]
        crop = masks[i][rows, columns]
        use = kind or rng.choice(["box", "point", "both"], p=[0.3, 0.35, 0.35])
        if use in ("box", "both"):
            corners = np.array([[rows.start, columns.start], [rows.stop - 1, columns.stop - 1]], np.float32)
            if kind is None:
                jitter = np.clip(rng.normal(0, 0.08, (2, 2)) * crop.shape, -16, 16)
                corners = np.clip(corners + jitter, 0, profiles.shape[0] - 1).astype(np.float32)
            points[i, :2], meaning[i, :2] = corners, (_BOX_START, _BOX_STOP)
        if use in ("point", "both"):
            points[i, 2] = _interior_point(crop, rng, exact=kind is not None) + (rows.start, columns.start)
            meaning[i, 2] = _POSITIVE
        if kind is None and rng.random() < 0.4:
            _add_negatives(points[i], meaning[i], profiles, int(profile), rng)
    return Prompted(points=points, meaning=meaning, masks=masks)


def _interior_point(crop: np.ndarray, rng: np.random.Generator, exact: bool) -> np.ndarray:
    """(2,) a pixel of the mask: its innermost, or a random one."""
    if exact or rng.random() < 0.5:
        depth = ndimage.distance_transform_edt(np.pad(crop, 1))[1:-1, 1:-1]
        return np.array(np.unravel_index(int(depth.argmax()), crop.shape))
    inside = np.argwhere(crop)
    point: np.ndarray = inside[rng.integers(len(inside))]
    return point


def _add_negatives(points: np.ndarray, meaning: np.ndarray, profiles: np.ndarray, profile: int, rng: np.random.Generator) -> None:
    """Negative points on other profiles, in place."""
    others = np.flatnonzero((profiles != 0).ravel() & (profiles != profile).ravel())
    if len(others) == 0:
        return
    for slot in range(3, 3 + int(rng.integers(1, 3))):
        points[slot] = np.unravel_index(rng.choice(others), profiles.shape)
        meaning[slot] = _NEGATIVE
