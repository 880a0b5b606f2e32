"""Ranges of one size that cover an axis and overlap: where windows lie on it."""

from __future__ import annotations


def overlapping_ranges(length: int, size: int, overlap: int, step: int = 1) -> list[tuple[int, int]]:
    """Ranges of ``size`` with at least ``overlap`` in common that cover ``0 .. length``, as few as possible and evenly spread.

    Parameters
    ----------
    length : int
        Of the axis.
    size : int
        Of a range; the last may be longer by less than ``step``.
    overlap : int
        Below ``size``; at least this much is shared by neighbours.
    step : int
        Ranges begin at multiples of it.

    Returns
    -------
    list of (int, int)
        Half-open, in order; the whole axis where it is no longer than ``size``.

    Examples
    --------
    >>> overlapping_ranges(100, 50, 10)
    [(0, 50), (25, 75), (50, 100)]
    >>> overlapping_ranges(2048, 1088, 128, 32)
    [(0, 1088), (960, 2048)]
    """
    if length <= size:
        return [(0, length)]
    count = -(-(length - overlap) // (size - overlap))
    starts = [i * (length - size) // (count - 1) // step * step for i in range(count)]
    return [*((start, start + size) for start in starts[:-1]), (starts[-1], length)]
