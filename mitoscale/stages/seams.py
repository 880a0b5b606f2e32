"""Seams as tasks see them: what faces each other at a face, and at planes inside a block, which no seam crosses."""

from __future__ import annotations

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, Face
from mitoscale.ops.seams import Contacts, contacts, meeting_points
from mitoscale.storage.tables import Columns


def middle_contacts(fragments: np.ndarray, block: Block) -> Columns:
    """What faces each other across the three middle planes of a block's core.

    Parameters
    ----------
    fragments : (Z, Y, X) uint32
        Over the block's read region.

    Returns
    -------
    dict
        Columns of :func:`mitoscale.ops.seams.contacts`, and ``axis``.
    """
    core = fragments[block.core.within(block.halo)]
    found: list[Contacts] = []
    for axis in range(3):
        middle = core.shape[axis] // 2
        if middle:
            before = (slice(None),) * axis  # not take(): it copies the whole core first
            planes = contacts(core[(*before, middle - 1)], core[(*before, middle)])
            found.append({**planes, "axis": np.full(len(planes["v"]), axis)})
    nothing = contacts(core[:0, 0], core[:0, 0])
    found.append({**nothing, "axis": np.zeros(0, np.int64)})
    return {name: np.concatenate([f[name] for f in found]) for name in found[0]}


def face_contacts(low: np.ndarray, high: np.ndarray, common: Region, face: Face) -> Columns:
    """What faces each other across a face, where the two cores meet.

    Parameters
    ----------
    low, high : (Z, Y, X) uint32
        Fragments of both blocks over ``common``.

    Returns
    -------
    dict
        ``before``, ``behind``, ``strength``, ``mutual``, and ``z``, ``y``, ``x``: a voxel of the block behind, at the face.
    """
    start = [max(a, b) for a, b in zip(face.low.core.start, face.high.core.start, strict=True)]
    stop = [min(a, b) for a, b in zip(face.low.core.stop, face.high.core.stop, strict=True)]
    sides = []
    for fragments, plane in ((low, face.plane - 1), (high, face.plane)):
        start[face.axis], stop[face.axis] = plane, plane + 1
        part = Region(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))
        sides.append(fragments[part.within(common)].take(0, face.axis))
    found = contacts(*sides)
    place = {axis: np.full(len(found["v"]), face.plane) for axis in range(3)}
    first, second = (axis for axis in range(3) if axis != face.axis)
    place[first], place[second] = found.pop("v") + start[first], found.pop("u") + start[second]
    return {**found, **{name: place[axis] for axis, name in enumerate("zyx")}}


def edge_points(edges: Columns, facing: Columns, low: np.ndarray, high: np.ndarray, common: Region, face: Face) -> Columns:
    """A voxel to look at for each edge.

    Parameters
    ----------
    edges : dict
        From :func:`mitoscale.ops.face_joins.face_edges`.
    facing : dict
        From :func:`face_contacts`.
    low, high : (Z, Y, X) uint32
        Fragments of both blocks over ``common``.

    Returns
    -------
    dict
        ``z``, ``y``, ``x`` (E,) int64: where the fragments face each other; of those that meet only in the halo a voxel that
        both have, as near to the face as any.
    """
    where = {pair: i for i, pair in enumerate(zip(facing["before"].tolist(), facing["behind"].tolist(), strict=True))}
    at = np.array([where.get(pair, -1) for pair in zip(edges["low"].tolist(), edges["high"].tolist(), strict=True)], np.int64)
    points = np.stack([facing[name] for name in "zyx"], axis=1)[at] if len(where) else np.zeros((len(at), 3), np.int64)
    beside = at < 0
    if beside.any():
        cores = Region(start=face.low.core.start, stop=face.high.core.stop)
        start = common.start
        pairs = np.stack([edges["low"], edges["high"]], axis=1)[beside]
        points[beside] = start + meeting_points(low, high, pairs, face.axis, face.plane - start[face.axis], cores.within(common))
    return {name: points[:, axis].astype(np.int64) for axis, name in enumerate("zyx")}
