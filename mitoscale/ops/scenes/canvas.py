"""What a scene is drawn on: grey values, truth and voxel size, with the fields and shapes that all tissues are drawn from.

All lengths are in nm and all coordinates are ``(z, y, x)``; grey values are 0, black, to 1, white.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mitoscale.core.geometry import Spacing, Triple

Box = tuple[slice, slice, slice]
"""A part of a canvas, in voxels."""


_BESIDE_NM = 150.0
"""How far above and below a canvas the middle of what is seen in it may lie."""


@dataclass(kw_only=True)
class Canvas:
    """A scene while it is drawn."""

    shape: Triple
    """Voxels."""
    spacing: Spacing
    """Voxel size in nm."""
    rng: np.random.Generator
    """Source of all randomness."""
    image: np.ndarray = field(init=False)
    """(Z, Y, X) float32 grey values."""
    labels: np.ndarray = field(init=False)
    """(Z, Y, X) uint32 mitochondria."""
    taken: np.ndarray = field(init=False)
    """(Z, Y, X) bool: where something stands that nothing else may be drawn over."""

    def __post_init__(self) -> None:
        self.image = np.full(self.shape, 0.65, np.float32)
        self.labels = np.zeros(self.shape, np.uint32)
        self.taken = np.zeros(self.shape, bool)

    @property
    def whole(self) -> Box:
        """All of it."""
        z, y, x = (slice(0, n) for n in self.shape)
        return z, y, x

    @property
    def extent(self) -> np.ndarray:
        """(3,) its size in nm."""
        return np.array(self.shape) * self.spacing

    @property
    def volume_um3(self) -> float:
        """Its volume in cubic micrometres, with what reaches into it from above and below."""
        z, y, x = self.extent
        return float((z + 2 * _BESIDE_NM) * y * x / 1e9)

    def grid(self, box: Box) -> list[np.ndarray]:
        """Open grid of the voxels' coordinates in nm."""
        return [g.astype(np.float32) * np.float32(s) for g, s in zip(np.ogrid[box], self.spacing, strict=True)]

    def noise(self, scale_nm: float, box: Box | None = None) -> np.ndarray:
        """(Z, Y, X) float32 noise of mean 0 and deviation 1, smooth over ``scale_nm``."""
        shape = self.shape if box is None else tuple(s.stop - s.start for s in box)
        return smooth_noise(self.rng, shape, self.spacing, scale_nm)

    def somewhere(self) -> np.ndarray:
        """(3,) a random place in nm; at times a little outside, so that objects are cut by the border."""
        beside = np.array([_BESIDE_NM, 100.0, 100.0])
        return self.rng.uniform(-beside, self.extent + beside)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, ...], scale_nm: float) -> np.ndarray:
    """Random field of mean 0 and deviation 1.

    Parameters
    ----------
    rng : numpy Generator
        Source of randomness.
    shape : tuple of int
        Voxels on each axis.
    spacing : tuple of float
        Voxel size in nm.
    scale_nm : float
        Size of its blobs; below a voxel it is white noise.

    Returns
    -------
    float32
        Cubic B-splines over random values half a blob apart.
    """
    steps = [max(scale_nm / 2 / s, 1.0) for s in spacing]
    coarse = rng.standard_normal([int(n / step) + 5 for n, step in zip(shape, steps, strict=True)], np.float32)
    for axis, (n, step) in enumerate(zip(shape, steps, strict=True)):
        if step == 1.0:
            coarse = np.take(coarse, np.arange(n), axis)
            continue
        position = np.arange(n) / step + rng.uniform(1, 2)
        away = np.abs(position[:, None] - np.arange(coarse.shape[axis]))
        near = np.clip(2 - away, 0, None) ** 3 - 4 * np.clip(1 - away, 0, None) ** 3
        weights = (near / np.sqrt(np.square(near).sum(1, keepdims=True))).astype(np.float32)
        coarse = np.moveaxis(np.tensordot(weights, coarse, (1, axis)), 0, axis)
    return np.ascontiguousarray(coarse)


def rotation(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) a random orthogonal matrix."""
    matrix: np.ndarray = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return matrix


def body_depth(
    canvas: Canvas, centre: np.ndarray, axes: np.ndarray, *, bend: float = 0.0, rough: float = 0.08
) -> tuple[Box, np.ndarray] | None:
    """A bent, wavy ellipsoid of any orientation.

    Parameters
    ----------
    canvas : Canvas
        Where it lies.
    centre : (3,) float
        In nm.
    axes : (3,) float
        Half axes in nm; along the first it is bent.
    bend : float
        How far its ends are pushed aside, relative to its length.
    rough : float
        Height of the waves of its outline, relative to the smallest axis.

    Returns
    -------
    box
        The voxels around it.
    (Z, Y, X) float32
        Distance to its outline in nm, positive inside.
    or None
        Where the box misses the canvas.
    """
    turn = rotation(canvas.rng).astype(np.float32)
    reach = np.sqrt(np.square(turn.T * (axes * (1 + rough * 2) + bend * axes[0])).sum(1)) + 25.0
    low = np.floor((centre - reach) / canvas.spacing).astype(int)
    high = np.ceil((centre + reach) / canvas.spacing).astype(int) + 1
    box = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, canvas.shape, strict=True))
    if any(s.stop <= s.start for s in box):
        return None
    z, y, x = (g - np.float32(c) for g, c in zip(canvas.grid(box), centre, strict=True))  # type: ignore[arg-type]
    along, side, up = (turn[i, 0] * z + turn[i, 1] * y + turn[i, 2] * x for i in range(3))
    side = side - np.float32(bend * axes[0]) * np.square(along / np.float32(axes[0]))
    parts = [c / np.float32(a) for c, a in zip((along, side, up), axes, strict=True)]
    radius = np.sqrt(sum(np.square(p) for p in parts)) + np.float32(1e-4)
    slope = np.sqrt(sum(np.square(p / np.float32(a)) for p, a in zip(parts, axes, strict=True))) + np.float32(1e-7)
    depth = radius * (1 - radius) / slope
    depth = np.minimum(depth, np.float32(axes.min()))
    if rough:
        small = float(axes.min())
        depth = depth + np.float32(rough * small) * canvas.noise(max(1.2 * small, 40.0), box)  # type: ignore[arg-type]
    return box, depth  # type: ignore[return-value]
