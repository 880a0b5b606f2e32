"""The surface of an object as triangles."""

from __future__ import annotations

import numpy as np
from skimage.measure import marching_cubes

from mitoscale.core.geometry import Spacing


def surface_mesh(mask: np.ndarray, spacing: Spacing, origin: Spacing = (0.0, 0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a mask's surface, closed also where the mask reaches the array's border.

    Parameters
    ----------
    mask : (Z, Y, X) bool
        The object.
    spacing : (z, y, x)
        Voxel size in nm.
    origin : (z, y, x)
        Where the middle of the first voxel lies, in nm.

    Returns
    -------
    vertices : (N, 3) float32
        x, y, z in nm, as viewers want them.
    triangles : (M, 3) uint32
        Numbers of vertices, counter-clockwise seen from outside.

    Examples
    --------
    >>> vertices, triangles = surface_mesh(np.ones((1, 1, 1), bool), (40.0, 5.0, 5.0), (0.0, 0.0, 100.0))
    >>> vertices.min(0).tolist(), vertices.max(0).tolist(), triangles.shape[1]
    ([97.5, -2.5, -20.0], [102.5, 2.5, 20.0], 3)
    >>> len(surface_mesh(np.zeros((2, 2, 2), bool), (1.0, 1.0, 1.0))[0])
    0
    """
    if not mask.any():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint32)
    vertices, triangles, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=spacing)
    vertices += np.array(origin) - np.array(spacing)
    return np.ascontiguousarray(vertices[:, ::-1], np.float32), np.ascontiguousarray(triangles, np.uint32)
