"""Objects measured block by block: sums over each block's part, merged by label, finished once.

The parts of one object add up to exactly what the whole object gives: coordinates are summed as integers, relative to the
first corner of the part's box (never to the volume's origin, where the squares of a large volume leave 64 bits), and
moved to the common corner when parts are merged. Surfaces are counted as voxel faces: a block counts the faces of its own
voxels on both sides, for which it reads one voxel around its core.
"""

from __future__ import annotations

from collections.abc import Sequence

import fastremap
import numpy as np
from scipy import ndimage

from mitoscale.core.geometry import Region
from mitoscale.ops.object_table import finish_objects

__all__ = ["Columns", "finish_objects", "merge_objects", "partial_objects"]

Columns = dict[str, np.ndarray]
"""Column name -> (N,) values."""

_AXES = "zyx"
_LOWS = ("z0", "y0", "x0")
_HIGHS = ("z1", "y1", "x1")
_PRODUCTS = ("zz", "yy", "xx", "zy", "zx", "yx")
_COUNTS = ("voxels", *_AXES, *_PRODUCTS, "faces_z", "faces_y", "faces_x")
_GREYS = ("intensity", "foreground")


def partial_objects(
    labels: np.ndarray,
    image: np.ndarray | None = None,
    foreground: np.ndarray | None = None,
    *,
    core: Region,
    read: Region,
    volume: Region,
) -> Columns:
    """Sums over a block's part of each object.

    Parameters
    ----------
    labels : (Z, Y, X) unsigned
        Final labels of ``read``, 0 is background.
    image : (Zc, Yc, Xc), optional
        Grey values of the core; without them the mean intensity is NaN.
    foreground : (Zc, Yc, Xc) uint8, optional
        Foreground probability 0..255 of the core; without it the mean foreground is NaN.
    core, read, volume : Region
        What is counted; what ``labels`` covers: the core and at least one voxel around it where the volume has one; and
        what all cores together cover, beyond which there is background.

    Returns
    -------
    dict
        ``label`` (N,) uint64 ascending; int64: ``voxels``, the box ``z0`` .. ``x1`` (half-open, in voxels of the volume),
        sums of coordinates ``z``, ``y``, ``x`` and of their products ``zz`` .. ``yx`` relative to ``z0, y0, x0``, and
        ``faces_z``, ``faces_y``, ``faces_x``; float64: sums ``intensity`` and ``foreground``.

    Raises
    ------
    ValueError
        If ``labels`` or the grey values do not fit their regions, or the margin is missing.

    Examples
    --------
    >>> region = Region.of_shape((1, 2, 3))
    >>> sums = partial_objects(np.array([[[5, 5, 0], [0, 5, 0]]]), core=region, read=region, volume=region)
    >>> sums["label"].tolist(), sums["voxels"].tolist(), sums["x"].tolist(), sums["faces_x"].tolist()
    ([5], [3], [2], [4])
    """
    _check(labels, image, foreground, core, read, volume)
    inside = labels[core.within(read)]
    values = fastremap.unique(inside)
    values = values[values > 0]
    # Compact numbers 1.. in place of labels, so that sums are indexed by them; index 0 is background.
    own = np.zeros(core.shape, np.int32)
    own[inside > 0] = np.searchsorted(values, inside[inside > 0]) + 1
    boxes = np.array([[(s.start, s.stop) for s in box] for box in ndimage.find_objects(own, len(values))], np.int64)
    low, high = boxes.reshape(-1, 3, 2)[..., 0], boxes.reshape(-1, 3, 2)[..., 1]
    columns: Columns = {"label": values.astype(np.uint64), **_sums(own, image, foreground, low)}
    for axis, name in enumerate(("faces_z", "faces_y", "faces_x")):
        columns[name] = _faces(labels, own, core, read, axis, len(values))
    for axis, (first, last) in enumerate(zip(_LOWS, _HIGHS, strict=True)):
        columns[first], columns[last] = low[:, axis] + core.start[axis], high[:, axis] + core.start[axis]
    return columns


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
    names = ("label", *_COUNTS, *_GREYS, *_LOWS, *_HIGHS)
    joined = {name: np.concatenate([np.zeros(0, np.int64), *(p[name] for p in parts)]) for name in names[1:]}
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


def _sums(own: np.ndarray, image: np.ndarray | None, foreground: np.ndarray | None, low: np.ndarray) -> Columns:
    """Voxels, coordinate sums relative to ``low`` (N, 3), and grey sums of each compact number, plane by plane."""
    size = len(low)
    sums = {name: np.zeros(size, np.int64) for name in ("voxels", *_AXES, *_PRODUCTS)}
    greys = {name: np.zeros(size) for name in _GREYS}
    for z, plane in enumerate(own):
        y, x = np.nonzero(plane)
        if not len(y):
            continue
        numbers = plane[y, x] - 1
        v, u = y - low[numbers, 1], x - low[numbers, 2]
        n = np.bincount(numbers, minlength=size)
        # A float64 holds these sums exactly: a plane's squares stay far below 2**53.
        in_plane = {"y": v, "x": u, "yy": v * v, "xx": u * u, "yx": v * u}
        add = {name: np.bincount(numbers, w, minlength=size).astype(np.int64) for name, w in in_plane.items()}
        w = z - low[:, 0]
        add |= {"voxels": n, "z": w * n, "zz": w * w * n, "zy": w * add["y"], "zx": w * add["x"]}
        for name, values in add.items():
            sums[name] += values
        for name, grey in (("intensity", image), ("foreground", foreground)):
            if grey is not None:
                greys[name] += np.bincount(numbers, grey[z][y, x].astype(np.float64), minlength=size)
    for name, grey in (("intensity", image), ("foreground", foreground)):
        if grey is None:
            greys[name][:] = np.nan
    return {**sums, **greys}


def _faces(labels: np.ndarray, own: np.ndarray, core: Region, read: Region, axis: int, size: int) -> np.ndarray:
    """(N,) int64: faces along one axis, below and above, of each compact number's voxels in the core."""
    box = list(core.within(read))
    along = box[axis]
    missing = [(0, 0)] * 3
    # The margin was checked: where there is none the volume ends, and beyond it is background.
    missing[axis] = (int(along.start == 0), int(along.stop == labels.shape[axis]))
    box[axis] = slice(along.start - 1 + missing[axis][0], along.stop + 1 - missing[axis][1])
    around = np.moveaxis(np.pad(labels[tuple(box)], missing), axis, 0)
    own = np.moveaxis(own, axis, 0)
    counts = np.zeros(size + 1, np.int64)
    for neighbour in (around[:-2], around[2:]):
        counts += np.bincount(own[neighbour != around[1:-1]], minlength=size + 1)
    return counts[1:]


def _check(
    labels: np.ndarray,
    image: np.ndarray | None,
    foreground: np.ndarray | None,
    core: Region,
    read: Region,
    volume: Region,
) -> None:
    if labels.shape != read.shape:
        raise ValueError(f"labels have shape {labels.shape}, their region {read} has {read.shape}")
    for name, grey in (("image", image), ("foreground", foreground)):
        if grey is not None and grey.shape != core.shape:
            raise ValueError(f"{name} has shape {grey.shape}, the core {core} has {core.shape}")
    if core.expanded((1, 1, 1), within=volume).intersection(read) != core.expanded((1, 1, 1), within=volume):
        raise ValueError(f"labels of {read} lack the voxel around the core {core} in the volume {volume}")
    if read.intersection(volume) != read:
        raise ValueError(f"labels of {read} leave the volume {volume}")
