"""Perturbed masks: true profiles with the mistakes a network makes, so that linking can be measured against their strength."""

from __future__ import annotations

import cc3d
import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import ndimage
from skimage.segmentation import expand_labels


class Mistakes(BaseModel):
    """How often, or how far, masks are wrong.

    Examples
    --------
    >>> Mistakes.of_strength(0.5).drop
    0.03
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    jitter: float = 0.0
    """Standard deviation, in pixels, by which outlines wander; whole slices move by a third of it."""
    drop: float = 0.0
    """Part of the masks, 0..1, that is missing."""
    drop_slice: float = 0.0
    """Part of the slices, 0..1, that has no mask at all."""
    split: float = 0.0
    """Part of the masks, 0..1, that is cut in two."""
    merge: float = 0.0
    """Part of the pairs of masks at most four pixels apart, 0..1, that is one mask."""

    @classmethod
    def of_strength(cls, strength: float) -> Mistakes:
        """All mistakes at once: none at 0; at 1, 6 % of the masks missing, and 8 % of masks split, and of neighbours merged."""
        return cls(
            jitter=1.5 * strength, drop=0.06 * strength, drop_slice=0.02 * strength, split=0.08 * strength, merge=0.08 * strength
        )


def perturb(labels: np.ndarray, mistakes: Mistakes, seed: int) -> np.ndarray:
    """Masks of each slice, with mistakes.

    Parameters
    ----------
    labels : (Z, Y, X) integer
        The truth; 0 is background.
    mistakes : Mistakes
        How often.
    seed : int
        The same seed makes the same mistakes.

    Returns
    -------
    (Z, Y, X) int32
        Masks numbered from 1 within each slice; without mistakes the 8-connected parts of each label in each slice.

    Examples
    --------
    >>> perturb(np.array([[[5, 0, 5, 7]]]), Mistakes(), seed=0).tolist()
    [[[1, 0, 2, 3]]]
    """
    result = np.zeros(labels.shape, np.int32)
    for z, plane in enumerate(labels):
        rng = np.random.default_rng((seed, z))
        if plane.any() and rng.random() >= mistakes.drop_slice:
            result[z] = _slice(np.ascontiguousarray(plane), mistakes, rng)
    return result


def _slice(plane: np.ndarray, mistakes: Mistakes, rng: np.random.Generator) -> np.ndarray:
    """(Y, X) int32 masks of one slice."""
    if mistakes.jitter:
        plane = _jittered(plane, mistakes.jitter, rng)
    masks = _parts(plane)
    if mistakes.split:
        masks = _parts(_split(masks, mistakes.split, rng))
    if mistakes.merge:
        masks = _merged(masks, mistakes.merge, rng)
    count = int(masks.max(initial=0))
    kept = np.append(False, rng.random(count) >= mistakes.drop)
    return np.where(kept[masks], masks, 0)


def _parts(plane: np.ndarray) -> np.ndarray:
    # cc3d 4.1.1 mistakes thin 2D bool arrays; what comes here is integer.
    parts: np.ndarray = cc3d.connected_components(plane.astype(np.int32), connectivity=8)
    return parts.astype(np.int32)


def _jittered(plane: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """The slice seen through a smooth random displacement."""
    places = []
    for axis in (0, 1):
        coarse = rng.normal(size=[n // 8 + 4 for n in plane.shape])
        field = ndimage.zoom(coarse, 8, order=1)[: plane.shape[0], : plane.shape[1]]
        shift = field * deviation + rng.normal() * deviation / 3
        places.append(np.rint(np.arange(plane.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1)) + shift).astype(int))
    y, x = (np.clip(p, 0, n - 1) for p, n in zip(places, plane.shape, strict=True))
    seen: np.ndarray = plane[y, x]
    return seen


def _split(masks: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """Some masks cut in two by a line near the middle; both sides touch."""
    result, highest = masks.copy(), int(masks.max(initial=0))
    for label, box in enumerate(ndimage.find_objects(masks), start=1):
        if box is None or rng.random() >= part:
            continue
        inside = masks[box] == label
        y, x = np.nonzero(inside)
        angle, offset = rng.uniform(0, np.pi), rng.normal(0, 0.15)
        across = (y - y.mean()) * np.cos(angle) + (x - x.mean()) * np.sin(angle)
        behind = across > offset * max(np.ptp(across), 1.0)
        result[box][y[behind], x[behind]] = highest + label
    return result


def _merged(masks: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """Some pairs of near masks made one, the gap between them filled."""
    near = sorted(cc3d.region_graph(expand_labels(masks, 2).astype(np.uint32), connectivity=4))
    name = np.arange(int(masks.max(initial=0)) + 1)
    for a, b in near:
        if rng.random() < part:
            name[name == name[b]] = name[a]
    result = name[masks].astype(np.int32)
    joined = np.flatnonzero(np.bincount(name) > 1)
    boxes = ndimage.find_objects(result)
    for label in joined.tolist():
        box = boxes[label - 1]
        closed = ndimage.binary_closing(np.pad(result[box] == label, 2), np.ones((5, 5), bool))[2:-2, 2:-2]
        result[box][closed & (result[box] == 0)] = label
    return result
