"""Masks of a slice as COCO's run lengths: down the columns, background and mask in turn, as text.

The text is that of the reference implementation (https://github.com/cocodataset/cocoapi, ``maskApi.c``): from the fourth length on
the difference to the last but one, in digits of five bits with a sixth for "more follows", and 48 added to each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mitoscale.ops.run_lengths import run_lengths

_DIGITS = 13
"""Most digits of a 64-bit number."""


@dataclass(frozen=True, kw_only=True)
class SliceMask:
    """The mask of one object in one slice."""

    label: int
    """The object."""
    counts: str
    """Run lengths as COCO writes them."""
    area: int
    """Pixels."""
    box: tuple[int, int, int, int]
    """x, y, width and height in pixels."""


def slice_masks(plane: np.ndarray) -> Iterator[SliceMask]:
    """The masks of all objects of a slice, by label.

    Parameters
    ----------
    plane : (Y, X) unsigned
        Labels, 0 is background.

    Examples
    --------
    >>> [mask] = slice_masks(np.array([[0, 7, 7], [0, 7, 0]], np.uint32))
    >>> mask.counts, mask.area, mask.box
    ('231', 3, (1, 0, 2, 2))
    """
    height, width = plane.shape
    lengths, values = run_lengths(np.ascontiguousarray(plane.T))
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(values, kind="stable")
    order = order[np.searchsorted(values[order], 1) :]  # without the background
    values, starts, lengths = values[order], starts[order], lengths[order]
    edges = np.flatnonzero(np.diff(values)) + 1
    for low, high in zip([0, *edges], [*edges, len(values)], strict=True):
        if low == high:  # nothing is there
            return
        begin, end = starts[low:high], starts[low:high] + lengths[low:high]
        runs = np.empty(2 * (high - low) + 1, np.int64)
        runs[0:-1:2], runs[1::2] = begin - np.concatenate([[0], end[:-1]]), end - begin
        runs[-1] = height * width - end[-1]
        yield SliceMask(
            label=int(values[low]),
            counts=rle_text(runs[:-1] if runs[-1] == 0 else runs),
            area=int(lengths[low:high].sum()),
            box=_box(begin, end, height),
        )


def rle_text(counts: np.ndarray) -> str:
    """(N,) int64 run lengths as text.

    Examples
    --------
    >>> rle_text(np.array([2, 3, 1])), rle_text(np.array([100, 5, 100, 40]))
    ('231', 'T35T3S1')
    """
    numbers = counts.copy()
    numbers[3:] -= counts[1:-2]
    digits, used = np.zeros((len(numbers), _DIGITS), np.uint8), np.zeros((len(numbers), _DIGITS), bool)
    going = np.ones(len(numbers), bool)
    for place in range(_DIGITS):
        digit = numbers & 31
        numbers >>= 5
        more = np.where(digit & 16, numbers != -1, numbers != 0)
        digits[:, place], used[:, place] = (digit | (more << 5)) + 48, going
        going &= more
        if not going.any():
            break
    return digits[used].tobytes().decode("ascii")


def _box(begin: np.ndarray, end: np.ndarray, height: int) -> tuple[int, int, int, int]:
    left, right = int(begin[0]) // height, int(end[-1] - 1) // height
    whole = begin // height != (end - 1) // height  # goes on at the top of the next column
    top = 0 if whole.any() else int((begin % height).min())
    bottom = height if whole.any() else int(((end - 1) % height).max()) + 1
    return left, top, right - left + 1, bottom - top
