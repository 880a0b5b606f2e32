"""What a volume is: its shape, dtype, voxel size and pyramid, and how its grey values are normalised."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from mitoscale.core.geometry import Spacing, Triple


class VolumeSpec(BaseModel):
    """Shape, dtype, voxel size and storage layout of a volume and its pyramid.

    Examples
    --------
    >>> spec = VolumeSpec(shape=(20, 100, 100), dtype="uint8", spacing=(50.0, 5.0, 5.0),
    ...                   chunks=(8, 32, 32), shards=(16, 64, 64), factors=((1, 1, 1), (1, 2, 2)))
    >>> spec.level_shape(1), spec.level_spacing(1), spec.level_shards(1)
    ((20, 50, 50), (50.0, 10.0, 10.0), (16, 64, 64))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Triple
    """Level-0 shape (z, y, x) in voxels."""
    dtype: str
    """NumPy name of the dtype, such as ``uint8``."""
    spacing: Spacing
    """Level-0 voxel size (z, y, x) in nm."""
    origin: Spacing = (0.0, 0.0, 0.0)
    """Position (z, y, x) of the first voxel's centre in nm."""
    chunks: Triple
    """Chunk of each level, (z, y, x) voxels; where a level's shard is smaller, its chunk is the shard."""
    shards: Triple
    """Shard of level 0, (z, y, x) voxels: what one block writes."""
    factors: tuple[Triple, ...]
    """For each level how many level-0 voxels one voxel spans (z, y, x); the first is (1, 1, 1)."""

    @model_validator(mode="after")
    def _check(self) -> VolumeSpec:
        if any(n < 1 for n in self.shape):
            raise ValueError(f"shape {self.shape} must be at least 1 on each axis")
        if any(not s > 0 for s in self.spacing):
            raise ValueError(f"voxel size {self.spacing} nm must be above 0 on each axis")
        if any(s % c for s, c in zip(self.shards, self.chunks, strict=True)):
            raise ValueError(f"shard {self.shards} must be a whole number of chunks {self.chunks}")
        if not self.factors or self.factors[0] != (1, 1, 1):
            raise ValueError("the first level's factor must be (1, 1, 1)")
        for factor in self.factors:
            if any(s % f for s, f in zip(self.shards, factor, strict=True)):
                raise ValueError(f"shard {self.shards} must be divisible by the level's factor {factor}")
        return self

    def level_shape(self, level: int) -> Triple:
        """Shape (z, y, x) of a level."""
        z, y, x = (-(-n // f) for n, f in zip(self.shape, self.factors[level], strict=True))
        return z, y, x

    def level_spacing(self, level: int) -> Spacing:
        """Voxel size (z, y, x) of a level in nm."""
        z, y, x = (s * f for s, f in zip(self.spacing, self.factors[level], strict=True))
        return z, y, x

    def level_shards(self, level: int) -> Triple:
        """Shard (z, y, x) of a level: as many voxels on each, so that there are few of the coarser ones."""
        self.factors[level]  # raises where there is no such level
        return self.shards

    def level_chunks(self, level: int) -> Triple:
        """Chunk (z, y, x) of a level: the wanted chunk, or the shard where that is smaller or does not divide."""
        shards = self.level_shards(level)
        z, y, x = (c if s % c == 0 else s for c, s in zip(self.chunks, shards, strict=True))
        return z, y, x


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
