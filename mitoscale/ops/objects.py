"""Objects measured block by block: additive sums of each block's part, merged by label, finished once.

Sums over cores that tile a volume give exactly what the whole volume would give. Surfaces are counted as voxel faces: each block counts
the faces of its own voxels on both sides, for which it reads one voxel around its core.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mitoscale.core.geometry import Region, Spacing

Columns = dict[str, np.ndarray]

_SUMS = ("voxels", "z", "y", "x", "zz", "yy", "xx", "zy", "zx", "yx", "faces_z", "faces_y", "faces_x", "intensity", "foreground")
_LOWS = ("z0", "y0", "x0")
_HIGHS = ("z1", "y1", "x1")


def partial_objects(
    labels: np.ndarray, image: np.ndarray, foreground: np.ndarray, *, core: Region, read: Region, volume: Region
) -> Columns:
    """Sums over a block's part of each object.

    Parameters
    ----------
    labels : (Z, Y, X) unsigned
        Final labels of ``read``: the core and one voxel around it, where the volume has one.
    image, foreground : (Zc, Yc, Xc) uint8
        Grey values and foreground probability (0..255) of the core.
    core, read, volume : Region
        What is counted, what ``labels`` covers, and where the border is.

    Returns
    -------
    dict
        ``label`` (N,) uint64 ascending; sums as float64 or int64; box ``z0`` .. ``x1`` half-open.
    """
    inside = labels[core.within(read)]
    values, flat = np.unique(inside, return_inverse=True)
    flat = flat.reshape(inside.shape)
    size = len(values)
    where = np.nonzero(inside)
    own = flat[where]
    position = [w.astype(np.float64) + s for w, s in zip(where, core.start, strict=True)]

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(own, weights=weights, minlength=size)

    z, y, x = position
    columns: Columns = {"label": values.astype(np.uint64), "voxels": np.bincount(own, minlength=size)}
    products = {"z": z, "y": y, "x": x, "zz": z * z, "yy": y * y, "xx": x * x, "zy": z * y, "zx": z * x, "yx": y * x}
    columns |= {name: total(weights) for name, weights in products.items()}
    columns["intensity"] = total(image[where].astype(np.float64))
    columns["foreground"] = total(foreground[where].astype(np.float64))
    for axis, name in enumerate(("faces_z", "faces_y", "faces_x")):
        columns[name] = _faces(labels, core, read, volume, axis, values)
    for axis, (low, high) in enumerate(zip(_LOWS, _HIGHS, strict=True)):
        first, last = np.full(size, np.iinfo(np.int64).max), np.full(size, np.iinfo(np.int64).min)
        np.minimum.at(first, own, where[axis] + core.start[axis])
        np.maximum.at(last, own, where[axis] + core.start[axis])
        columns[low], columns[high] = first, last + 1
    return {name: column[values > 0] for name, column in columns.items()}


def _faces(
    labels: np.ndarray, core: Region, read: Region, volume: Region, axis: int, values: np.ndarray
) -> np.ndarray:
    """(N,) int64: faces along one axis, below and above, of each label's voxels in the core."""
    counts = np.zeros(len(values), np.int64)
    box = core.within(read)
    inside = labels[box]
    for step in (-1, 1):
        shifted = list(box)
        s = box[axis]
        at_border = core.start[axis] == volume.start[axis] if step < 0 else core.stop[axis] == volume.stop[axis]
        if at_border:  # beyond the volume everything is background
            neighbour = np.zeros_like(inside)
            index_to, index_from = [slice(None)] * 3, [slice(None)] * 3
            index_to[axis], index_from[axis] = (slice(1, None), slice(0, -1)) if step < 0 else (slice(0, -1), slice(1, None))
            neighbour[tuple(index_to)] = inside[tuple(index_from)]
        else:
            shifted[axis] = slice(s.start + step, s.stop + step)
            neighbour = labels[tuple(shifted)]
        edge = (inside > 0) & (inside != neighbour)
        counts += np.bincount(np.searchsorted(values, inside[edge]), minlength=len(values))
    return counts


def merge_objects(parts: Sequence[Columns]) -> Columns:
    """Partial sums of several blocks as one table, one row a label; associative and independent of order for integers.

    Parameters
    ----------
    parts : sequence of dict
        From :func:`partial_objects` or this function.

    Returns
    -------
    dict
    """
    names = ("label", *_SUMS, *_LOWS, *_HIGHS)
    joined = {name: np.concatenate([p[name] for p in parts]) if parts else np.zeros(0) for name in names}
    labels, inverse = np.unique(joined["label"], return_inverse=True)
    size = len(labels)
    merged: Columns = {"label": labels.astype(np.uint64)}
    for name in _SUMS:
        merged[name] = np.bincount(inverse, weights=joined[name], minlength=size)
    for name in _LOWS:
        merged[name] = np.full(size, np.iinfo(np.int64).max)
        np.minimum.at(merged[name], inverse, joined[name].astype(np.int64))
    for name in _HIGHS:
        merged[name] = np.zeros(size, np.int64)
        np.maximum.at(merged[name], inverse, joined[name].astype(np.int64))
    return merged


def finish_objects(sums: Columns, spacing: Spacing, volume: Region) -> Columns:
    """The table of objects.

    Parameters
    ----------
    sums : dict
        Merged sums.
    spacing : (z, y, x)
        Voxel size in nm.
    volume : Region
        Where the border is.

    Returns
    -------
    dict
        ``label``; ``voxels``; ``volume_nm3``; ``surface_nm2`` (of voxel faces, hence up to 1.5 times a smooth surface);
        ``centroid_z_nm`` .. (voxel middles; voxel 0 has its middle at 0); ``bbox_z0`` .. half-open, in voxels;
        ``axis_major_nm``, ``axis_middle_nm``, ``axis_minor_nm`` (full axes of the ellipsoid with the same moments);
        ``n_slices``; ``touches_border``; ``mean_intensity``; ``mean_foreground`` 0..1.
    """
    count = np.maximum(sums["voxels"], 1)
    mean = np.stack([sums[a] / count for a in "zyx"], axis=1)
    step = np.array(spacing)
    covariance = np.empty((len(count), 3, 3))
    for i, a in enumerate("zyx"):
        for j, b in enumerate("zyx"):
            product = sums[a + b] if a + b in sums else sums[b + a]
            # A voxel is a box, not a point: its own spread of 1/12 is added on the diagonal.
            covariance[:, i, j] = (product / count - mean[:, i] * mean[:, j] + (i == j) / 12) * step[i] * step[j]
    lengths = 2 * np.sqrt(5 * np.clip(np.linalg.eigvalsh(covariance), 0, None)) if len(count) else np.zeros((0, 3))
    faces = (spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1])
    border = np.zeros(len(count), bool)
    for axis, (low, high) in enumerate(zip(_LOWS, _HIGHS, strict=True)):
        border |= (sums[low] <= volume.start[axis]) | (sums[high] >= volume.stop[axis])
    table: Columns = {
        "label": sums["label"],
        "voxels": sums["voxels"].astype(np.int64),
        "volume_nm3": sums["voxels"] * np.prod(step),
        "surface_nm2": sums["faces_z"] * faces[0] + sums["faces_y"] * faces[1] + sums["faces_x"] * faces[2],
    }
    for i, a in enumerate("zyx"):
        table[f"centroid_{a}_nm"] = mean[:, i] * step[i]
    for low, high in zip(_LOWS, _HIGHS, strict=True):
        table[f"bbox_{low}"], table[f"bbox_{high}"] = sums[low], sums[high]
    table |= {
        "axis_major_nm": lengths[:, 2],
        "axis_middle_nm": lengths[:, 1],
        "axis_minor_nm": lengths[:, 0],
        "n_slices": sums["z1"] - sums["z0"],
        "touches_border": border,
        "mean_intensity": sums["intensity"] / count,
        "mean_foreground": sums["foreground"] / count / 255,
    }
    return table
