"""Grey values as other tissues, stains and microscopes would give them: random curves, mitochondria darker or lighter than their
surroundings, the histogram or the spectrum of another volume, blur, noise and stripes.

All functions take and give ``(K, S, S)`` float32 grey values 0..1 of ``K`` slices, and may leave that range a little.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

_LEVELS = np.linspace(0, 1, 33)
"""Parts of the pixels at which two histograms are compared."""

_RINGS = 24
"""Rings of frequency in which two spectra are compared."""


def grey_curve(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey values after a random rising curve.

    Parameters
    ----------
    image : (K, S, S) float32
        Grey values.
    rng : numpy Generator
        Source of randomness.
    """
    knots = int(rng.integers(3, 7))
    rises = rng.gamma(1.2, 1.0, knots) + 0.15
    low, high = rng.uniform(0, 0.2), rng.uniform(0.8, 1)
    heights = low + np.append(0, np.cumsum(rises)) / rises.sum() * (high - low)
    return np.interp(image, np.linspace(0, 1, knots + 1), heights).astype(np.float32)


def like_histogram(image: np.ndarray, other: np.ndarray, part: float) -> np.ndarray:
    """Grey values moved towards another picture's histogram.

    Parameters
    ----------
    image : (K, S, S) float32
        Grey values.
    other : (H, W) float32
        The other picture.
    part : float
        0: unchanged, 1: the other's histogram.
    """
    own = np.quantile(image[:, ::4, ::4], _LEVELS)
    own += np.arange(len(own)) * 1e-6  # rising, where many pixels are equal
    away = np.quantile(other[::4, ::4], _LEVELS) - own
    return (image + part * np.interp(image, own, away)).astype(np.float32)


def like_spectrum(image: np.ndarray, other: np.ndarray, part: float) -> np.ndarray:
    """Grey values whose power at each frequency is moved towards another picture's; phases, and so outlines, stay.

    Fourier amplitude mixing (Yang and Soatto 2020, arXiv 2004.05498; Xu et al. 2021, arXiv 2105.11120), here of the mean over
    rings of frequency, which borrows grain and sharpness without traces of the other's outlines.

    Parameters
    ----------
    image : (K, S, S) float32
        Grey values.
    other : (S, S) float32
        The other picture.
    part : float
        0: unchanged, 1: the other's power in each ring.
    """
    size = image.shape[-1]
    frequency, ring = _rings(size)
    count = np.bincount(ring.ravel())
    middle = np.bincount(ring.ravel(), weights=frequency.ravel()) / count
    taper = np.hanning(size)[:, None] * np.hanning(size)[None]

    def power(picture: np.ndarray) -> np.ndarray:
        amplitude = np.abs(fft.rfft2((picture - picture.mean()) * taper))
        mean: np.ndarray = np.bincount(ring.ravel(), weights=np.square(amplitude).ravel()) / count
        return mean + 1e-6

    gain = np.clip(power(other) / power(image[len(image) // 2]), 1 / 36, 36) ** (part / 2)
    factors = np.interp(frequency, middle, gain).astype(np.float32)
    factors[0, 0] = 1.0
    changed: np.ndarray = fft.irfft2(fft.rfft2(image, axes=(1, 2)) * factors, s=image.shape[1:], axes=(1, 2))
    return changed.astype(np.float32)


@lru_cache(maxsize=8)
def _rings(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The logarithm of each wave's frequency, and its ring, numbered from 0 without gaps: both (S, S // 2 + 1)."""
    distance = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None]) * size
    frequency = np.log1p(distance) / np.log1p(size * np.sqrt(0.5)) * _RINGS
    _, ring = np.unique(np.floor(frequency).astype(np.int64), return_inverse=True)
    return frequency, ring.reshape(frequency.shape)


def change_matrix(image: np.ndarray, inside: np.ndarray, pixel_nm: float, rng: np.random.Generator) -> np.ndarray:
    """Mitochondria with another matrix: darker or lighter than before, with stronger, weaker or inverted cristae.

    Their outer membrane stays as it is.

    Parameters
    ----------
    image : (K, S, S) float32
        Grey values.
    inside : (K, S, S) bool
        The mitochondria.
    pixel_nm : float
        Pixel size in nm.
    rng : numpy Generator
        Source of randomness.
    """
    if not inside.any() or inside.all():
        return image
    width = max(round(30.0 / pixel_nm) | 1, 3)
    share = ndimage.uniform_filter(inside.astype(np.float32), (0, width, width), mode="nearest")
    soft = np.clip((share - 0.65) / 0.3, 0, 1)
    own, around = float(image[inside].mean()), float(image[~inside].mean())
    spread = float(image.std())
    level = own + rng.uniform(-0.4, 0.4) * spread if rng.random() < 0.4 else around + rng.uniform(-1.5, 0.8) * spread
    contrast = rng.uniform(0.3, 1.7) if rng.random() < 0.8 else -rng.uniform(0.3, 1.0)
    return (image + soft * (level + contrast * (image - own) - image)).astype(np.float32)


def expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another microscope's picture of the same slices: sharper or duller, with other noise, at times with stripes.

    Parameters
    ----------
    image : (K, S, S) float32
        Grey values.
    rng : numpy Generator
        Source of randomness.
    """
    chance = rng.random()
    if chance < 0.35:
        sigma = rng.uniform(0.5, 2.2)
        image = ndimage.gaussian_filter(image, (0, sigma, sigma), mode="mirror", truncate=3.0)
    elif chance < 0.55:
        dull = ndimage.gaussian_filter(image, (0, 1.2, 1.2), mode="mirror", truncate=3.0)
        image = image + rng.uniform(0.3, 1.2) * (image - dull)
    if rng.random() < 0.15:  # curtains of a focused ion beam, or knife marks
        stripes = rng.normal(0, rng.uniform(0.01, 0.06), (len(image), 1, image.shape[2])).astype(np.float32)
        stripes = ndimage.gaussian_filter1d(stripes, rng.uniform(0.5, 4.0), axis=2)
        image = image + (stripes if rng.random() < 0.5 else stripes.swapaxes(1, 2))
    if rng.random() < 0.6:
        noise = rng.standard_normal(image.shape, np.float32)
        if rng.random() < 0.4:  # noise of a resampled or compressed picture: neighbours have it in common
            noise = ndimage.uniform_filter(noise, (0, 2, 2)) * 2
        strength = np.float32(rng.uniform(0.01, 0.12))
        image = image + noise * strength * (np.sqrt(np.clip(image, 0.02, 1)) if rng.random() < 0.5 else 1)
    return image.astype(np.float32)
