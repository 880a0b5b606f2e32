"""Prompts simulated from truth, as inference will give them: jittered boxes and centroids, negative neighbours, false ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from mitoscale.ops.prompts import interior_point

POINTS = 5
"""Points of a prompt: two box corners, a positive point, up to two negative ones; the rest is padding."""

LEAST_AREA = 150
"""Pixels of the smallest profile that is asked for."""

_PADDING, _NEGATIVE, _POSITIVE, _BOX_START, _BOX_STOP = -1, 0, 1, 2, 3
_BOX_JITTER, _LARGEST_JITTER = 0.08, 16
_CENTROID_JITTER = 0.1
_FALSE_DISTANCE = 6


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """The prompts of one window."""

    points: np.ndarray
    """(P, POINTS, 2) float32 pixel coordinates (y, x)."""
    meaning: np.ndarray
    """(P, POINTS) int64: see :mod:`mitoscale.nets.mask_decoding`."""
    masks: np.ndarray
    """(P, S, S) bool truth; empty for a false prompt."""
    known: np.ndarray
    """(S, S) bool: where the window is annotated; elsewhere a mask may go on or not."""


def simulate(
    profiles: np.ndarray, count: int, rng: np.random.Generator, kind: str | None = None, false_share: float = 0.0
) -> Prompted | None:
    """Prompts for random profiles of a window.

    Parameters
    ----------
    profiles : (S, S) integer
        Connected 2D profiles, 0 is background; negative where nobody has annotated: no prompt lies there but corners of boxes.
    count : int
        Prompts wanted; profiles repeat where there are fewer.
    rng : numpy Generator
        Source of randomness.
    kind : {"box", "jittered box", "point", "centroid"}, optional
        One prompt of this kind for each of the first ``count`` profiles: the exact box; the box with each corner moved by a
        normal distance of 8 % of its side, at most 16 pixels; the innermost point; the centroid, or the innermost point where
        that lies outside. Without it a jittered mixture for training.
    false_share : float
        In the mixture, the part of the prompts that is moved to where there is no mitochondrion.

    Returns
    -------
    Prompted or None
        None where no profile has at least 150 pixels.
    """
    areas = np.bincount(np.maximum(profiles, 0).ravel())
    areas[0] = 0
    usable = np.flatnonzero(areas >= LEAST_AREA)
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
        use = kind or rng.choice(["jittered box", "point", "both"], p=[0.3, 0.35, 0.35])
        if use in ("box", "jittered box", "both"):
            corners = np.array([[rows.start, columns.start], [rows.stop - 1, columns.stop - 1]], np.float32)
            if use != "box":
                jitter = np.clip(rng.normal(0, _BOX_JITTER, (2, 2)) * crop.shape, -_LARGEST_JITTER, _LARGEST_JITTER)
                corners = np.clip(corners + jitter, 0, profiles.shape[0] - 1).astype(np.float32)
            points[i, :2], meaning[i, :2] = corners, (_BOX_START, _BOX_STOP)
        if use in ("point", "both", "centroid"):
            inside = interior_point(crop) if use == "centroid" else _point(crop, rng, exact=kind is not None)
            points[i, 2], meaning[i, 2] = inside + (rows.start, columns.start), _POSITIVE
        if kind is None and rng.random() < 0.4:
            _add_negatives(points[i], meaning[i], profiles, int(profile), rng)
    found = Prompted(points=points, meaning=meaning, masks=masks, known=profiles >= 0)
    return _with_false(found, profiles, false_share, rng) if kind is None and false_share else found


def _point(crop: np.ndarray, rng: np.random.Generator, exact: bool) -> np.ndarray:
    """(2,) a pixel of the mask: its innermost, or any, or its centroid, jittered as a detection is."""
    if exact:
        depth = ndimage.distance_transform_edt(np.pad(crop, 1))[1:-1, 1:-1]
        return np.array(np.unravel_index(int(depth.argmax()), crop.shape))
    if rng.random() < 0.5:
        inside = np.argwhere(crop)
        point: np.ndarray = inside[rng.integers(len(inside))]
        return point
    centre = interior_point(crop)
    jitter = rng.normal(0, _CENTROID_JITTER, 2) * crop.shape
    moved = np.clip(np.rint(centre + jitter), 0, np.array(crop.shape) - 1).astype(np.int64)
    return moved if crop[tuple(moved)] else centre


def _add_negatives(points: np.ndarray, meaning: np.ndarray, profiles: np.ndarray, profile: int, rng: np.random.Generator) -> None:
    """Negative points on other profiles, in place."""
    others = np.flatnonzero((profiles > 0).ravel() & (profiles != profile).ravel())
    if len(others) == 0:
        return
    for slot in range(3, 3 + int(rng.integers(1, 3))):
        points[slot] = np.unravel_index(rng.choice(others), profiles.shape)
        meaning[slot] = _NEGATIVE


def _with_false(prompted: Prompted, profiles: np.ndarray, share: float, rng: np.random.Generator) -> Prompted:
    """The same prompts, some of them moved to where there is nothing: their masks are empty."""
    nothing = np.flatnonzero(ndimage.distance_transform_edt(profiles == 0) > _FALSE_DISTANCE)
    if len(nothing) == 0:
        return prompted
    points, meaning, masks = prompted.points.copy(), prompted.meaning.copy(), prompted.masks.copy()
    for i in np.flatnonzero(rng.random(len(points)) < share):
        used = meaning[i] >= _POSITIVE
        place = np.array(np.unravel_index(rng.choice(nothing), profiles.shape), np.float32)
        points[i, used] += place - points[i, used].mean(axis=0)
        points[i] = np.clip(points[i], 0, np.array(profiles.shape) - 1)
        meaning[i, ~used], points[i, ~used] = _PADDING, 0
        masks[i] = False
    return replace(prompted, points=points, meaning=meaning, masks=masks)


def corrections(found: np.ndarray, wanted: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A further point for each prompt, where its mask is wrong, as a person would click (Kirillov et al. 2023, appendix A).

    Parameters
    ----------
    found, wanted : (P, L, L) bool
        Masks that came back, and the truth at the same scale.
    size : int
        Height and width of the window in pixels, to which the points belong.
    rng : numpy Generator
        Source of randomness.

    Returns
    -------
    points : (P, 1, 2) float32
        A random pixel (y, x) of what is wrong.
    meaning : (P, 1) int64
        Positive where the mask lacks it, negative where it is too much; padding where nothing is wrong or wanted.
    """
    points = np.zeros((len(found), 1, 2), np.float32)
    meaning = np.full((len(found), 1), _PADDING, np.int64)
    for i, (have, want) in enumerate(zip(found, wanted, strict=True)):
        wrong = np.flatnonzero(have != want)
        if len(wrong) and want.any():
            at = np.unravel_index(rng.choice(wrong), have.shape)
            points[i, 0] = (np.array(at) + 0.5) * size / have.shape[0] - 0.5
            meaning[i, 0] = _POSITIVE if want[at] else _NEGATIVE
    return points, meaning
