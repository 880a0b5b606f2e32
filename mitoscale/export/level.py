"""One level of a run's labels or image, cut to the region that is exported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.storage.lazy import Readable

SLAB_BYTES = 2**26
"""About how much is read at once."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A part of an array; its voxels are counted from the part's corner.

    Examples
    --------
    >>> class Ones:
    ...     shape, dtype = (4, 4, 4), "uint8"
    ...     def read(self, region):
    ...         return np.ones(region.shape, np.uint8)
    >>> part, written = Region(start=(1, 0, 0), stop=(4, 2, 2)), Region(start=(0, 0, 0), stop=(2, 4, 4))
    >>> level = Level(array=Ones(), part=part, written=written, spacing=(5.0, 5.0, 5.0))
    >>> level.shape, level.read(Region.of_shape(level.shape)).sum(axis=(1, 2)).tolist(), level.origin
    ((3, 2, 2), [4, 0, 0], (5.0, 0.0, 0.0))
    """

    array: Readable
    """The whole level."""
    part: Region
    """What of it is exported, in its own voxels."""
    written: Region
    """Where the run has written it, in its own voxels: outside is 0."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    factor: Triple = (1, 1, 1)
    """Level-0 voxels (z, y, x) that one voxel spans."""
    begin: Spacing = (0.0, 0.0, 0.0)
    """Position (z, y, x) of the whole volume's first level-0 voxel's centre in nm."""

    @property
    def shape(self) -> Triple:
        """(z, y, x) in voxels."""
        return self.part.shape

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype."""
        return np.dtype(self.array.dtype)

    @property
    def origin(self) -> Spacing:
        """Position (z, y, x) of the first voxel's centre in nm; a coarse voxel's is the middle of what it spans."""
        z, y, x = (
            b + (a + 0.5) * s - s / f / 2 for a, b, s, f in zip(self.part.start, self.begin, self.spacing, self.factor, strict=True)
        )
        return z, y, x

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region, (Z, Y, X).

        Raises
        ------
        BlockError
            If stored bytes are missing or broken.
        """
        wanted = region.shifted(self.part.start)
        there = wanted.intersection(self.written)
        if there == wanted:
            return self.array.read(wanted)
        voxels = np.zeros(region.shape, self.dtype)
        if there is not None:
            voxels[there.within(wanted)] = self.array.read(there)
        return voxels

    def planes(self, depth: int = 64) -> Iterator[np.ndarray]:
        """All slices (Y, X), one after another; up to ``depth`` of them are read at once, fewer where they are large."""
        z, y, x = self.shape
        deep = max(1, min(depth, SLAB_BYTES // max(y * x * self.dtype.itemsize, 1)))
        edges = [0, *range(deep - self.part.start[0] % deep, z, deep), z]  # slabs that fit the stored chunks
        for low, high in zip(edges, edges[1:], strict=False):
            yield from self.read(Region(start=(low, 0, 0), stop=(high, y, x)))

    def blocks(self, step: Triple) -> Iterator[Region]:
        """Regions that cover all, in the order of C, some steps long on each axis, so that little is read at once.

        Parameters
        ----------
        step : (z, y, x)
            What one region is a whole number of, but at the end.
        """
        size = blocks_of(step, self.shape, SLAB_BYTES // self.dtype.itemsize)
        for corner in product(*(range(0, n, s) for n, s in zip(self.shape, size, strict=True))):
            stop = tuple(min(a + s, n) for a, s, n in zip(corner, size, self.shape, strict=True))
            yield Region(start=corner, stop=stop)


def blocks_of(step: Triple, shape: Triple, voxels: int) -> Triple:
    """The largest block of whole steps, near to a cube, of up to so many voxels; at least one step.

    Parameters
    ----------
    step : (z, y, x)
        Voxels.
    shape : (z, y, x)
        What need not be exceeded.
    voxels : int
        Most of a block.

    Examples
    --------
    >>> blocks_of((64, 64, 64), (100, 1000, 1000), 2**24)
    (128, 320, 384)
    """
    size = list(step)
    while True:
        short = [i for i in range(3) if size[i] < shape[i] and int(np.prod(size)) // size[i] * (size[i] + step[i]) <= voxels]
        if not short:
            return size[0], size[1], size[2]
        axis = min(short, key=lambda i: (size[i], -i))
        size[axis] += step[axis]
