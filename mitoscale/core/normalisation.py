"""How grey values are normalised: the two that become 0 and 1, found from a histogram."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator


class Normalisation(BaseModel):
    """The linear map from a volume's grey values to the uint8 that networks and pictures see.

    The bounds are percentiles of the whole volume, never of a window: normalising windows apart makes seams.

    Examples
    --------
    >>> norm = Normalisation(low=100.0, high=300.0)
    >>> norm.apply(np.array([50, 100, 200, 300, 400], dtype=np.uint16))
    array([  0,   0, 128, 255, 255], dtype=uint8)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    """Grey value that becomes 0."""
    high: float
    """Grey value that becomes 255; above ``low``."""
    invert: bool = False
    """Swap dark and bright, for volumes whose membranes are bright."""

    @model_validator(mode="after")
    def _check(self) -> Normalisation:
        if not self.high > self.low:
            raise ValueError(f"normalisation needs low < high, got {self.low} and {self.high}: is the volume constant?")
        return self

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Grey values of any shape and dtype as uint8 of the same shape."""
        if image.dtype in (np.uint8, np.uint16) and image.size > 2**16:  # each value once, not each voxel
            table = self._scaled(np.arange(int(np.iinfo(image.dtype).max) + 1, dtype=np.float32))
            if image.dtype == np.uint16:
                return table[image]
            translated = bytearray(np.ascontiguousarray(image)).translate(table.tobytes())
            return np.frombuffer(translated, np.uint8).reshape(image.shape)
        return self._scaled(image)

    def mapped(self, gain: float, offset: float) -> Normalisation:
        """What maps a grey value as this one maps ``gain * value + offset``.

        Parameters
        ----------
        gain : float
            Above 0.
        offset : float
            In grey values.

        Examples
        --------
        >>> Normalisation(low=100.0, high=300.0).mapped(2.0, 40.0)
        Normalisation(low=30.0, high=130.0, invert=False)
        """
        return self.model_copy(update={"low": (self.low - offset) / gain, "high": (self.high - offset) / gain})

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        scaled = (image.astype(np.float32) - np.float32(self.low)) * np.float32(255.0 / (self.high - self.low))
        result = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return 255 - result if self.invert else result

    @classmethod
    def from_histogram(
        cls, counts: np.ndarray, values: np.ndarray, percentiles: tuple[float, float], invert: bool = False
    ) -> Normalisation:
        """Bounds at two percentiles of a histogram, rare extremes left out.

        Parameters
        ----------
        counts : (N,) int64
            Voxels per bin.
        values : (N,) float64
            Grey value each bin stands for, rising.
        percentiles : pair of float
            Lower and upper percentile, 0..100.
        invert : bool
            See the field.

        Raises
        ------
        ValueError
            If the histogram is empty or both percentiles fall on one value.
        """
        if not counts.sum():
            raise ValueError("histogram is empty")
        least, most = usual_range(counts, values)
        inside = (values >= least) & (values <= most)
        low, high = _percentiles(counts[inside], values[inside], percentiles)
        if high <= low:
            filled = np.flatnonzero(counts)
            low, high = float(values[filled[0]]), float(values[filled[-1]])
        if high <= low:
            raise ValueError(f"it is constant: every voxel is {low:g}")
        return cls(low=low, high=high, invert=invert)


_BULK = (1.0, 99.0)
"""Percentiles between which a volume's tissue lies."""


def usual_range(counts: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The range of grey values outside of which voxels are rare extremes, such as hot pixels.

    It reaches beyond the first and the last percentile by as much as these are apart, so less than 1 % can lie on either side of
    it; of a normal distribution nothing does.

    Parameters
    ----------
    counts : (N,) int64
        Voxels per bin, not all 0.
    values : (N,) float64
        Grey value each bin stands for, rising.

    Examples
    --------
    >>> usual_range(np.array([500, 500, 4]), np.array([10.0, 20.0, 65535.0]))
    (0.0, 30.0)
    """
    low, high = _percentiles(counts, values, _BULK)
    if high <= low:  # almost all voxels are alike: the others are what there is to see
        return float(values[0]), float(values[-1])
    return low - (high - low), high + (high - low)


def _percentiles(counts: np.ndarray, values: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    cumulative = np.cumsum(counts)
    last = len(values) - 1
    low, high = (float(values[min(int(np.searchsorted(cumulative, cumulative[-1] * p / 100.0)), last)]) for p in percentiles)
    return low, high
