"""A mask of cells that lies over a volume, on its own lattice or a coarser one."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from mitoscale.core.geometry import Region, Spacing, Triple


class CellMask(BaseModel):
    """Where a mask is, and how its voxels lie over those of the volume; both begin at the same corner.

    Examples
    --------
    >>> mask = CellMask(path="cells.tif", fingerprint="0", shape=(2, 3, 3), step=(1.0, 2.0, 2.0))
    >>> [places.tolist() for places in mask.places(Region(start=(1, 1, 0), stop=(2, 5, 6)))]
    [[1], [0, 1, 1, 2], [0, 0, 1, 1, 2, 2]]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Absolute path, or address."""
    fingerprint: str
    """Digest that tells it from others."""
    shape: Triple
    """Its own shape (z, y, x)."""
    step: Spacing
    """How many voxels of the volume one of its voxels spans (z, y, x), 1 or more."""

    def places(self, region: Region) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each slice, row and column of a region of the volume the mask's own: the one in which its middle lies."""
        z, y, x = (
            np.minimum(((np.arange(a, b) + 0.5) / s).astype(np.int64), n - 1)
            for a, b, s, n in zip(region.start, region.stop, self.step, self.shape, strict=True)
        )
        return z, y, x
