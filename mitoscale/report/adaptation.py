"""A picture of what adapting has changed: windows, and what was found in them before and after."""

from __future__ import annotations

import numpy as np

from mitoscale.ops.instances import components
from mitoscale.report.pictures import montage, view


def adaptation_picture(image: np.ndarray, before: np.ndarray, after: np.ndarray, size_nm: tuple[float, float]) -> np.ndarray:
    """One row a window: the window, what was found before, and what is found now.

    Parameters
    ----------
    image : (N, Y, X) uint8
        Normalised grey values.
    before, after : (N, Y, X) bool
        Foreground.
    size_nm : (y, x)
        Size of a pixel in nm.

    Returns
    -------
    (H, W, 3) uint8
    """
    cells = []
    for grey, first, last in zip(image, before, after, strict=True):
        labels = [None, *(components(f[None].astype(np.uint8))[0] for f in (first, last))]
        cells += [view(grey, own, size_nm) for own in labels]
    return montage(cells, columns=3)
