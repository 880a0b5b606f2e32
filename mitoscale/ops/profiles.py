"""Profiles and detections: the connected pieces of foreground in a slice, and a point inside each."""

from __future__ import annotations

import cc3d
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from mitoscale.ops.prompts import interior_point

_SMOOTHING = 0.15
"""The distance transform is smoothed over this part of the wanted separation, so that rough outlines make no peaks."""

_LEVELS = tuple(float(1 / (1 + np.exp(-logit))) for logit in np.arange(4.9, -0.1, -0.35))
"""Probabilities, 0.993 to 0.5, at which a component may fall apart: a network is a little less sure of the membranes between two
that touch."""

_LEAST_DIP = 2
"""Levels at which two pieces must be apart: a shallower dip is no membrane."""

_GRAIN = 1 / 12
"""The probability is smoothed over this part of the wanted separation, so that a grey step or two decide nothing."""

_LEAST_RADIUS = 3.0
"""Pixels of the smallest disc that makes a piece thick; at coarser pixels than that only necks split."""


def profiles(probability: np.ndarray, threshold: float, min_separation: float, aspect: float = 1.0) -> np.ndarray:
    """Components of the foreground; touching ones are split where the probability dips between them, and at necks.

    A component whose surer part falls into several thick pieces, at probabilities of a half and more, is one profile a piece: a
    watershed of the probability from these pieces finds the lines between them. Each is then split by a watershed from the peaks
    of its distance transform, where a neck parts them.

    Parameters
    ----------
    probability : (Y, X) float
        Foreground probability 0..1.
    threshold : float
        Probability from which a pixel counts.
    min_separation : float
        Least distance between two peaks, in pixels along y. A thick piece holds a disc of this diameter.
    aspect : float
        Width of a pixel (x) over its height (y).

    Returns
    -------
    (Y, X) int32
        Profiles numbered 1..N, 0 is background.

    Examples
    --------
    >>> two = np.zeros((20, 40)); two[5:15, 3:15] = 1; two[5:15, 22:34] = 1
    >>> int(profiles(two, 0.5, 8).max())
    2
    >>> touching = np.full((20, 41), 0.95); touching[:, 20] = 0.6
    >>> int(profiles(touching, 0.5, 8).max())
    2
    """
    mask = probability >= threshold
    result = np.zeros(mask.shape, np.int32)
    if not mask.any():
        return result
    # cc3d 4.1.1 gives wrong components for some 2D bool arrays; uint8 takes another, correct path.
    components = cc3d.connected_components(mask.astype(np.uint8), connectivity=8)
    next_label = 1
    for label, region in enumerate(ndimage.find_objects(components.astype(np.int32)), start=1):
        if region is None:
            continue
        crop = components[region] == label
        pieces = _split(crop, probability[region], min_separation, aspect)
        result[region][crop] = pieces[crop] + (next_label - 1)
        next_label += int(pieces.max())
    return result


def _split(mask: np.ndarray, probability: np.ndarray, min_separation: float, aspect: float) -> np.ndarray:
    """(H, W) int32: one component as pieces 1..N: split where the probability dips between thick ones, then at necks."""
    if max(mask.shape[0], mask.shape[1] * aspect) < 2 * min_separation:
        return mask.astype(np.int32)
    radius = min_separation / 2
    markers = _thick_pieces(mask, probability, radius, aspect) if radius >= _LEAST_RADIUS else None
    if markers is None:
        return _split_at_necks(mask, min_separation, aspect)
    parts = watershed(-probability, markers, connectivity=2, mask=mask)
    pieces, count = np.zeros(mask.shape, np.int32), 0
    for label, region in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[region] == label
        own = _split_at_necks(part, min_separation, aspect)
        pieces[region][part] = own[part] + count
        count += int(own.max())
    return pieces


def _thick_pieces(mask: np.ndarray, probability: np.ndarray, radius: float, aspect: float) -> np.ndarray | None:
    """(H, W) int32: the pieces 1..N of a component that hold a disc and are apart from all others at several levels.

    None where there are not two of them. From the highest level down, a piece is new where none that is known lies in it; pieces
    that hang together too soon after the later one of them was found are one.
    """
    sigma = 2 * radius * _GRAIN
    levels = _parts_by_level(mask, ndimage.gaussian_filter(probability, (sigma, sigma / aspect)), radius, aspect)
    if levels is None:
        return None
    pieces, found_at = np.zeros(mask.shape, np.int32), [-1]
    for number, (parts, large) in enumerate(levels):
        known = pieces > 0
        new = large.copy()
        new[parts[known]] = False
        if new.any():
            depth = ndimage.distance_transform_edt(np.pad(parts > 0, 1), sampling=(1.0, aspect))[1:-1, 1:-1]
            thick = np.zeros(len(new), bool)
            thick[parts[depth >= radius + 0.5]] = True  # a lone pixel has depth 1
            new &= thick
        numbers = np.zeros(len(new), np.int32)
        numbers[new] = np.arange(len(found_at), len(found_at) + int(new.sum()))
        _join_those_found_late(pieces, parts, known, found_at, number)
        found_at += [number] * int(new.sum())
        pieces = np.where(new[parts], numbers[parts], pieces)
    left, renumbered = np.unique(pieces, return_inverse=True)
    return renumbered.reshape(pieces.shape).astype(np.int32) if len(left) > 2 else None


def _join_those_found_late(pieces: np.ndarray, parts: np.ndarray, known: np.ndarray, found_at: list[int], level: int) -> None:
    """Pieces of one part, in place: those that were found less than the least dip before get the number of the first one."""
    pairs = np.unique(np.stack([parts[known], pieces[known]]), axis=1)
    for part in np.unique(pairs[0]):
        first, *others = sorted(pairs[1, pairs[0] == part], key=lambda piece: (found_at[piece], piece))
        for piece in others:
            if level - found_at[piece] < _LEAST_DIP:
                pieces[pieces == piece] = first


def _parts_by_level(
    mask: np.ndarray, probability: np.ndarray, radius: float, aspect: float
) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Of each level the connected parts (H, W) of a component, and (N + 1,) which of them have the area of a disc.

    None where there are never two such parts, as is mostly so.
    """
    found, several = [], False
    for level in _LEVELS:
        parts = cc3d.connected_components((mask & (probability >= level)).astype(np.uint8), connectivity=4).astype(np.int32)
        large = np.bincount(parts.ravel()) * aspect >= 3 * radius**2  # less than pi: a disc of pixels is rough
        large[0] = False
        several |= int(large.sum()) > 1
        found.append((parts, large))
    return found if several else None


def _split_at_necks(mask: np.ndarray, min_separation: float, aspect: float) -> np.ndarray:
    """(H, W) int32: one component as pieces 1..N, one a peak that a clear neck parts from the others."""
    if max(mask.shape[0], mask.shape[1] * aspect) < 2 * min_separation:
        return mask.astype(np.int32)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=(1.0, aspect))[1:-1, 1:-1]
    sigma = [max(_SMOOTHING * n, 0.5) for n in (min_separation, min_separation / aspect)]
    smooth = ndimage.gaussian_filter(depth, sigma) * mask
    reach = [max(1, int(n / 2)) for n in (min_separation, min_separation / aspect)]
    window = np.ones([2 * n + 1 for n in reach], bool)
    peaks = peak_local_max(smooth, min_distance=min(reach), footprint=window, labels=mask.astype(np.int32), exclude_border=False)
    if len(peaks) < 2:
        return mask.astype(np.int32)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    # Components are 8-connected, so the flood is too: else pixels that hang on by a corner belong to no piece.
    pieces = watershed(-smooth, markers, connectivity=2, mask=mask).astype(np.int32)
    return _join_without_neck(pieces, smooth, peaks)


def _join_without_neck(pieces: np.ndarray, depth: np.ndarray, peaks: np.ndarray, neck: float = 0.65) -> np.ndarray:
    """Pieces joined again where the line between them is not clearly thinner than both (a long profile, not two)."""
    count = len(peaks)
    heights = depth[tuple(peaks.T)]
    saddle = np.zeros((count + 1, count + 1))
    for axis in (0, 1):
        a = pieces[:-1] if axis == 0 else pieces[:, :-1]
        b = pieces[1:] if axis == 0 else pieces[:, 1:]
        low = np.minimum(depth[:-1] if axis == 0 else depth[:, :-1], depth[1:] if axis == 0 else depth[:, 1:])
        touch = (a != b) & (a > 0) & (b > 0)
        np.maximum.at(saddle, (np.minimum(a, b)[touch], np.maximum(a, b)[touch]), low[touch])
    root = np.arange(count + 1)
    for i, j in sorted(zip(*np.nonzero(saddle), strict=True), key=lambda p: -saddle[p]):
        if saddle[i, j] > neck * min(heights[i - 1], heights[j - 1]):
            root[root == root[j]] = root[i]
    _, renumbered = np.unique(root, return_inverse=True)
    joined: np.ndarray = renumbered.astype(np.int32)[pieces]
    return joined


def detections_from_profiles(labels: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
    """One detection for each profile.

    Parameters
    ----------
    labels : (Y, X) int32
        Profiles numbered from 1.
    probability : (Y, X) float
        Foreground probability 0..1.

    Returns
    -------
    dict
        ``y``, ``x`` (N,) int64 interior point; ``score`` (N,) float32 mean probability; ``area`` (N,) int64 pixels;
        ``y0``, ``x0``, ``y1``, ``x1`` (N,) int64 half-open box.

    Examples
    --------
    >>> found = detections_from_profiles(np.array([[0, 1, 1, 1]], np.int32), np.full((1, 4), 0.75))
    >>> int(found["y"][0]), int(found["x"][0]), float(found["score"][0]), int(found["area"][0])
    (0, 2, 0.75, 3)
    """
    rows = []
    for label, region in enumerate(ndimage.find_objects(labels), start=1):
        if region is None:
            continue
        crop = labels[region] == label
        y, x = interior_point(crop)
        y0, x0 = region[0].start, region[1].start
        score = float(probability[region][crop].mean())
        rows.append((y + y0, x + x0, score, int(crop.sum()), y0, x0, region[0].stop, region[1].stop))
    names = ("y", "x", "score", "area", "y0", "x0", "y1", "x1")
    table = np.array(rows, dtype=np.float64).reshape(-1, len(names))
    return {n: table[:, i].astype(np.float32 if n == "score" else np.int64) for i, n in enumerate(names)}


def deduplicate(points: np.ndarray, scores: np.ndarray, distance: float) -> np.ndarray:
    """Points that stay when of two at most ``distance`` apart the lower-scored goes.

    Best score first: a point that has gone removes nobody.

    Parameters
    ----------
    points : (N, 3) float
        Coordinates in nm.
    scores : (N,) float
        Larger is better; ties go to the smaller coordinates (z, y, x).
    distance : float
        In nm.

    Returns
    -------
    (K,) int64
        Indices that stay, ascending.

    Examples
    --------
    >>> deduplicate(np.array([[0, 0, 0], [0, 0, 5], [0, 0, 50.0]]), np.array([0.5, 0.9, 0.1]), 10.0).tolist()
    [1, 2]
    """
    if len(points) == 0:
        return np.zeros(0, np.int64)
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0], -scores))
    rank = np.empty(len(points), np.int64)
    rank[order] = np.arange(len(points))
    pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
    better = np.where(rank[pairs[:, 0]] < rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    worse = pairs.sum(axis=1) - better
    kept = np.ones(len(points), bool)
    for i in np.argsort(rank[better], kind="stable"):
        if kept[better[i]]:
            kept[worse[i]] = False
    return np.flatnonzero(kept)
