"""Assemble: blocks' fragments become one label volume in memory, by the same steps as the stages take over a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from mitoscale.core.geometry import Triple
from mitoscale.core.grid import Block, BlockGrid, Face
from mitoscale.ops.face_joins import face_edges
from mitoscale.ops.global_ids import merge, pack

Fragments = Mapping[Triple, np.ndarray]
"""Block index -> (Z, Y, X) uint32 fragments over the block's read region."""


def assemble(
    grid: BlockGrid,
    fragments: Fragments,
    *,
    faces: Iterable[Face] | None = None,
    compare: Callable[..., Mapping[str, np.ndarray]] = face_edges,
) -> np.ndarray:
    """Stitch blocks and paint the objects.

    Parameters
    ----------
    grid : BlockGrid
        The blocks; its region may begin anywhere, the result covers the region.
    fragments : mapping
        Of each block, over its read region.
    faces : iterable of Face, optional
        In which order faces are compared, or which of them; None: all. The order makes no difference.
    compare : callable
        What compares two blocks; called like :func:`mitoscale.ops.face_joins.face_edges`.

    Returns
    -------
    (Z, Y, X) uint64
        Labels from 1 over ``grid.region``; 0 is background.

    Examples
    --------
    >>> from mitoscale.core.geometry import Region
    >>> grid = BlockGrid(region=Region.of_shape((4, 4, 8)), core_shape=(4, 4, 4), margin=(1, 1, 1))
    >>> bar = {b.index: np.ones(b.halo.shape, np.uint32) for b in grid.blocks()}
    >>> np.unique(assemble(grid, bar)).tolist()
    [1]
    """
    edges = [np.zeros((0, 2), np.uint64)]
    for face in grid.faces() if faces is None else faces:
        edges.append(accepted_edges(grid, face, fragments, compare))
    present = {index: np.unique(values[values > 0]) for index, values in fragments.items()}
    raw = np.concatenate([_raw(grid, b, present[b.index]) for b in grid.blocks()])
    labels = merge(raw, np.concatenate(edges))
    result = np.zeros(grid.region.shape, np.uint64)
    for block in grid.blocks():
        values, local = fragments[block.index], present[block.index]
        final = np.zeros(int(values.max(initial=0)) + 1, np.uint64)
        final[local] = labels[np.searchsorted(raw, _raw(grid, block, local))]
        result[block.core.within(grid.region)] = final[values[block.core.within(block.halo)]]
    return result


def accepted_edges(
    grid: BlockGrid, face: Face, fragments: Fragments, compare: Callable[..., Mapping[str, np.ndarray]] = face_edges
) -> np.ndarray:
    """(E, 2) uint64 raw ids of the fragments that are one across a face; see :func:`assemble`."""
    common = face.low.halo.intersection(face.high.halo)
    if common is None:
        return np.zeros((0, 2), np.uint64)
    low, high = (fragments[b.index][common.within(b.halo)] for b in (face.low, face.high))
    found = compare(low, high, face.axis, face.plane - common.start[face.axis])
    taken = found["accepted"]
    return np.stack([_raw(grid, face.low, found["low"][taken]), _raw(grid, face.high, found["high"][taken])], axis=1)


def _raw(grid: BlockGrid, block: Block, local: np.ndarray) -> np.ndarray:
    return pack(grid.number(block.index), local)
