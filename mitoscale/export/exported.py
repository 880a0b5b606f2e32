"""What of a run is exported: its labels, image and tables, cut to a region, from a level on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.export.level import Level
from mitoscale.export.renumber import Renumbered
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
    names: np.ndarray | None = None
    """(N,) uint64 ascending: the labels that are numbered anew from 1 on; None: they stay."""

    @property
    def labels(self) -> tuple[Level, ...]:
        """Labels, from the finest level that is written to the coarsest."""
        return tuple(self._level(f"{self.group}/{level}", level) for level in range(self.first, len(self.plan.spec.factors)))

    def _level(self, path: str, level: int) -> Level:
        array: Readable = open_array(path, missing=self.missing)
        if self.names is not None:
            array = Renumbered(array=array, names=self.names)
        spec = self.plan.spec
        factor = spec.factors[level]
        return Level(
            array=array,
            part=self.region.downsampled(factor),
            written=self.plan.region.downsampled(factor),
            spacing=spec.level_spacing(level),
            factor=factor,
            begin=spec.origin,
        )
