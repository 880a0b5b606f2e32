"""Which windows of a fixed size hold all that is asked for in a slice: few, so that a place is shown to a network once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SNAP = 16
"""Windows begin at multiples of this, counted from the volume's origin."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window and the boxes it holds whole."""

    start: tuple[int, int]
    """First pixel (y, x)."""
    boxes: list[int] = field(default_factory=list)
    """Indices."""


def cover(boxes: np.ndarray, size: int, context: int, bounds: np.ndarray) -> list[Window]:
    """Windows that hold every box whole, each box in one of them.

    From the top: the topmost box that is left takes with it the boxes that fit in one window with it, as many as there are.

    Parameters
    ----------
    boxes : (N, 4) float
        y0, x0, y1, x1 (inclusive); none is longer than ``size - 2 * context``.
    size : int
        Height and width of a window.
    context : int
        Pixels wanted around a box as far as the slice reaches, at least ``SNAP``.
    bounds : (2, 2) int
        First and last + 1 pixels (y, x) of what was read: windows do not reach beyond where they need not.

    Returns
    -------
    list of Window

    Examples
    --------
    >>> boxes = np.array([[20, 20, 30, 30], [40, 60, 60, 90], [20, 200, 50, 230.0]])
    >>> [(w.start, w.boxes) for w in cover(boxes, 128, 16, np.array([[0, 0], [256, 256]]))]
    [((0, 0), [0, 1]), ((0, 128), [2])]
    >>> whole = np.array([[0, 0], [128, 128]])  # a slice as large as a window
    >>> [(w.start, w.boxes) for w in cover(np.array([[2, 3, 30, 40], [80, 90, 125, 127.0]]), 128, 16, whole)]
    [((0, 0), [0, 1])]
    """
    # Beyond what was read there is no context to be wanted; that was slack for the snapping, so the first pixel is snapped here.
    low = np.maximum(boxes[:, :2] - context, np.floor(np.minimum(boxes[:, :2], bounds[0]) / SNAP) * SNAP)
    high = np.minimum(boxes[:, 2:] + context, np.maximum(boxes[:, 2:] + 1, bounds[1]))
    left = np.lexsort((low[:, 1], low[:, 0]))
    windows = []
    while len(left):
        first = left[0]
        row = left[high[left, 0] - low[first, 0] <= size]  # no lower than a window that begins where the first does
        best = np.array([first])
        for x in low[row, 1]:
            if x <= low[first, 1] and high[first, 1] - x <= size:
                held = row[(low[row, 1] >= x) & (high[row, 1] - x <= size)]
                best = held if len(held) > len(best) else best
        start = centred(low[best].min(axis=0), high[best].max(axis=0), size, bounds)
        windows.append(Window(start=start, boxes=sorted(best.tolist())))
        left = left[~np.isin(left, best)]
    return windows


def centred(low: np.ndarray, high: np.ndarray, size: int, bounds: np.ndarray) -> tuple[int, int]:
    """First pixel of the window around a place, within what was read where that is large enough.

    Parameters
    ----------
    low, high : (2,) float
        First and last pixel (y, x) of the place.
    size : int
        Height and width of the window.
    bounds : (2, 2) int
        First and last + 1 pixels of what was read.
    """
    start = np.rint((low + high - size) / 2 / SNAP) * SNAP
    first, last = np.ceil(bounds[0] / SNAP) * SNAP, np.floor((bounds[1] - size) / SNAP) * SNAP
    # What is read need not begin at a multiple of SNAP: a place at its border stays in the window all the same.
    start = np.where(last >= first, np.clip(start, np.minimum(first, np.floor(low / SNAP) * SNAP), last), start)
    y, x = np.maximum(start, np.ceil((high - size) / SNAP) * SNAP).astype(int).tolist()
    return y, x
