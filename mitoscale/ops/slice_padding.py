"""Padding of slices that are in memory as a whole: what a run finds block by block, for what looks at slices without a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mitoscale.ops.grey_histogram import values_of
from mitoscale.ops.padding_detection import CELL, flat_plane, flat_runs, mirrored, near_border, padding_cells, padding_pixels


def padding_of_slices(image: np.ndarray, values: Sequence[float] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Where slices are padding, to the pixel, and which grey values padding has.

    Parameters
    ----------
    image : (Z, Y, X)
        Grey values as they are stored; the edges of each slice count as the border of the volume.
    values : sequence of float
        Grey values that padding is known to have elsewhere: what is near to the border and thinner than a cell is found by them.

    Returns
    -------
    (Z, Y, X) bool
        Padding.
    (B,) int64
        Bins (:func:`~mitoscale.ops.grey_histogram.bins_of`) of the grey values of its cells.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(1, 255, (2, 64, 64), np.uint8)
    >>> image[1, :, :20] = 0
    >>> padding, bins = padding_of_slices(image)
    >>> padding.sum((1, 2)).tolist(), bins.tolist()
    ([0, 1280], [0])
    """
    shape = (-(-image.shape[1] // CELL), -(-image.shape[2] // CELL))
    runs = flat_runs(image)
    bins = np.zeros(0, np.int64)
    planes = {}
    for z in np.unique(runs["z"]):
        here = {name: column[runs["z"] == z] for name, column in runs.items()}
        cells = padding_cells(flat_plane(here, shape))
        if cells.any():
            planes[int(z)] = cells
            bins = np.union1d(bins, here["bin"][cells[here["y"], here["x0"]]])
    padding = np.zeros(image.shape, bool)
    known = np.union1d(values_of(bins, image.dtype.name), np.asarray(values, np.float64))
    if not known.size:
        return padding, bins
    whole = ((0, image.shape[1]), (0, image.shape[2]))
    border = near_border((0, 0), (image.shape[1], image.shape[2]), whole)
    for z, plane in enumerate(image):
        if z in planes:
            padding[z] = planes[z].repeat(CELL, 0).repeat(CELL, 1)[: image.shape[1], : image.shape[2]]
        padding[z] = padding_pixels(plane, padding[z], known.tolist(), border)
    return padding, bins


def without_padding(normalised: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """Slices as the networks see them: tissue mirrored into padding.

    Parameters
    ----------
    normalised : (Z, Y, X) uint8
        Normalised grey values.
    padding : (Z, Y, X) bool
        Where there is no tissue.
    """
    if not padding.any():
        return normalised
    return np.stack([mirrored(plane, hidden) for plane, hidden in zip(normalised, padding, strict=True)])
