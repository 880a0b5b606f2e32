"""What of a run is exported: its labels, image and tables, cut to a region, from a level on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.export.grey_levels import Coarser, GreyImage
from mitoscale.export.level import Level
from mitoscale.export.renumber import Renumbered
from mitoscale.stages.convert import Convert
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.storage.arrays import open_array
from mitoscale.storage.lazy import Readable


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a kind gets to write."""

    plan: RunPlan
    """The run."""
    target: str
    """The file or folder that is made, once it is whole."""
    group: str
    """OME-Zarr labels: the run's own, or with corrections."""
    table: str
    """The table that a table's file gets, in ``tables`` of the run."""
    objects: str
    """The table of objects that belongs to the labels."""
    region: Region
    """What is written, in level-0 voxels."""
    first: int = 0
    """The finest level that is written."""
    missing: Literal["raise", "fill"] = "raise"
    """What reading labels that were never written does; a block that was given up is background."""
    missing_image: Literal["raise", "fill"] = "raise"
    """The same of the image."""
    names: np.ndarray | None = None
    """(N,) uint64 ascending: the labels that are numbered anew from 1 on; None: they stay."""

    @property
    def labels(self) -> tuple[Level, ...]:
        """Labels, from the finest level that is written to the coarsest."""
        return tuple(self._level(f"{self.group}/{level}", level) for level in range(self.first, len(self.plan.spec.factors)))

    @property
    def image(self) -> tuple[Level, ...]:
        """The image, level for level beside the labels; of a source that is read in place coarser ones are computed."""
        array, made = self.plan.image, not self.plan.settings.convert.in_place
        source = None if made else GreyImage(Convert(plan=self.plan).open_image())
        levels = []
        for level in range(self.first, len(self.plan.spec.factors)):
            if source is None:
                own: Readable = GreyImage(open_array(os.path.join(os.path.dirname(array), str(level)), missing=self.missing_image))
            else:
                own = source if level == 0 else Coarser(source=source, factor=self.plan.spec.factors[level])
            levels.append(self._cut(own, level, self.plan.region if made else Region.of_shape(self.plan.spec.shape)))
        return tuple(levels)

    def _level(self, path: str, level: int) -> Level:
        array: Readable = open_array(path, missing=self.missing)
        if self.names is not None:
            array = Renumbered(array=array, names=self.names)
        return self._cut(array, level, self.plan.region)

    def _cut(self, array: Readable, level: int, written: Region) -> Level:
        spec = self.plan.spec
        factor = spec.factors[level]
        return Level(
            array=array,
            part=self.region.downsampled(factor),
            written=written.downsampled(factor),
            spacing=spec.level_spacing(level),
            factor=factor,
            begin=spec.origin,
        )


def check_grey(content: Content) -> None:
    """Raise where the grey window is not known.

    Raises
    ------
    InputError
        With what to do.
    """
    read_grey(content.plan)
