"""Convert: a source becomes an OME-Zarr volume with its pyramid, and grey values are counted for the normalisation.

A source that is an OME-Zarr already is only counted, not copied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, CoarseShard
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult, Key
from mitoscale.ops.downsample import mean_downsample
from mitoscale.stages.earlier_outputs import of_zeros
from mitoscale.stages.grey_statistics import gather, keep
from mitoscale.stages.grey_statistics import write_part as write_grey
from mitoscale.stages.membranes import membranes_seem_bright
from mitoscale.stages.padding import with_whole_cells
from mitoscale.stages.pyramid import create_parts, write_coarse, write_from_parts, write_part
from mitoscale.stages.stage import Stage, Stopwatch
from mitoscale.storage.arrays import checksum, open_array
from mitoscale.storage.ome import create_image
from mitoscale.storage.stored_files import remove_tree


class Convert(Stage):
    """One task a row of blocks."""

    name: ClassVar[str] = "convert"

    def keys(self) -> Iterable[Key]:
        """Rows of blocks along x."""
        return self.plan.convert_grid.blocks()

    def prepare(self, fresh: bool) -> Mapping[str, str]:
        """Create the volume."""
        if not fresh:
            return {}
        provenance = Provenance.of(self.plan.settings).model_dump(mode="json")
        if not self.plan.settings.convert.in_place:
            remove_tree(self.folder.volume)
            create_image(self.folder.volume, self.plan.spec, name="image", attributes={"provenance": provenance})
        for working in (self.folder.grey_parts, self.folder.padding, self.folder.coarse_parts):
            remove_tree(working)
        if self.coarse_levels():
            create_parts(self.plan)
        return {}

    def process(self, key: Key) -> BlockResult:
        """Read, write the full level, count."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        with watch.phase("read"):
            with_cells = self._read(with_whole_cells(self.plan, key.core))
            image = with_cells[key.core.within(with_whole_cells(self.plan, key.core))]
            watch.moved("read", with_cells)
        with watch.phase("compute"):
            image = np.ascontiguousarray(image)
            digest = checksum(image)
        self.check_current()
        written = None
        if not self.plan.settings.convert.in_place:
            with watch.phase("write"):
                written = open_array(f"{self.folder.volume}/0").begin_write(key.core, image)
                watch.moved("written", image)
        with watch.phase("compute"):
            write_grey(self.plan, key.name, key.core, with_cells)
            write_part(self.plan, key.core, image)
        if written:
            with watch.phase("write"):
                written()
        return BlockResult(name=key.name, checksum=digest, counts={"voxels": image.size, **watch.bytes}, seconds=watch.seconds)

    def coarse_levels(self) -> range:
        """Of a volume that is copied."""
        return range(1, 1 if self.plan.settings.convert.in_place else len(self.plan.spec.factors))

    def wrote_zeros(self, block: Block, checksum: str) -> bool:
        """Whether all of a row is black."""
        return of_zeros(checksum, block.core, self.plan.spec.dtype)

    def coarsen(self, key: CoarseShard) -> BlockResult:
        """Means of the finer voxels."""
        self.check_current()
        made = write_from_parts(self.folder.volume, self.plan, key) if key.level == 1 and not key.empty else None
        return made or write_coarse(self.folder.volume, self.plan, key, mean_downsample)

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Refuse a volume without contrast now rather than in every later block."""
        remove_tree(self.folder.coarse_parts)
        grey = gather(self.plan, done)
        keep(self.plan, grey.model_copy(update={"bright_membranes": membranes_seem_bright(self.plan, grey, self.open_image())}))
        return {"voxels": counts.get("voxels", 0.0)}

    def _read(self, region: Region) -> np.ndarray:
        if self.plan.settings.convert.in_place:
            return self.open_image().read(region)
        return self.open_source().read(region)
