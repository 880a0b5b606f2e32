"""Measure: one row for each object, from sums over blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from mitoscale.core.grid import Block
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult
from mitoscale.ops.objects import finish_objects, merge_objects, partial_objects
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
        region = self.plan.region
        with watch.phase("read"):
            around = key.core.expanded((1, 1, 1), within=region)
            labels = open_array(f"{self.plan.labels}/0").read(around)
            image = self.open_image().read(key.core)
            foreground = open_array(self.folder.foreground).read(key.core)
        with watch.phase("compute"):
            sums = partial_objects(labels, image, foreground, core=key.core, read=around, volume=region)
        with watch.phase("write"):
            write_table(f"{self.folder.objects_parts}/{key.name}.parquet", sums)
        counts = {"voxels": key.core.size, "objects": len(sums["label"])}
        return BlockResult(name=key.name, counts=counts, seconds=watch.seconds)

    def finish(self, done: Mapping[str, LedgerEntry]) -> dict[str, float]:
        """Merge the sums, add what the segmenter contributed, write the tables."""
        names = sorted(done)
        sums = merge_objects([read_table(f"{self.folder.objects_parts}/{n}.parquet") for n in names])
        table = finish_objects(sums, self.plan.spec.spacing, self.plan.region)
        own = np.zeros(int(table["label"].max(initial=0)) + 1)
        for name in names:
            fragments = read_table(f"{self.folder.work}/final/{name}.parquet")
            np.add.at(own, fragments["label"].astype(np.int64), fragments["own_voxels"])
        table["segmenter_share"] = own[table["label"].astype(np.int64)] / np.maximum(table["voxels"], 1)
        provenance = Provenance.of(self.plan.settings).model_dump_json()
        write_table(self.folder.objects, table, metadata={"mitoscale": provenance})
        write_csv(self.folder.objects_csv, table)
        return {
            "objects": float(len(table["label"])),
            "volume_nm3": float(table["volume_nm3"].sum()),
            "own_voxels": float(own[1:].sum()),
            "object_voxels": float(table["voxels"].sum()),
        }
