"""Grey values of any dtype counted in bins that are fine wherever values lie, so that a few extreme voxels spoil nothing.

An integer has a bin of its own. A float has one with all that agree with it in sign, exponent and the first 13 bits of the
mantissa: bins are 0.012 % of their value wide, be the values around 1e-6 or 1e6, and need no least and largest value in
advance. Counts are whole numbers, so histograms of parts add up to that of the whole, bit for bit, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

_CUT_BITS = 10
"""Bits of a float32's mantissa that its bin leaves away."""

_STRIP = 2**18
"""Voxels that are counted at once, at least: each takes 8 bytes then."""

_SIGN = np.uint32(1 << 31)


def bin_count(dtype: str) -> int:
    """Number of bins for a dtype.

    Examples
    --------
    >>> bin_count("uint8"), bin_count("int16"), bin_count("float32")
    (256, 65536, 4194304)
    """
    kind = np.dtype(dtype)
    return 2 ** (8 * kind.itemsize) if kind.kind in "iu" else 2 ** (32 - _CUT_BITS)


def bins_of(grey: np.ndarray) -> np.ndarray:
    """The bin of each grey value, of the same shape; a larger value has no smaller bin.

    Examples
    --------
    >>> bins_of(np.array([-128, 0, 127], np.int8)).tolist()
    [0, 128, 255]
    >>> bool((np.diff(bins_of(np.array([-1e6, -1.0, 0.0, 1.0, 1.001, 1e6], np.float32)).astype(int)) > 0).all())
    True
    """
    if grey.dtype.kind == "u":
        return grey
    if grey.dtype.kind == "i":
        return (grey.astype(np.int64) - np.iinfo(grey.dtype).min).astype(np.uint32)
    bits = (np.ascontiguousarray(grey, np.float32) + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return ordered >> np.uint32(_CUT_BITS)


def values_of(bins: np.ndarray, dtype: str) -> np.ndarray:
    """The grey value each bin stands for, float64: of a float bin the one nearest to 0.

    Parameters
    ----------
    bins : (N,) int
        From :func:`bins_of`.
    dtype : str
        Of the grey values.

    Examples
    --------
    >>> values_of(bins_of(np.array([-2.5, 0.0, 1e6], np.float32)), "float32").tolist()
    [-2.5, 0.0, 1000000.0]
    """
    kind = np.dtype(dtype)
    if kind.kind == "u":
        return bins.astype(np.float64)
    if kind.kind == "i":
        return bins.astype(np.float64) + np.iinfo(kind).min
    ordered = bins.astype(np.uint32) << np.uint32(_CUT_BITS)
    low_bits = np.uint32((1 << _CUT_BITS) - 1)
    bits = np.where(ordered & _SIGN, ordered & ~_SIGN, ~(ordered | low_bits))
    return bits.view(np.float32).astype(np.float64)


def _bytes_counted(grey: np.ndarray) -> np.ndarray:
    """(256,) int64: how often each byte is there. Pillow counts in place; ``bincount`` makes eight bytes of each first."""
    counts = np.zeros(256, np.int64)
    if grey.size:
        for plane in grey.reshape(-1, grey.shape[-2] if grey.ndim > 1 else 1, grey.shape[-1]):
            picture = Image.frombuffer("L", plane.shape[::-1], np.ascontiguousarray(plane), "raw", "L", 0, 1)
            counts += picture.histogram()
    return counts


def _counted(grey: np.ndarray) -> np.ndarray:
    """(N,) int64: how often each bin is there, up to the last one that holds some."""
    values, counts, first = grey.reshape(-1), np.zeros(0, np.int64), 0
    while first < len(values):
        strip = max(_STRIP, len(counts))  # adding up many bins takes as long as counting
        found = np.bincount(bins_of(values[first : first + strip]))
        counts, found = sorted((counts, found), key=len, reverse=True)
        counts[: len(found)] += found
        first += strip
    return counts


@dataclass(frozen=True)
class Histogram:
    """How many voxels have which grey value; only bins that hold some."""

    dtype: str
    """Of the grey values."""
    bins: np.ndarray
    """(N,) int64, rising."""
    counts: np.ndarray
    """(N,) int64, above 0."""

    @classmethod
    def of(cls, grey: np.ndarray) -> Histogram:
        """Count an array of any shape."""
        if grey.dtype == np.uint8:
            return cls._dense("uint8", _bytes_counted(grey))
        return cls._dense(grey.dtype.name, _counted(grey))

    @classmethod
    def total(cls, parts: Iterable[Histogram], dtype: str) -> Histogram:
        """The sum of any number of histograms; only one of them is held at a time.

        Parameters
        ----------
        parts : iterable of Histogram
            All of ``dtype``.
        dtype : str
            Of the grey values.
        """
        counts = np.zeros(bin_count(dtype), np.int64)
        for part in parts:
            counts[part.bins] += part.counts
        return cls._dense(dtype, counts)

    @classmethod
    def _dense(cls, dtype: str, counts: np.ndarray) -> Histogram:
        bins = np.flatnonzero(counts)
        return cls(dtype, bins, counts[bins].astype(np.int64))

    def without(self, bins: np.ndarray) -> Histogram:
        """What is left without some bins."""
        kept = ~np.isin(self.bins, bins)
        return Histogram(self.dtype, self.bins[kept], self.counts[kept])

    @property
    def values(self) -> np.ndarray:
        """(N,) float64 grey value of each bin."""
        return values_of(self.bins, self.dtype)
