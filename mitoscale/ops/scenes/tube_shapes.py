"""Shapes of mitochondria that are known before they have a place: ellipsoids, and bent tubes with or without a branch."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mitoscale.ops.scenes.canvas import Canvas, body_depth

_PIECE_NM = 50.0
"""Length of the straight pieces that a tube's middle line is made of."""

_WAVES = 0.12
"""Deviation of a tube's radius along it, relative to the radius; never more than 2.5 times as much."""


def ellipsoid_depth(canvas: Canvas, radius: float) -> np.ndarray:
    """An ellipsoid of any orientation with half axes of 0.9 to 1.9 times a radius.

    Parameters
    ----------
    canvas : Canvas
        Its voxel size and its randomness are taken; nothing is drawn.
    radius : float
        In nm.

    Returns
    -------
    (Z, Y, X) float32
        Distance to the outline in nm, positive inside, for the box around the ellipsoid, whether the canvas has room for it or not.
    """
    axes = radius * canvas.rng.uniform(0.9, 1.9, 3)
    own = _around(canvas, np.full(3, 2 * axes.max()))
    found = body_depth(own, own.extent / 2, axes, rough=0.0)
    assert found is not None
    return _cropped(found[1])


def tube_depth(canvas: Canvas, radius: float, length: float, *, branching: bool = False) -> np.ndarray:
    """A bent, wavy tube; what is given and returned is as for :func:`ellipsoid_depth`.

    Parameters
    ----------
    canvas : Canvas
        Its voxel size and its randomness are taken.
    radius : float
        In nm, on average.
    length : float
        In nm, without the round ends.
    branching : bool
        Whether a second tube begins in the middle, 0.6 times as long.
    """
    rng = canvas.rng
    lines = [_line(rng, np.zeros(3), length)]
    if branching:
        lines.append(_line(rng, lines[0][len(lines[0]) // 2], 0.6 * length))
    points = np.concatenate(lines)
    reach = radius * (1 + 2.5 * _WAVES)
    low = points.min(0) - reach - canvas.spacing
    own = _around(canvas, points.max(0) + reach - low)
    distance = np.full(own.shape, np.inf, np.float32)
    for line in lines:
        _bring_near(distance, own, line - low, reach)
    waves = np.clip(own.noise(1.8 * radius), -2.5, 2.5)
    return _cropped(np.float32(radius) * (1 + np.float32(_WAVES) * waves) - distance)


def _around(canvas: Canvas, extent: np.ndarray) -> Canvas:
    """A canvas of the same voxels for one object alone, with a voxel to spare on each side."""
    z, y, x = (int(n) + 3 for n in np.ceil(extent / canvas.spacing))
    return Canvas(shape=(z, y, x), spacing=canvas.spacing, rng=canvas.rng)


def _cropped(depth: np.ndarray) -> np.ndarray:
    """The box around what is inside; empty where voxels are too thick to show anything."""
    found = ndimage.find_objects((depth > 0).astype(np.uint8))
    cropped: np.ndarray = depth[found[0]] if found else depth[:0]
    return cropped


def _line(rng: np.random.Generator, start: np.ndarray, length: float) -> np.ndarray:
    """(N, 3) points in nm along a gently turning line."""
    direction = rng.normal(size=3)
    turn = rng.normal(size=3) * rng.uniform(0.0, 2.0) / length
    pieces = int(np.ceil(length / _PIECE_NM))
    points = [start]
    for _ in range(pieces):
        direction = direction / np.linalg.norm(direction) + length / pieces * turn
        points.append(points[-1] + length / pieces * direction / np.linalg.norm(direction))
    return np.array(points)


def _bring_near(distance: np.ndarray, canvas: Canvas, points: np.ndarray, reach: float) -> None:
    """Lower (Z, Y, X) distances to those from the line through some points, in nm, as far as it reaches."""
    for start, end in zip(points[:-1], points[1:], strict=True):
        low = np.maximum((np.minimum(start, end) - reach) / canvas.spacing, 0).astype(int)
        high = np.ceil((np.maximum(start, end) + reach) / canvas.spacing).astype(int) + 1
        z, y, x = (slice(a, min(b, n)) for a, b, n in zip(low.tolist(), high.tolist(), canvas.shape, strict=True))
        along = (end - start).astype(np.float32)
        away = [g - np.float32(s) for g, s in zip(canvas.grid((z, y, x)), start, strict=True)]
        part = np.clip(sum(a * d for a, d in zip(away, along / np.square(along).sum(), strict=True)), 0, 1)
        squared = sum(np.square(a - part * d) for a, d in zip(away, along, strict=True))
        distance[z, y, x] = np.minimum(distance[z, y, x], np.sqrt(squared))
