"""Whether the lines of an image are dark, as membranes are, or bright, as those of an inverted volume.

Ridges and valleys are told by the second derivatives after smoothing (Lindeberg, Int. J. Comput. Vis. 30, 1998): across a dark line
the image curves upwards, along it hardly at all, and a blob curves alike both ways. The third power lets sharp lines count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mitoscale.ops.padding_detection import CELL

_WIDTH_NM = 20.0
"""Standard deviation of the smoothing: that of a membrane seen aslant."""
_PIXEL_NM = 10.0
"""Finer pixels are averaged up to this."""
_TILE = 12.0
"""Edge of a tile in standard deviations."""
_EXCESS, _SURE = 0.1, 3.0
"""Lines seem bright from so much more bright ones than dark ones on, as a logarithm, and from so many standard errors on.
A test holds seven volumes of five laboratories and their inverses to it."""
_FEWEST = 16
"""Tiles below which nothing is told."""

Sums = np.ndarray
"""(N, 2) float64: how much of dark and of bright lines there is in each tile."""


def line_sums(image: np.ndarray, pixel_nm: tuple[float, float], padding: np.ndarray | None = None) -> Sums:
    """How much of dark and of bright lines there is in each tile of a part of a slice.

    Parameters
    ----------
    image : (Y, X) uint8
        Normalised grey values.
    pixel_nm : (y, x)
        Size of a pixel.
    padding : (Y, X) bool, optional
        Where there is no tissue: lines in and beside it do not count.

    Examples
    --------
    >>> image = np.full((64, 64), 200, np.uint8); image[:, 30:33] = 50
    >>> dark, bright = line_sums(image, (10.0, 10.0)).sum(0)
    >>> bool(dark > 5 * bright)
    True
    """
    factors = [max(1, int(_PIXEL_NM / p)) for p in pixel_nm]
    smooth = [_WIDTH_NM / (p * f) for p, f in zip(pixel_nm, factors, strict=True)]
    seen = _binned(image.astype(np.float32), factors)
    counts = np.ones(seen.shape, bool)
    if padding is not None and padding.any():
        counts = _binned(ndimage.binary_dilation(padding, iterations=CELL).astype(np.float32), factors) == 0
    yy, xx, yx = (ndimage.gaussian_filter(seen, smooth, order=order) for order in ((2, 0), (0, 2), (1, 1)))
    half, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    upward, downward = half + apart, half - apart  # curvature along the main directions
    dark = np.clip(upward - np.abs(downward), 0, None)
    bright = np.clip(-downward - np.abs(upward), 0, None)
    tiles = [max(1, round(_TILE * s)) for s in smooth]
    edges = [np.arange(0, max(n - n % t, 1), t) for n, t in zip(seen.shape, tiles, strict=True)]
    pairs = [np.add.reduceat(np.add.reduceat((k**3 * counts).astype(float), edges[0]), edges[1], axis=1) for k in (dark, bright)]
    return np.stack(pairs, axis=-1).reshape(-1, 2)


def seem_bright(parts: Sequence[Sums]) -> bool:
    """Whether there is more of bright lines than of dark ones, beyond what chance makes.

    Parameters
    ----------
    parts : sequence of (N, 2)
        From :func:`line_sums`, of places all over the volume.
    """
    excess, error = bright_excess(parts)
    return excess > max(_EXCESS, _SURE * error)


def bright_excess(parts: Sequence[Sums]) -> tuple[float, float]:
    """Logarithm of how much more of bright lines there is than of dark ones, and its standard error by the jackknife.

    Parameters
    ----------
    parts : sequence of (N, 2)
        From :func:`line_sums`.

    Returns
    -------
    pair of float
        0 and infinity where there are too few lines to tell.
    """
    tiles = np.concatenate([np.zeros((0, 2)), *parts])
    tiles = tiles[tiles.sum(axis=1) > 0]
    without = tiles.sum(axis=0) - tiles
    if len(tiles) < _FEWEST or not (without > 0).all():
        return 0.0, float("inf")
    total, each = (np.log(s[..., 1] / s[..., 0]) for s in (tiles.sum(axis=0), without))
    error = np.sqrt((len(tiles) - 1) * np.mean((each - each.mean()) ** 2))
    return float(total), float(error)


def _binned(image: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Means of whole bins; the image itself where it is smaller than a bin."""
    (y, x), (h, w) = factors, image.shape
    if h < y or w < x:
        return image
    means: np.ndarray = image[: h // y * y, : w // x * x].reshape(h // y, y, w // x, x).mean((1, 3))
    return means
