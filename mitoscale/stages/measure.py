"""Measure: one row for each object, from sums over blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from mitoscale.core.grid import Block
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult
from mitoscale.ops.boundaries import areas, boundaries, merge_boundaries
from mitoscale.ops.object_table import finish_objects
from mitoscale.ops.objects import merge_objects, partial_objects
from mitoscale.stages.stage import Key, Stage, Stopwatch
from mitoscale.storage.arrays import open_array
from mitoscale.storage.ledger import LedgerEntry
from mitoscale.storage.tables import read_table, write_csv, write_table


class Measure(Stage):
    """One task a block."""

    name: ClassVar[str] = "measure"

    def process(self, key: Key) -> BlockResult:
        """Read labels with one voxel around, image and foreground; sum."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        with watch.phase("read"):
            around = key.core.expanded((1, 1, 1), within=self.plan.region)
            labels = open_array(f"{self.plan.labels}/0").read(around)
            image = self.open_image().read(key.core)
            foreground = open_array(self.folder.foreground).read(key.core)
            fragments = read_table(f"{self.folder.work}/final/{key.name}.parquet")
        with watch.phase("compute"):
            threshold = self.plan.settings.detect.threshold
            core = labels[key.core.within(around)]
            sums = partial_objects(core, image, foreground, fragments, core=key.core, threshold=threshold)
            met = boundaries(labels, core=key.core, read=around)
        with watch.phase("write"):
            write_table(f"{self.folder.objects_parts}/{key.name}.parquet", sums)
            write_table(f"{self.folder.objects_parts}/{key.name}.boundaries.parquet", met)
        counts = {"voxels": key.core.size, "objects": len(sums["label"])}
        return BlockResult(name=key.name, counts=counts, seconds=watch.seconds)

    def finish(self, done: Mapping[str, LedgerEntry]) -> dict[str, float]:
        """Merge the sums, write the tables."""
        parts = [f"{self.folder.objects_parts}/{name}" for name in sorted(done)]
        sums = merge_objects([read_table(f"{p}.parquet") for p in parts])
        met = merge_boundaries([read_table(f"{p}.boundaries.parquet") for p in parts])
        table = finish_objects(sums, met, self.plan.spec.spacing, self.plan.region)
        provenance = {"mitoscale": Provenance.of(self.plan.settings).model_dump_json()}
        write_table(self.folder.objects, table, metadata=provenance)
        write_csv(self.folder.objects_csv, table)
        once = (met["other"] > 0) & (met["label"] < met["other"])
        area = areas(met, self.plan.spec.spacing)
        contacts = {"label": met["label"][once], "other": met["other"][once], "area_nm2": area[once]}
        write_table(self.folder.contacts, contacts, metadata=provenance)
        return {
            "objects": float(len(table["label"])),
            "volume_nm3": float(table["volume_nm3"].sum()),
            "own_voxels": float(sums["own_voxels"].sum()),
            "object_voxels": float(np.sum(table["voxels"])),
        }
