"""Dark bodies that are no mitochondria, drawn into training crops.

Multivesicular bodies and lysosomes are as dark and as round as mitochondria; what tells them apart is their inside: vesicles or
grains, where a mitochondrion has cristae. Volumes hold too few of them to learn from, so counterfeits are drawn: with
vesicles, with grains, or with what stands elsewhere in the same volume, darkened.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_SMALLEST = 50
"""A body of fewer pixels is not drawn."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """Where a body lies in a crop."""

    rows: slice
    """Rows of its box."""
    columns: slice
    """Columns of its box."""
    depth_nm: np.ndarray
    """(C, H, W) float32: distance to its outline in nm, positive inside, in each context slice."""


def place_body(size: int, pixel_nm: float, offsets_nm: np.ndarray, rng: np.random.Generator) -> Body | None:
    """A wavy ellipsoid somewhere in a crop.

    Parameters
    ----------
    size : int
        Height and width of the crop in pixels.
    pixel_nm : float
        Pixel size in nm.
    offsets_nm : (C,) float
        Distance in z of each channel's slice.
    rng : numpy Generator
        Source of randomness.

    Returns
    -------
    Body or None
        None where the body does not reach the crop's own slice.
    """
    radius = float(np.exp(rng.uniform(np.log(100), np.log(420))))
    height = radius * rng.uniform(0.7, 1.6)
    away = offsets_nm - rng.uniform(-0.8, 0.8) * height
    scale = np.sqrt(np.clip(1 - (away / height) ** 2, 0, None))
    y, x = rng.uniform(0, size, 2)
    stretch = rng.uniform(0.65, 1.5)
    turn = rng.uniform(0, np.pi)
    waves = [(k, rng.normal(0, 0.16 / k), rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3, 4)]

    def outline(angle: np.ndarray) -> np.ndarray:
        return radius * np.maximum(1 + sum(a * np.cos(k * angle + shift) for k, a, shift in waves), 0.35)

    reach = int(outline(np.linspace(0, 2 * np.pi, 64)).max() * max(stretch, 1 / stretch) / pixel_nm) + 4
    rows = slice(max(int(y) - reach, 0), min(int(y) + reach, size))
    columns = slice(max(int(x) - reach, 0), min(int(x) + reach, size))
    dy, dx = np.ogrid[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    along, across = dy * np.cos(turn) + dx * np.sin(turn), dx * np.cos(turn) - dy * np.sin(turn)
    along, across = along * stretch, across / stretch
    distance = np.hypot(along, across) * pixel_nm
    depth = (scale[:, None, None] * outline(np.arctan2(along, across)) - distance).astype(np.float32)
    depth[scale == 0] = -np.inf
    middle = depth[int(np.abs(offsets_nm).argmin())]
    return Body(rows=rows, columns=columns, depth_nm=depth) if (middle > 0).sum() >= _SMALLEST else None


def draw_body(
    image: np.ndarray,
    body: Body,
    free: np.ndarray,
    pixel_nm: float,
    offsets_nm: np.ndarray,
    rng: np.random.Generator,
    donor: np.ndarray | None = None,
) -> None:
    """Draw a body, in place.

    Parameters
    ----------
    image : (C, S, S) float32
        The crop, grey values 0..1.
    body : Body
        Where.
    free : (S, S) bool
        Where there is no mitochondrion; nothing else is drawn over.
    pixel_nm : float
        Pixel size in nm.
    offsets_nm : (C,) float
        Distance in z of each channel's slice.
    rng : numpy Generator
        Source of randomness.
    donor : (C, H, W) float32, optional
        What stands elsewhere in the volume, as large as the body's box; without it vesicles or grains are made up.
    """
    part = image[:, body.rows, body.columns]
    room = ndimage.binary_erosion(free, iterations=2, border_value=1)[body.rows, body.columns]
    mean, spread = float(image.mean()), float(image.std())
    level = mean - spread * rng.uniform(0.3, 1.3)
    if donor is not None:
        inside = donor - ndimage.gaussian_filter(donor, (0, 100 / pixel_nm, 100 / pixel_nm))
        texture = level + inside * rng.uniform(0.4, 1.0)
    else:
        if rng.random() < 0.7:
            texture = level + spread * _vesicles(body, pixel_nm, offsets_nm, rng)
        else:
            texture = level + spread * _grains(part.shape, pixel_nm, offsets_nm, rng)
        if rng.random() < 0.4:  # some of what was there shows through
            texture = texture * 0.7 + part * 0.3
        texture = texture + rng.normal(size=part.shape) * _noise_of(image) * rng.uniform(0.8, 1.4)
    soft = np.clip(body.depth_nm / (2.0 * pixel_nm) + 0.5, 0, 1) * room
    part += (soft * (texture - part)).astype(np.float32)
    membrane = np.exp(-np.square(body.depth_nm / rng.uniform(5.0, 9.0))) * room
    part -= (spread * rng.uniform(0.0, 1.3) * membrane).astype(np.float32)


def _vesicles(body: Body, pixel_nm: float, offsets_nm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(C, H, W) dark matrix with small spheres: dark ones, or shells with a bright lumen."""
    shape = body.depth_nm.shape
    low, high = sorted(rng.uniform(9, 30, 2))
    apart = (low + high) / 2 * rng.uniform(1.8, 3.4)
    margin = 2 * high
    thick = float(np.ptp(offsets_nm)) + 2 * margin
    extent = np.array([thick, *(n * pixel_nm for n in shape[1:])])
    count = int(min(np.prod(extent) / apart**3, 4000))
    centres = rng.uniform(0, 1, (count, 3)) * extent + (offsets_nm.min() - margin, 0, 0)
    place = np.minimum(centres[:, 1:] / pixel_nm, np.array(shape[1:]) - 1).astype(int)
    centres = centres[body.depth_nm.max(axis=0)[place[:, 0], place[:, 1]] > -high]
    radii = rng.uniform(low, high, len(centres))
    shell, lumen = rng.uniform(0.4, 1.3), rng.uniform(-1.0, 1.0)
    wall = rng.uniform(5.0, 9.0)
    result = np.zeros(shape, np.float32)
    for c, offset in enumerate(offsets_nm):
        cut = radii**2 - (centres[:, 0] - offset) ** 2
        for (_, y, x), square in zip(centres[cut > 0], cut[cut > 0], strict=True):
            radius = np.sqrt(square)
            reach = (radius + 2 * wall) / pixel_nm
            y0, y1 = max(int(y / pixel_nm - reach), 0), min(int(y / pixel_nm + reach) + 2, shape[1])
            x0, x1 = max(int(x / pixel_nm - reach), 0), min(int(x / pixel_nm + reach) + 2, shape[2])
            dy, dx = np.ogrid[y0:y1, x0:x1]
            depth = radius - np.hypot(dy - y / pixel_nm, dx - x / pixel_nm) * pixel_nm
            result[c, y0:y1, x0:x1] -= shell * np.exp(-np.square(depth / wall))
            result[c, y0:y1, x0:x1] += lumen * np.clip(depth / wall - 0.5, 0, 1)
    sharpness = rng.uniform(2.0, 8.0) / pixel_nm
    return ndimage.gaussian_filter(np.clip(result, -1.8, 1.8), (0, sharpness, sharpness))


def _grains(shape: tuple[int, ...], pixel_nm: float, offsets_nm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(C, H, W) band-limited noise without direction, the same in slices that lie near each other."""
    coarse = rng.uniform(8, 28)
    gap = float(np.diff(np.unique(offsets_nm)).min()) if np.ptp(offsets_nm) else 0.0
    grain = rng.normal(size=shape) if gap else np.broadcast_to(rng.normal(size=(1, *shape[1:])), shape)
    grain = ndimage.gaussian_filter(grain, (coarse / gap if gap else 0, coarse / pixel_nm, coarse / pixel_nm))
    if rng.random() < 0.5:  # a band of sizes only
        grain = grain - ndimage.gaussian_filter(grain, (0, 2 * coarse / pixel_nm, 2 * coarse / pixel_nm))
    result: np.ndarray = grain / max(float(grain.std()), 1e-6) * rng.uniform(0.15, 0.9)
    return result


def _noise_of(image: np.ndarray) -> float:
    """Standard deviation of the pixel noise: what a slight blur takes away, but for edges."""
    part = image[len(image) // 2, :128, :128]
    rough = part - ndimage.gaussian_filter(part, 1.0)
    return float(np.median(np.abs(rough)) * 1.4826 / 0.85)
