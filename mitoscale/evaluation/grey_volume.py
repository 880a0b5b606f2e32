"""Normalised slices of a volume that no run has converted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.volume import Normalisation
from mitoscale.ops.grey_histogram import Histogram
from mitoscale.stages.grey import grey_of
from mitoscale.stages.source import Source, open_source
from mitoscale.storage.arrays import Array, open_array
from mitoscale.storage.tiff import TiffSource, open_tiff

_SAMPLED, _EDGE = 16, 1024
"""Slices, evenly spread, and the largest edge of the middle part of each, whose grey values stand for the volume's."""


@dataclass(frozen=True, kw_only=True)
class GreyVolume:
    """A volume to look into; get one from :func:`open_grey`."""

    source: Source
    """What was opened."""
    reader: Array | TiffSource
    """Where the voxels are."""
    normalisation: Normalisation
    """From percentiles of sampled slices."""

    @property
    def spacing(self) -> Spacing:
        """Voxel size (z, y, x) in nm."""
        return self.source.spacing

    def read(self, region: Region) -> np.ndarray:
        """(Z, Y, X) uint8, normalised."""
        return self.normalisation.apply(self.reader.read(region))


def open_grey(path: str, voxel_size: Spacing | None, *, invert: bool = False) -> GreyVolume:
    """Open a TIFF, a folder or glob of slices, or an OME-Zarr.

    Percentiles come from 16 slices evenly spread over the volume, so that a terabyte opens as quickly as a crop.

    Raises
    ------
    InputError
        If it cannot be read, nobody tells the voxel size, or it has no contrast.
    """
    source = open_source(path, voxel_size)
    reader = open_array(source.level0, missing="fill") if source.level0 else open_tiff(path)
    depth, height, width = source.shape
    parts = []
    for z in sorted({i * (depth - 1) // max(_SAMPLED - 1, 1) for i in range(_SAMPLED)}):
        y, x = (max(0, (n - _EDGE) // 2) for n in (height, width))
        plane = reader.read(Region(start=(z, y, x), stop=(z + 1, min(y + _EDGE, height), min(x + _EDGE, width))))
        parts.append(Histogram.of(plane))
    grey = grey_of(Histogram.total(parts, source.dtype), path, invert=invert)
    return GreyVolume(source=source, reader=reader, normalisation=grey.normalisation)
