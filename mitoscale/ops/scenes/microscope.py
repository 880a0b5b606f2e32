"""What the microscope and the knife add: blur, noise, curtains, knife marks, folds, charging, drift and uneven slices."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from mitoscale.ops.scenes.canvas import Canvas


class Microscope(BaseModel):
    """How a picture is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    blur_nm: tuple[float, float] = (2.0, 8.0)
    """Range of the width of the point spread."""
    noise: tuple[float, float] = (0.02, 0.09)
    """Range of the deviation of the noise."""
    curtains: float = Field(0.0, ge=0)
    """Deviation of the stripes that an ion beam leaves."""
    knife_marks: float = Field(0.0, ge=0, le=1)
    """Chance that a slice has scratches."""
    folds: float = Field(0.0, ge=0, le=1)
    """Chance that a slice is folded."""
    charging: float = Field(0.0, ge=0)
    """Deviation of slow shading."""
    drift_nm: float = Field(0.0, ge=0)
    """Deviation of the shift from a slice to the next."""
    uneven: float = Field(0.01, ge=0)
    """Deviation of the slices' brightness."""


def expose(canvas: Canvas, microscope: Microscope) -> np.ndarray:
    """Take the picture; the truth is moved where slices are.

    Parameters
    ----------
    canvas : Canvas
        The scene.
    microscope : Microscope
        How it is seen.

    Returns
    -------
    (Z, Y, X) uint8
        Grey values.
    """
    rng = canvas.rng
    if microscope.drift_nm:
        _drift(canvas, microscope.drift_nm)
    sigma = rng.uniform(*microscope.blur_nm) / canvas.spacing[2]
    image = ndimage.gaussian_filter(canvas.image, (0, sigma, sigma), mode="mirror", truncate=3.0)
    depth, _, width = canvas.shape
    image += rng.normal(0, microscope.uneven, (depth, 1, 1)).astype(np.float32)
    if microscope.charging:
        image += np.float32(microscope.charging) * canvas.noise(1500.0)
    if microscope.curtains:
        stripes = rng.standard_normal((depth, 1, width), np.float32)
        stripes = ndimage.gaussian_filter1d(stripes, rng.uniform(1, 4), axis=2)
        image += np.float32(microscope.curtains) * stripes / max(float(stripes.std()), 1e-3) * np.clip(canvas.noise(2000) + 1, 0, 2)
    for plane in image:
        if rng.random() < microscope.knife_marks:
            _line(plane, rng, width=rng.uniform(0.6, 2.5), strength=rng.uniform(-0.15, 0.25))
        if rng.random() < microscope.folds:
            _line(plane, rng, width=rng.uniform(4, 14), strength=rng.uniform(-0.45, -0.2))
    noise = rng.standard_normal(image.shape, np.float32)
    if rng.random() < 0.3:  # resampled or compressed pictures: neighbours have their noise in common
        noise = ndimage.uniform_filter(noise, (0, 2, 2)) * 2
    image += np.float32(rng.uniform(*microscope.noise)) * noise * np.sqrt(np.clip(image, 0.1, 1) / 0.5)
    contrast = rng.uniform(0.6, 1.0)
    image = (image - 0.5) * np.float32(contrast) + np.float32(0.5 + rng.uniform(-0.08, 0.08))
    grey: np.ndarray = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return grey


def _line(plane: np.ndarray, rng: np.random.Generator, *, width: float, strength: float) -> None:
    """Draw a slightly bent line from border to border, in place."""
    height, across = plane.shape
    angle = rng.uniform(0, np.pi)
    y, x = np.ogrid[:height, :across]
    y0, x0 = rng.uniform(0, height), rng.uniform(0, across)
    along = (y - y0) * np.cos(angle) + (x - x0) * np.sin(angle)
    away = (x - x0) * np.cos(angle) - (y - y0) * np.sin(angle) + rng.normal(0, 2e-4) * np.square(along)
    plane += (strength * np.exp(-np.square(away / width))).astype(np.float32)


def _drift(canvas: Canvas, deviation_nm: float) -> None:
    """Move each slice, and its truth, against the first."""
    path = np.cumsum(canvas.rng.normal(0, deviation_nm / canvas.spacing[2], (canvas.shape[0], 2)), axis=0)
    for z, (dy, dx) in enumerate(np.rint(path - path.mean(0)).astype(int)):
        rows, columns = (_mirrored(n, d) for n, d in zip(canvas.shape[1:], (dy, dx), strict=True))
        at = np.ix_(rows, columns)
        canvas.image[z], canvas.labels[z] = canvas.image[z][at], canvas.labels[z][at]


def _mirrored(size: int, shift: int) -> np.ndarray:
    """Places ``shift`` further on, mirrored at the border."""
    place = np.mod(np.arange(size) + shift, 2 * size)
    return np.minimum(place, 2 * size - 1 - place)
