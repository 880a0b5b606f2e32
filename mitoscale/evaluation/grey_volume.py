"""Normalised slices of a volume that no run has converted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.source_choices import Reading
from mitoscale.ops.grey_histogram import Histogram, values_of
from mitoscale.ops.slice_padding import padding_of_slices, without_padding
from mitoscale.stages.grey_statistics import grey_of, tissue_of
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
    padding_values: tuple[float, ...] | None
    """Grey values that padding has in them; None: it is a drawing, in which nothing is padding."""

    @property
    def spacing(self) -> Spacing:
        """Voxel size (z, y, x) in nm."""
        return self.source.spacing

    def read(self, region: Region) -> np.ndarray:
        """(Z, Y, X) uint8, normalised."""
        return self.normalisation.apply(self.reader.read(region))

    def read_tissue(self, region: Region) -> tuple[np.ndarray, np.ndarray]:
        """Slices as a run of this region alone shows them to its networks.

        Parameters
        ----------
        region : Region
            What is read; its edges count as the border of the volume.

        Returns
        -------
        (Z, Y, X) uint8
            Normalised, with tissue mirrored into padding.
        (Z, Y, X) bool
            Padding: nothing is to be found there.
        """
        image = self.reader.read(region)
        if self.padding_values is None:
            return self.normalisation.apply(image), np.zeros(image.shape, bool)
        padding, _ = padding_of_slices(image, self.padding_values)
        return without_padding(self.normalisation.apply(image), padding), padding


def open_grey(path: str, voxel_size: Spacing | None, *, invert: bool = False, reading: Reading | None = None) -> GreyVolume:
    """Open a volume of any kind.

    Percentiles come from 16 slices evenly spread over the volume, so that a terabyte opens as quickly as a crop; padding does not
    count.

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
    return grey_volume(open_source(path, voxel_size, reading), invert=invert)


def grey_volume(source: Source, *, invert: bool = False, part: Region | None = None) -> GreyVolume:
    """The same of a source that was opened and checked.

    Parameters
    ----------
    source : Source
        The volume.
    invert : bool
        Swap dark and bright.
    part : Region, optional
        Where the slices lie that are looked at; without it, anywhere.

    Raises
    ------
    InputError
        If it cannot be read, or it has no contrast.
    """
    reader = open_reader(source.path, source.reading)
    part = part or Region.of_shape(source.shape)
    (depth, *lateral), (first, *corner) = part.shape, part.start
    y, x = (a + max(0, (n - _EDGE) // 2) for a, n in zip(corner, lateral, strict=True))
    below, right = (min(a + _EDGE, stop) for a, stop in zip((y, x), part.stop[1:], strict=True))
    parts, padding = [], np.zeros(0, np.int64)
    for z in sorted({first + i * (depth - 1) // max(_SAMPLED - 1, 1) for i in range(_SAMPLED)}):
        plane = reader.read(Region(start=(z, y, x), stop=(z + 1, below, right)))
        parts.append(Histogram.of(plane))
        padding = np.union1d(padding, padding_of_slices(plane)[1])
    tissue, known = tissue_of(Histogram.total(parts, source.dtype), padding)
    grey = grey_of(tissue, source.path, invert=invert)
    values = tuple(map(float, values_of(padding, source.dtype))) if known else None
    return GreyVolume(source=source, reader=reader, normalisation=grey.normalisation, padding_values=values)
