"""Very large slices: windows that overlap, weighted down towards their edges."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mitoscale.ops.overlapping_ranges import overlapping_ranges

LARGEST = 1536
"""Largest window edge in network pixels; a larger slice is cut into windows that overlap."""

_OVERLAP = 4
"""Strides that neighbouring windows have in common at least."""


def blended(network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, stride: int) -> torch.Tensor:
    """What a network says of images of any size.

    Parameters
    ----------
    network : callable
        (N, C, H, W) -> (N, H, W).
    image : (N, C, H, W)
        H and W multiples of ``stride``.
    stride : int
        Of the network; windows begin at multiples of it.
    """
    height, width = image.shape[-2:]
    if max(height, width) <= LARGEST:
        return network(image)
    overlap = _OVERLAP * stride
    total = torch.zeros((len(image), height, width), device=image.device)
    weight = torch.zeros((height, width), device=image.device)
    for y0, y1 in cuts(height, overlap, stride):
        for x0, x1 in cuts(width, overlap, stride):
            ramp = torch.outer(_ramp(y1 - y0, overlap), _ramp(x1 - x0, overlap)).to(image.device)
            total[:, y0:y1, x0:x1] += network(image[..., y0:y1, x0:x1]) * ramp
            weight[y0:y1, x0:x1] += ramp
    return total / weight


def cuts(length: int, overlap: int, stride: int) -> list[tuple[int, int]]:
    """Ranges of at most ``LARGEST`` with at least ``overlap`` in common that cover ``0 .. length``.

    Parameters
    ----------
    length : int
        A multiple of ``stride``.
    overlap : int
        At least this much is shared by neighbours.
    stride : int
        Ranges begin and end at multiples of it.

    Examples
    --------
    >>> cuts(2048, 128, 32)
    [(0, 1088), (960, 2048)]
    """
    count = max(1, -(-(length - overlap) // (LARGEST - overlap)))
    size = -(-(length + (count - 1) * overlap) // count // stride) * stride  # no larger than so few windows need
    return overlapping_ranges(length, size, overlap, stride)


def _ramp(length: int, overlap: int) -> torch.Tensor:
    """(length,) weights that rise over ``overlap`` pixels from both ends."""
    distance = torch.minimum(torch.arange(length) + 1, length - torch.arange(length))
    return (distance / overlap).clamp(max=1.0)
