"""Meshes with fewer and fewer triangles, of which a viewer draws the one that suits the distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Mesh = tuple[np.ndarray, np.ndarray]
"""Vertices (N, 3) float32 and triangles (M, 3) uint32."""

SHARES = (1 / 4, 1 / 16, 1 / 64)
"""Triangles that are kept of those of the surface between voxels; with a quarter hardly anything changes, as most are coplanar."""

_FEWEST = 200
"""Meshes of so many triangles are not made coarser."""
_MOST_LOST = 0.1
"""Part of its volume that no mesh may gain or lose against the first."""


def simplified(mesh: Mesh, shares: Sequence[float] = SHARES) -> list[Mesh]:
    """A mesh with a smaller and smaller share of its triangles, by quadric error (Garland and Heckbert, SIGGRAPH 1997).

    Parameters
    ----------
    mesh : (vertices, triangles)
        As :func:`mitoscale.ops.mesh.surface_mesh` makes them.
    shares : sequence of float
        Between 0 and 1, falling.

    Returns
    -------
    list of (vertices, triangles)
        At least one, finest first; fewer than shares where a small object would lose its shape.

    Examples
    --------
    >>> from mitoscale.ops.mesh import surface_mesh
    >>> z, y, x = np.ogrid[-20:21, -20:21, -20:21]
    >>> ball = surface_mesh(z * z + y * y + x * x < 324, (5.0, 5.0, 5.0))
    >>> lods = simplified(ball)
    >>> [len(triangles) * 100 // len(ball[1]) for _, triangles in lods], volume(lods[1]) / volume(ball) > 0.97
    ([25, 6], True)
    """
    from fast_simplification import simplify

    if len(mesh[1]) <= _FEWEST:
        return [mesh]
    lods: list[Mesh] = []
    finer, whole = mesh, volume(mesh)
    for share in shares:
        wanted = len(mesh[1]) * share
        if lods and wanted < _FEWEST:
            break
        points, faces = simplify(finer[0], finer[1].astype(np.int32), target_reduction=1 - wanted / len(finer[1]))
        finer = (np.asarray(points, np.float32), np.asarray(faces, np.uint32))  # each from the last one: a third of the time
        if abs(volume(finer) - whole) > _MOST_LOST * abs(whole):
            break
        lods.append(finer)
    return lods or [mesh]


def volume(mesh: Mesh) -> float:
    """Volume that a closed mesh encloses; above 0 where its triangles turn counter-clockwise seen from outside.

    Examples
    --------
    >>> corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    >>> round(volume((corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint32))) * 6)
    1
    """
    vertices, triangles = mesh
    a, b, c = (vertices[triangles[:, i]].astype(np.float64) for i in range(3))
    return float((np.cross(a, b) * c).sum() / 6)
