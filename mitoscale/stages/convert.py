"""Convert: TIFF slices become an OME-Zarr volume with its pyramid, and grey values are counted for the normalisation.

A source that is an OME-Zarr already is only counted, not copied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import ClassVar

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult
from mitoscale.ops.downsample import mean_downsample
from mitoscale.stages.grey import histogram_values, normalisation
from mitoscale.stages.pyramid import write_levels
from mitoscale.stages.stage import Key, Stage, Stopwatch
from mitoscale.storage.arrays import checksum, open_array
from mitoscale.storage.creation import create_array
from mitoscale.storage.layout import remove_tree
from mitoscale.storage.ome import create_image
from mitoscale.storage.tiff import TiffSource, open_tiff


class Convert(Stage):
    """One task a row of blocks."""

    name: ClassVar[str] = "convert"

    value_range: tuple[float, float] | None = None
    """Least and largest grey value of a float volume; None for integers."""

    def keys(self) -> Iterable[Key]:
        """Rows of blocks along x."""
        return self.plan.convert_grid.blocks()

    def prepare(self, fresh: bool) -> Mapping[str, str]:
        """Create the volume and the table of histograms."""
        if not fresh:
            return {}
        provenance = Provenance.of(self.plan.settings).model_dump(mode="json")
        if not self.plan.settings.convert.in_place:
            remove_tree(self.folder.volume)
            create_image(self.folder.volume, self.plan.spec, name="image", attributes={"provenance": provenance})
        bins = len(self._bins())
        remove_tree(self.folder.histograms)
        create_array(
            self.folder.histograms,
            shape=(len(self.plan.convert_grid), 1, 1, bins),
            dtype="int64",
            chunks=(1, 1, 1, bins),
            shards=None,
        )
        return {}

    def process(self, key: Key) -> BlockResult:
        """Read, write all levels, count."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        with watch.phase("read"):
            image = self._read(key.core)
            watch.moved("read", image)
        with watch.phase("compute"):
            counts = self._count(image)
            digest = checksum(image)
        if not self.plan.settings.convert.in_place:
            write_levels(self.folder.volume, self.plan.spec, key.core, image, mean_downsample, watch)
        with watch.phase("write"):
            slot = self.plan.convert_grid.number(key.index)
            open_array(self.folder.histograms).write_slot(slot, counts[None, None])
        return BlockResult(name=key.name, checksum=digest, counts={"voxels": image.size, **watch.bytes}, seconds=watch.seconds)

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Refuse a volume without contrast now rather than in every later block."""
        normalisation(self.plan, self.value_range)
        return {"voxels": counts.get("voxels", 0.0)}

    def _read(self, region: Region) -> np.ndarray:
        if self.plan.settings.convert.in_place:
            return self.open_image().read(region)
        return _source(self.plan.settings.convert.source).read(region)

    def _bins(self) -> np.ndarray:
        return histogram_values(self.plan.spec.dtype, self.value_range)

    def _count(self, image: np.ndarray) -> np.ndarray:
        """(bins,) int64."""
        values = self._bins()
        if self.value_range is None:
            return np.bincount(image.ravel().astype(np.int64) - int(values[0]), minlength=len(values))
        low, high = self.value_range
        index = (image.ravel().astype(np.float64) - low) * ((len(values) - 1) / max(high - low, 1e-30))
        return np.bincount(np.clip(np.rint(index), 0, len(values) - 1).astype(np.int64), minlength=len(values))


@lru_cache(maxsize=2)
def _source(path: str) -> TiffSource:
    return open_tiff(path)
