"""Where labels meet: boundaries counted along the 13 directions of the voxel lattice, and areas from the counts.

Along each direction a line leaves or enters an object where two neighbouring voxels differ. By the Crofton formula the mean
number of such crossings over all directions is the area of the surface; 13 directions stand for all, each for the directions
nearest to it (Legland, Kiêu, Devaux 2007, "Computation of Minkowski measures on 2D and 3D binary images"). Crossings
are whole numbers that belong to one voxel each, so what blocks count adds up to what the whole volume gives.
"""

from __future__ import annotations

from itertools import product

import fastremap
import numpy as np
from scipy.spatial import SphericalVoronoi

from mitoscale.core.geometry import Region, Spacing

Columns = dict[str, np.ndarray]
"""Column name -> (N,) values."""

DIRECTIONS = np.array([d for d in product((-1, 0, 1), repeat=3) if d > (0, 0, 0)])
"""(13, 3) int: one of each two opposite steps (z, y, x) to the 26 neighbours."""

CROSSINGS = tuple(f"crossings_{i:02d}" for i in range(len(DIRECTIONS)))
"""Names of the columns that count crossings, one a direction."""


def boundaries(labels: np.ndarray, *, core: Region, read: Region) -> Columns:
    """How often lines along each direction leave or enter each object, by what is on the other side.

    Parameters
    ----------
    labels : (Z, Y, X) unsigned
        Labels of ``read``, 0 is background.
    core, read : Region
        Whose voxels are counted; what ``labels`` covers. Where ``read`` ends at the core there is background behind it.

    Returns
    -------
    dict
        One row a pair, sorted: ``label`` (N,) uint64 of the voxels counted; ``other`` (N,) uint64 on the other side, 0 for
        background; ``crossings_00`` .. ``crossings_12`` (N,) int64, one a direction.

    Examples
    --------
    >>> region = Region.of_shape((1, 1, 4))
    >>> table = boundaries(np.array([[[5, 5, 7, 0]]]), core=region, read=region)
    >>> table["label"].tolist(), table["other"].tolist(), table["crossings_00"].tolist()
    ([5, 5, 7, 7], [0, 7, 0, 5], [1, 1, 1, 1])
    """
    around = _with_margin(labels, core, read)
    flat = around.ravel()
    inner = around[1:-1, 1:-1, 1:-1]
    steps = DIRECTIONS @ np.array([around.shape[1] * around.shape[2], around.shape[2], 1])
    values = fastremap.unique(inner)
    values = values[values > 0]
    to_background = np.zeros((len(steps), len(values)), np.int64)
    contacts = [_table(np.zeros((0, 2), np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for z in range(len(inner)):  # plane by plane, so that memory stays small
        if not inner[z].any():
            continue
        y, x = np.nonzero(inner[z])
        at = ((z + 1) * around.shape[1] + y + 1) * around.shape[2] + x + 1
        own = flat[at]
        number = np.searchsorted(values, own)
        pairs, along = [], []
        for i, step in enumerate(steps):
            for neighbour in (flat[at + step], flat[at - step]):
                to_background[i] += np.bincount(number[neighbour == 0], minlength=len(values))
                touch = (neighbour != 0) & (neighbour != own)
                if touch.any():
                    pairs.append(np.stack([own[touch], neighbour[touch]], axis=1).astype(np.uint64))
                    along.append(np.full(len(pairs[-1]), i))
        if pairs:
            found = np.concatenate(along)
            contacts.append(_table(np.concatenate(pairs), found, np.ones(len(found), np.int64)))
    background: Columns = {"label": values.astype(np.uint64), "other": np.zeros(len(values), np.uint64)}
    background |= dict(zip(CROSSINGS, to_background, strict=True))
    met = to_background.any(axis=0)
    return merge_boundaries([{name: column[met] for name, column in background.items()}, *contacts])


def merge_boundaries(parts: list[Columns]) -> Columns:
    """Counts of several blocks as one table, one row a pair; associative and independent of the parts' order.

    Parameters
    ----------
    parts : list of dict
        From :func:`boundaries` or this function.
    """
    none = np.zeros(0, np.uint64)
    pairs = np.stack([np.concatenate([none, *(p[name].astype(np.uint64) for p in parts)]) for name in ("label", "other")], axis=1)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs = pairs[order]
    first = np.flatnonzero(np.concatenate([np.ones(min(len(pairs), 1), bool), (pairs[1:] != pairs[:-1]).any(axis=1)]))
    merged: Columns = {"label": pairs[first, 0], "other": pairs[first, 1]}
    for name in CROSSINGS:
        values = np.concatenate([np.zeros(0, np.int64), *(p[name] for p in parts)])[order]
        merged[name] = np.add.reduceat(values, first) if len(first) else values
    return merged


def areas(table: Columns, spacing: Spacing) -> np.ndarray:
    """Area of each row of a table of boundaries.

    Parameters
    ----------
    table : dict
        From :func:`merge_boundaries`.
    spacing : (z, y, x)
        Voxel size in nm.

    Returns
    -------
    (N,) float64
        In nm^2.

    Examples
    --------
    >>> z, y, x = np.mgrid[-20:21, -20:21, -20:21]
    >>> region = Region.of_shape((41, 41, 41))
    >>> table = boundaries((z**2 + y**2 + x**2 <= 18**2).astype(np.uint8), core=region, read=region)
    >>> float(np.round(areas(table, (1, 1, 1)) / (4 * np.pi * 18**2), 2)[0])
    1.0
    """
    steps = DIRECTIONS * np.array(spacing, np.float64)
    lengths = np.linalg.norm(steps, axis=1)
    units = steps / lengths[:, None]
    # The part of the sphere nearest to each direction; opposite ones count together.
    nearest = SphericalVoronoi(np.concatenate([units, -units])).calculate_areas() / (4 * np.pi)
    weights = nearest[: len(units)] + nearest[len(units) :]
    counts = np.stack([table[name] for name in CROSSINGS], axis=1)
    # A line crosses a surface of area S in a volume V on the average S / 2V times each unit of its length.
    area: np.ndarray = counts @ (2 * weights * np.prod(np.array(spacing, np.float64)) / lengths)
    return area


def _with_margin(labels: np.ndarray, core: Region, read: Region) -> np.ndarray:
    """(Z + 2, Y + 2, X + 2) labels of the core and one voxel around, background where ``read`` has none."""
    box, missing = [], []
    for inside, length in zip(core.within(read), labels.shape, strict=True):
        low, high = min(inside.start, 1), min(length - inside.stop, 1)
        box.append(slice(inside.start - low, inside.stop + high))
        missing.append((1 - low, 1 - high))
    return np.pad(labels[tuple(box)], missing)


def _table(pairs: np.ndarray, along: np.ndarray, count: np.ndarray) -> Columns:
    """Crossings of (N, 2) uint64 pairs in direction ``along`` (N,), summed for each pair."""
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    sums = np.zeros((len(DIRECTIONS), len(unique)), np.int64)
    np.add.at(sums, (along, inverse.ravel()), count)
    return {"label": unique[:, 0], "other": unique[:, 1], **dict(zip(CROSSINGS, sums, strict=True))}
