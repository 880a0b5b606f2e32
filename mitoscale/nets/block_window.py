"""Which pixels a network must see for a block: the smallest window on its lattice that covers the block's core and a margin.

Windows begin and end at multiples of the network's stride, counted from the volume's origin, because pooling has a phase: two
blocks that see the same place say the same of it. What lies beyond the volume repeats its last pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.ops.resample import coarse_range, from_network, to_network

_SAME = 0.01
"""Pixels whose sizes differ by no more than this part are taken for the same: nothing is resampled."""


@dataclass(frozen=True, kw_only=True)
class WindowAxis:
    """A window along one axis."""

    start: int
    """Its first network pixel, counted from the volume's origin."""
    size: int
    """Its network pixels, a multiple of the stride."""
    pixels: np.ndarray
    """(size,) int64: which pixel of the read region each network pixel repeats, where both are the same size."""
    down: np.ndarray | None
    """(size, read) float32: weights of the read region's pixels in each network pixel; None where both are the same size."""
    up: np.ndarray | None
    """(wanted, size) float32: weights of network pixels in each wanted one; None where both are the same size."""
    wanted: slice
    """The wanted pixels within the window, where both are the same size."""


def same_size(ratio: float) -> float:
    """The ratio of two pixel sizes, or 1 where they are as good as the same.

    Examples
    --------
    >>> same_size(1.003), same_size(1.087)
    (1.0, 1.087)
    """
    return 1.0 if abs(ratio - 1) <= _SAME else ratio


def window_axis(read: tuple[int, int], wanted: tuple[int, int], *, ratio: float, stride: int, margin: int) -> WindowAxis:
    """The window along one axis.

    Parameters
    ----------
    read : (start, stop)
        The volume's pixels that were read.
    wanted : (start, stop)
        Those among them whose foreground is wanted.
    ratio : float
        Volume pixels in a network pixel.
    stride : int
        Of the network.
    margin : int
        Network pixels that it must see beyond the wanted ones, where there are so many.

    Examples
    --------
    >>> axis = window_axis((448, 1088), (512, 1024), ratio=1.0, stride=32, margin=48)
    >>> axis.start, axis.size, axis.wanted
    (448, 640, slice(64, 576, None))
    """
    first, last = coarse_range(*read, ratio)
    low, high = coarse_range(*wanted, ratio)
    start = max((low - margin) // stride, first // stride) * stride
    stop = min(-(-(high + margin) // stride), -(-last // stride)) * stride
    pixels = np.clip(np.arange(start, stop), first, last - 1) - first  # beyond what was read its last pixel is repeated
    if ratio == 1.0:
        inside = slice(wanted[0] - start, wanted[1] - start)
        return WindowAxis(start=start, size=stop - start, pixels=pixels, down=None, up=None, wanted=inside)
    known = (max(start, first), min(stop, last))
    up = np.zeros((wanted[1] - wanted[0], stop - start), np.float32)
    up[:, known[0] - start : known[1] - start] = from_network(*wanted, ratio, columns=known)
    down = to_network(*read, ratio)[pixels]
    return WindowAxis(start=start, size=stop - start, pixels=pixels, down=down, up=up, wanted=slice(None))
