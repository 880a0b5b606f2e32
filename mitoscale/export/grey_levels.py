"""The image for kinds that show it beside the labels: levels that a run has, or coarser ones computed when they are read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.ops.downsample import mean_downsample
from mitoscale.storage.lazy import Readable

_PIECE = 2**24
"""About how many voxels of the finest level are read at once."""


@dataclass(frozen=True)
class GreyImage:
    """An image; what is wrong with it is told of the image, not of the labels."""

    array: Readable
    """Level 0, or a coarser one."""

    @property
    def shape(self) -> Triple:
        """(z, y, x)."""
        z, y, x = self.array.shape
        return z, y, x

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype."""
        return np.dtype(self.array.dtype)

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region.

        Raises
        ------
        InputError
            If stored bytes are missing or broken.
        """
        try:
            return self.array.read(region)
        except BlockError as error:
            raise InputError(f"the image cannot be read: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Coarser:
    """A coarser level of an image that has none: means of the finest voxels, read a piece at a time.

    Examples
    --------
    >>> class Rising:
    ...     shape, dtype = (1, 2, 5), "uint8"
    ...     def read(self, region):
    ...         return np.arange(10, dtype=np.uint8).reshape(1, 2, 5)[region.slices]
    >>> coarse = Coarser(source=Rising(), factor=(1, 2, 2))
    >>> coarse.read(Region.of_shape(coarse.shape)).tolist()
    [[[3, 5, 7]]]
    """

    source: Readable
    """The finest level."""
    factor: Triple
    """Its voxels (z, y, x) that one voxel spans; powers of 2."""

    @property
    def shape(self) -> Triple:
        """(z, y, x)."""
        z, y, x = (-(-n // f) for n, f in zip(self.source.shape, self.factor, strict=True))
        return z, y, x

    @property
    def dtype(self) -> np.dtype:
        """As the source's."""
        return np.dtype(self.source.dtype)

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region; raises what the source does."""
        edge = max(1, round((_PIECE / np.prod(self.factor)) ** (1 / 3)))
        voxels = np.empty(region.shape, self.dtype)
        for corner in product(*(range(a, b, edge) for a, b in zip(region.start, region.stop, strict=True))):
            stop = tuple(min(a + edge, b) for a, b in zip(corner, region.stop, strict=True))
            part = Region(start=corner, stop=stop)
            voxels[part.within(region)] = self._piece(part)
        return voxels

    def _piece(self, part: Region) -> np.ndarray:
        start = tuple(a * f for a, f in zip(part.start, self.factor, strict=True))
        stop = tuple(min(b * f, n) for b, f, n in zip(part.stop, self.factor, self.source.shape, strict=True))
        voxels, left = self.source.read(Region(start=start, stop=stop)), list(self.factor)
        while max(left) > 1:
            z, y, x = (2 if f > 1 else 1 for f in left)
            voxels, left = mean_downsample(voxels, (z, y, x)), [max(1, f // 2) for f in left]
        return voxels
