"""Rooms that touch: profiles of cells in neuropil, or mitochondria packed side by side, as a warped Voronoi partition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from mitoscale.ops.scenes.canvas import Canvas, rotation

_CANDIDATES = 8
"""Seeds that are looked at for each voxel: those nearest to its neighbourhood."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A partition of a canvas."""

    number: np.ndarray
    """(Z, Y, X) int32, which cell."""
    depth: np.ndarray
    """(Z, Y, X) float32, distance to the wall between two cells in nm, about."""
    count: int
    """How many cells there may be; numbers are below it."""


def make_cells(canvas: Canvas, size_nm: float, *, stretch: float = 1.0, warp: float = 0.25) -> Cells:
    """Divide a canvas into cells.

    Parameters
    ----------
    canvas : Canvas
        What is divided.
    size_nm : float
        Distance of neighbours' centres, on average.
    stretch : float
        How much longer than wide they are, all in one random direction.
    warp : float
        How far walls are bent, relative to the size.
    """
    rng = canvas.rng
    turn = rotation(rng)
    scale = np.array([stretch ** (-2 / 3), stretch ** (1 / 3), stretch ** (1 / 3)])
    matrix = (turn.T * scale) @ turn
    grid = canvas.grid(canvas.whole)
    warped: list[np.ndarray] = [g + np.float32(warp * size_nm) * canvas.noise(size_nm) for g in grid]
    if warp > 0.15:
        warped = [np.asarray(w + np.float32(0.12 * warp * size_nm) * canvas.noise(size_nm / 4)) for w in warped]
    points = [sum(np.float32(m) * w for m, w in zip(row, warped, strict=True)) for row in matrix]
    low = np.array([float(p.min()) for p in points]) - size_nm  # type: ignore[union-attr]
    high = np.array([float(p.max()) for p in points]) + size_nm  # type: ignore[union-attr]
    count = int(np.clip(np.prod((high - low) / size_nm), _CANDIDATES + 1, 60_000))
    seeds = rng.uniform(low, high, (count, 3))
    weights = (rng.gamma(1.0, 0.13, count) * size_nm).clip(0, 0.35 * size_nm).astype(np.float32)
    step = tuple(max(int(0.08 * size_nm / s), 1) for s in canvas.spacing)
    coarse = tuple(slice(min(s // 2, n - 1), None, s) for s, n in zip(step, canvas.shape, strict=True))
    corners = np.stack([p[coarse] for p in points], -1)  # type: ignore[index]
    near = cKDTree(seeds).query(corners.reshape(-1, 3), _CANDIDATES)[1].astype(np.int32).reshape(*corners.shape[:3], -1)
    where = [np.minimum(np.arange(n) // s, m - 1) for n, s, m in zip(canvas.shape, step, near.shape, strict=False)]
    first = np.full(canvas.shape, np.inf, np.float32)
    second = first.copy()
    number = np.zeros(canvas.shape, np.int32)
    for k in range(_CANDIDATES):
        which = near[..., k][np.ix_(*where)]
        distance = np.sqrt(sum(np.square(p - seeds[:, i].astype(np.float32)[which]) for i, p in enumerate(points)))
        distance -= weights[which]
        closer = distance < first
        second = np.where(closer, first, np.minimum(second, distance))
        number = np.where(closer, which, number)
        first = np.where(closer, distance, first)
    return Cells(number=number, depth=(second - first) / 2, count=count)
