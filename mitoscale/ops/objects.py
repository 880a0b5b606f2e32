"""Objects measured block by block: sums over each block's part, merged by label.

The parts of one object add up to exactly what the whole object gives: coordinates are summed as integers, relative to the
first corner of the part's box (never to the volume's origin, where the squares of a large volume leave 64 bits), and
moved to the common corner when parts are merged. What the sums mean is told by :mod:`mitoscale.ops.object_table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import fastremap
import numpy as np

from mitoscale.core.geometry import Region

Columns = dict[str, np.ndarray]
"""Column name -> (N,) values."""

_AXES = "zyx"
_LOWS = ("z0", "y0", "x0")
_HIGHS = ("z1", "y1", "x1")
_PRODUCTS = ("zz", "yy", "xx", "zy", "zx", "yx")
MARKS = ("padding", "replaced", "lost")
"""Places that are told of an object: beside padding, in a slice for which neighbours stand, beside a block that was given up."""

_COUNTS = ("voxels", *_AXES, *_PRODUCTS, "agreed", "own_voxels", "changed_voxels", *(f"at_{mark}" for mark in MARKS))
_GREYS = ("intensity", "foreground", "score_sum")


def partial_objects(
    labels: np.ndarray,
    image: np.ndarray | None = None,
    foreground: np.ndarray | None = None,
    fragments: Columns | None = None,
    marks: Mapping[str, np.ndarray] | None = None,
    *,
    core: Region,
    threshold: float = 0.5,
) -> Columns:
    """Sums over a block's part of each object.

    Parameters
    ----------
    labels : (Z, Y, X) unsigned
        Final labels of the core, 0 is background.
    image : (Z, Y, X), optional
        Grey values of the core; without them the sum of intensities is NaN.
    foreground : (Z, Y, X) uint8, optional
        Foreground probability 0..255 of the core; without it its sum is NaN.
    fragments : dict, optional
        What the segmenter tells of the block's fragments: ``label`` (F,), the object each belongs to; ``own_voxels`` (F,)
        that it claimed itself in the core, ``score_sum`` (F,) of their scores, and ``changed_voxels`` (F,) that are otherwise
        without it. Without ``fragments`` that sum is NaN.
    marks : dict, optional
        For some of :data:`MARKS` (Z, Y, X) bool of the core: the voxels that are there.
    core : Region
        What is counted.
    threshold : float
        Foreground probability 0..1 from which the detector agrees.

    Returns
    -------
    dict
        ``label`` (N,) uint64 ascending; int64: ``voxels``, the box ``z0`` .. ``x1`` (half-open, in voxels of the volume),
        sums of coordinates ``z``, ``y``, ``x`` and of their products ``zz`` .. ``yx`` relative to ``z0, y0, x0``,
        ``agreed`` (voxels where the detector agrees), ``own_voxels`` and ``changed_voxels``, and ``at_padding``, ``at_replaced``
        and ``at_lost`` (voxels that are marked); float64: sums ``intensity``, ``foreground`` and ``score_sum``.

    Raises
    ------
    ValueError
        If an array does not fit the core.

    Examples
    --------
    >>> sums = partial_objects(np.array([[[5, 5, 0], [0, 5, 0]]]), core=Region.of_shape((1, 2, 3)))
    >>> sums["label"].tolist(), sums["voxels"].tolist(), sums["x"].tolist(), sums["y1"].tolist()
    ([5], [3], [2], [2])
    """
    for name, values in (("labels", labels), ("image", image), ("foreground", foreground)):
        if values is not None and values.shape != core.shape:
            raise ValueError(f"{name} has shape {values.shape}, the core {core} has {core.shape}")
    present = fastremap.unique(labels)
    present = present[present > 0]
    sums = _sums(labels, image, foreground, present, threshold)
    columns: Columns = {"label": present.astype(np.uint64), **_cornered(sums)}
    for axis, names in enumerate(zip(_LOWS, _HIGHS, strict=True)):
        for name in names:
            columns[name] += core.start[axis]
    return columns | _claims(columns["label"], fragments) | _marked(labels, present, marks or {})


def merge_objects(parts: Sequence[Columns]) -> Columns:
    """Partial sums of several blocks as one table, one row a label.

    Associative and independent of the parts' order, bit for bit (grey sums: where the image holds integers).

    Parameters
    ----------
    parts : sequence of dict
        From :func:`partial_objects` or this function.

    Returns
    -------
    dict
        The same columns.
    """
    names = (*_COUNTS, *_GREYS, *_LOWS, *_HIGHS)
    joined = {name: np.concatenate([np.zeros(0, np.int64), *(p[name] for p in parts)]) for name in names}
    found = np.concatenate([np.zeros(0, np.uint64), *(p["label"].astype(np.uint64) for p in parts)])
    labels, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    merged: Columns = {"label": labels}
    for name in _LOWS:
        merged[name] = joined[name][first]
        np.minimum.at(merged[name], inverse, joined[name])
    for name in _HIGHS:
        merged[name] = joined[name][first]
        np.maximum.at(merged[name], inverse, joined[name])
    shift = {axis: joined[low] - merged[low][inverse] for axis, low in zip(_AXES, _LOWS, strict=True)}
    joined |= _moved(joined, shift)
    for name in (*_COUNTS, *_GREYS):
        merged[name] = np.zeros(len(labels), np.int64 if name in _COUNTS else np.float64)
        np.add.at(merged[name], inverse, joined[name])
    return merged


def _moved(sums: Columns, shift: Columns) -> Columns:
    """Sums of coordinates and products after each coordinate has grown by (N,) int64 ``shift[axis]``."""
    n = sums["voxels"]
    moved = {a: sums[a] + shift[a] * n for a in _AXES}
    for name in _PRODUCTS:
        a, b = name[0], name[1]
        moved[name] = sums[a + b] + shift[a] * sums[b] + shift[b] * sums[a] + shift[a] * shift[b] * n
    return moved


def _cornered(sums: Columns) -> Columns:
    """Sums relative to the corner of each object's box in place of the core's."""
    return sums | _moved(sums, {axis: -sums[low] for axis, low in zip(_AXES, _LOWS, strict=True)})


def _sums(
    labels: np.ndarray, image: np.ndarray | None, foreground: np.ndarray | None, present: np.ndarray, threshold: float
) -> Columns:
    """Boxes and sums of each of the (N,) labels ``present``, in coordinates of the core, plane by plane."""
    size = len(present)
    sums = {name: np.zeros(size, np.int64) for name in ("voxels", *_AXES, *_PRODUCTS, "agreed")}
    greys = {name: np.full(size, np.nan if grey is None else 0.0) for name, grey in zip(_GREYS, (image, foreground), strict=False)}
    low, high = np.full((3, size), np.iinfo(np.int64).max), np.zeros((3, size), np.int64)
    for z, plane in enumerate(labels):
        if not plane.any():
            continue
        y, x = np.nonzero(plane)
        numbers = np.searchsorted(present, plane[y, x])
        n = np.bincount(numbers, minlength=size)
        # A float64 holds these sums exactly: a plane's squares stay far below 2**53.
        in_plane = {"y": y, "x": x, "yy": y * y, "xx": x * x, "yx": y * x}
        add = {name: np.bincount(numbers, w, minlength=size).astype(np.int64) for name, w in in_plane.items()}
        add |= {"voxels": n, "z": z * n, "zz": z * z * n, "zy": z * add["y"], "zx": z * add["x"]}
        if foreground is not None:
            greys["foreground"] += np.bincount(numbers, foreground[z][y, x].astype(np.float64), minlength=size)
            agreed = numbers[foreground[z][y, x] / np.float32(255) >= threshold]
            add["agreed"] = np.bincount(agreed, minlength=size)
        if image is not None:
            greys["intensity"] += np.bincount(numbers, image[z][y, x].astype(np.float64), minlength=size)
        for name, values in add.items():
            sums[name] += values
        here = n > 0
        low[0, here], high[0, here] = np.minimum(low[0, here], z), z + 1
        for axis, places in ((1, y), (2, x)):
            np.minimum.at(low[axis], numbers, places)
            np.maximum.at(high[axis], numbers, places + 1)
    return {**sums, **greys, **dict(zip(_LOWS, low, strict=True)), **dict(zip(_HIGHS, high, strict=True))}


def _marked(labels: np.ndarray, present: np.ndarray, marks: Mapping[str, np.ndarray]) -> Columns:
    """Voxels of each of the (N,) labels ``present`` that are marked."""
    counts: Columns = {}
    for name in MARKS:
        there = labels[marks[name]] if name in marks else labels[:0].ravel()
        counts[f"at_{name}"] = np.bincount(np.searchsorted(present, there[there > 0]), minlength=len(present))
    return counts


def _claims(labels: np.ndarray, fragments: Columns | None) -> Columns:
    """What the segmenter claimed of each of the (N,) ``labels`` itself."""
    own, changed = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)
    score = np.full(len(labels), np.nan if fragments is None else 0.0)
    if fragments is not None:
        place = np.searchsorted(labels, fragments["label"])
        known = place < len(labels)  # fragments of dropped objects, and those without a voxel in the core, have none
        known[known] = labels[place[known]] == fragments["label"][known]
        np.add.at(own, place[known], fragments["own_voxels"][known])
        np.add.at(changed, place[known], fragments["changed_voxels"][known])
        np.add.at(score, place[known], fragments["score_sum"][known])
    return {"own_voxels": own, "changed_voxels": changed, "score_sum": score}
