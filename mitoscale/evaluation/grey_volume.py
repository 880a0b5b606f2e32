"""Normalised slices of a volume that no run has converted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.source_choices import Reading
from mitoscale.ops.grey_histogram import Histogram
from mitoscale.stages.grey_statistics import grey_of
from mitoscale.stages.source import Source, open_source
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.sources.reader import Reader

_SAMPLED, _EDGE = 16, 1024
"""Slices, evenly spread, and the largest edge of the middle part of each, whose grey values stand for the volume's."""


@dataclass(frozen=True, kw_only=True)
class GreyVolume:
    """A volume to look into; get one from :func:`open_grey`."""

    source: Source
    """What was opened."""
    reader: Reader
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


def open_grey(path: str, voxel_size: Spacing | None, *, invert: bool = False, reading: Reading | None = None) -> GreyVolume:
    """Open a volume of any kind.

    Percentiles come from 16 slices evenly spread over the volume, so that a terabyte opens as quickly as a crop.

    Parameters
    ----------
    path : str
        What is opened.
    voxel_size : (z, y, x), optional
        In nm; wins over what the source says.
    invert : bool
        Swap dark and bright.
    reading : Reading, optional
        What the user has decided of it.

    Raises
    ------
    InputError
        If it cannot be read, nobody tells the voxel size, or it has no contrast.
    """
    source = open_source(path, voxel_size, reading)
    reader = open_reader(path, reading)
    depth, height, width = source.shape
    parts = []
    for z in sorted({i * (depth - 1) // max(_SAMPLED - 1, 1) for i in range(_SAMPLED)}):
        y, x = (max(0, (n - _EDGE) // 2) for n in (height, width))
        plane = reader.read(Region(start=(z, y, x), stop=(z + 1, min(y + _EDGE, height), min(x + _EDGE, width))))
        parts.append(Histogram.of(plane))
    grey = grey_of(Histogram.total(parts, source.dtype), path, invert=invert)
    return GreyVolume(source=source, reader=reader, normalisation=grey.normalisation)
