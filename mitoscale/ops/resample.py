"""Resampling between a volume's pixels and a network's, on one lattice anchored at the volume's origin.

Network pixel ``j`` spans the volume's pixels ``[j * ratio, (j + 1) * ratio)``, wherever a block begins: two blocks that read the
same place hand a network the same pixels.
"""

from __future__ import annotations

import numpy as np


def coarse_range(start: int, stop: int, ratio: float) -> tuple[int, int]:
    """The network pixels that meet the volume's pixels ``start .. stop``.

    Parameters
    ----------
    start, stop : int
        Half-open range of the volume's pixels.
    ratio : float
        Size of a network pixel in the volume's pixels.

    Examples
    --------
    >>> coarse_range(10, 21, 2.0)
    (5, 11)
    """
    return int(np.floor(start / ratio + 1e-9)), int(np.ceil(stop / ratio - 1e-9))


def to_network(start: int, stop: int, ratio: float) -> np.ndarray:
    """Weights that turn a row of the volume's pixels into network pixels.

    Parameters
    ----------
    start, stop : int
        Half-open range of the volume's pixels.
    ratio : float
        Volume pixels in a network pixel; above 1 the network is coarser.

    Returns
    -------
    (network pixels, stop - start) float32
        Rows sum to 1; a triangle as wide as the coarser of both pixels, cut at the border.

    Examples
    --------
    >>> (to_network(0, 4, 2.0) * 7).round().astype(int).tolist()
    [[3, 3, 1, 0], [0, 1, 3, 3]]
    """
    first, last = coarse_range(start, stop, ratio)
    centres = (np.arange(first, last) + 0.5) * ratio
    pixels = np.arange(start, stop) + 0.5
    return _triangles(centres[:, None] - pixels[None, :], max(ratio, 1.0))


def from_network(start: int, stop: int, ratio: float, columns: tuple[int, int] | None = None) -> np.ndarray:
    """Weights that turn a row of network pixels back into the volume's; see :func:`to_network`.

    Parameters
    ----------
    start, stop : int
        Half-open range of the volume's pixels.
    ratio : float
        Size of a network pixel in the volume's pixels.
    columns : (first, last), optional
        Half-open range of the network pixels that there are; without it those that meet the volume's.

    Returns
    -------
    (stop - start, network pixels) float32

    Examples
    --------
    >>> from_network(0, 4, 2.0).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    first, last = columns or coarse_range(start, stop, ratio)
    centres = (np.arange(first, last) + 0.5) * ratio
    pixels = np.arange(start, stop) + 0.5
    return _triangles(pixels[:, None] - centres[None, :], max(ratio, 1.0))


def _triangles(distance: np.ndarray, reach: float) -> np.ndarray:
    weights = np.clip(1.0 - np.abs(distance) / reach, 0.0, None)
    empty = weights.sum(axis=1) == 0
    if empty.any():
        weights[empty, np.abs(distance[empty]).argmin(axis=1)] = 1.0
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def interpolation(pixels: np.ndarray, start: float, cell: float, count: int) -> np.ndarray:
    """Weights that interpolate a row of cells linearly at the given places; beyond the outer cells' middles they hold.

    Parameters
    ----------
    pixels : (N,) float
        Places wanted.
    start, cell : float
        Where the first cell begins, and the length of a cell.
    count : int
        Number of cells.

    Returns
    -------
    (N, count) float32

    Examples
    --------
    >>> interpolation(np.array([0.0, 2.0, 3.0]), 0.0, 2.0, 2).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    middle = start + (np.arange(count) + 0.5) * cell
    return _triangles(np.clip(pixels, middle[0], middle[-1])[:, None] - middle[None, :], cell)


def mirrored(start: int, size: int, length: int) -> np.ndarray:
    """Indices ``start .. start + size`` folded into ``0 .. length``: what lies beyond an image is its mirror image.

    Parameters
    ----------
    start : int
        First index; may be negative.
    size : int
        Number of indices.
    length : int
        Length of the image along the axis.

    Returns
    -------
    (size,) int64

    Examples
    --------
    >>> mirrored(-2, 7, 3).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    period = max(2 * length - 2, 1)
    index = np.abs(np.arange(start, start + size)) % period
    return np.where(index >= length, period - index, index)
