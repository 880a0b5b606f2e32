"""Measure: one row for each object, from sums over blocks."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.grid import Block
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult, Key
from mitoscale.ops.boundaries import areas, boundaries, merge_boundaries
from mitoscale.ops.cells import CellSums, cell_pairs, cell_sizes, merge_pairs
from mitoscale.ops.object_table import finish_objects
from mitoscale.ops.objects import MARKS, merge_objects, partial_objects
from mitoscale.stages.cell_mask import read_cells
from mitoscale.stages.earlier_outputs import read_written
from mitoscale.stages.object_marks import AROUND, object_marks
from mitoscale.stages.stage import Stage, Stopwatch
from mitoscale.stages.work_tables import final_tables, tables_of
from mitoscale.storage.arrays import open_array
from mitoscale.storage.rows_merged_by_label import SortedRows, label_ranges
from mitoscale.storage.scratch import scratch_folder
from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import Columns, appending, write_table


class Measure(Stage):
    """One task a block."""

    name: ClassVar[str] = "measure"

    sources: ClassVar[tuple[str, ...]] = ("convert", "detect", "segment", "relabel")

    grey: VolumeGrey
    """Of the volume."""

    def stamp(self) -> str:
        """Padding and replaced slices."""
        return self.grey.stamp()

    def reads(self, key: Key) -> Iterator[tuple[str, str]]:
        """Labels, image and foreground of the block, its fragments for their scores, and what is beside it."""
        assert isinstance(key, Block)
        yield from self.image_tasks(key.core.expanded(AROUND, within=self.plan.region))
        for stage in ("detect", "segment", "relabel"):
            yield from self.block_tasks(stage, key.core.expanded((1, 1, 1), within=self.plan.region))

    def process(self, key: Key) -> BlockResult:
        """Read labels with one voxel around, image and foreground; sum."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        with watch.phase("read"):
            fragments = final_tables(self.plan).read(key.name).tables["fragments"]
            around = key.core.expanded((0 if self.plan.spec.single else 1, 1, 1), within=self.plan.region)
            image = foreground = None
            if ((fragments["label"] > 0) & (fragments["core_voxels"] > 0)).any():
                labels = self._read("relabel", f"{self.plan.labels}/0", around)
                image = self.read_image(key.core)
                foreground = self._read("detect", self.folder.foreground, key.core)
                watch.moved("read", labels, image, foreground)
            else:  # no object is here, so nothing need be read
                labels = np.zeros(around.shape, np.uint8)
        with watch.phase("compute"):
            threshold = self.plan.settings.detect.threshold
            core = labels[key.core.within(around)]
            marks = {} if image is None else object_marks(self.plan, self.grey, key.core, self.read_image, self.lost)
            sums = partial_objects(core, image, foreground, fragments, marks, core=key.core, threshold=threshold)
            met = self._boundaries(labels, key.core, around)
            tables = {"sums": sums, "boundaries": met, **self._in_cells(core, key.core)}
        with watch.phase("write"):
            self.check_current()
            tables_of(self.plan, "measure").write(key.name, tables)
        counts = {"voxels": key.core.size, "objects": len(sums["label"]), **watch.bytes}
        return BlockResult(name=key.name, counts=counts, seconds=watch.seconds)

    def _boundaries(self, labels: np.ndarray, core: Region, read: Region) -> Columns:
        """Where objects meet; of single pictures within each."""
        if not self.plan.spec.single:
            return boundaries(labels, core=core, read=read)
        first = [Region(start=(0, *r.start[1:]), stop=(1, *r.stop[1:])) for r in (core, read)]
        return merge_boundaries([boundaries(plane[None], core=first[0], read=first[1]) for plane in labels])

    def _in_cells(self, labels: np.ndarray, core: Region) -> dict[str, Columns]:
        """What is counted of a core where there is a mask: voxels of each object in each cell, and of each cell."""
        mask = self.plan.settings.detect.mask
        if mask is None:
            return {}
        cells = read_cells(mask, core)
        return {"pairs": cell_pairs(labels, cells), "cells": cell_sizes(cells)}

    def _read(self, stage: str, array: str, region: Region) -> np.ndarray:
        return read_written(open_array(array), region, self.plan.grid, stage=stage, lost=self.lost.get(stage, frozenset()))

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Merge the sums a range of labels at a time, write the tables; of cells all are held at once."""
        scratch, spacing = scratch_folder(self.folder, "sorted"), self.plan.spec.spacing
        sums = SortedRows(self._parts(done, "sums"), merge_objects, f"{scratch}/sums")
        met = SortedRows(self._parts(done, "boundaries"), merge_boundaries, f"{scratch}/boundaries")
        pairs_of, cells = self._pairs(done, f"{scratch}/pairs"), CellSums()
        numbers = dict.fromkeys(("objects", "volume_nm3", "object_voxels", *(f"touches_{mark}" for mark in MARKS)), 0.0)
        metadata = {"mitoscale": Provenance.of(self.plan.settings).model_dump_json()}
        with (
            appending(self.folder.objects, csv=self.folder.objects_csv, metadata=metadata) as add_objects,
            appending(self.folder.contacts, metadata=metadata) as add_contacts,
        ):
            for low, high in label_ranges(sums.last):
                own, around = sums.rows(low, high), met.rows(low, high)
                table = finish_objects(own, around, spacing, self.plan.region)
                if pairs_of is not None:
                    table["cell"] = cells.add(table["label"], pairs_of.rows(low, high))
                add_objects(table)
                once = (around["other"] > 0) & (around["label"] < around["other"])
                pairs = {name: around[name][once] for name in ("label", "other")}
                add_contacts({**pairs, "area_nm2": areas(around, spacing)[once]})
                numbers["objects"] += len(table["label"])
                for mark in MARKS:
                    numbers[f"touches_{mark}"] += float(table[f"touches_{mark}"].sum())
                numbers["volume_nm3"] += float(table["volume_nm3"].sum())
                numbers["object_voxels"] += float(own["voxels"].sum())
        if pairs_of is not None:
            sizes = SortedRows(self._parts(done, "cells"), merge_pairs, f"{scratch}/cells").rows(0, 1)
            write_table(self.folder.cells, cells.table(sizes, math.prod(spacing)), metadata=metadata)
        else:
            remove_tree(self.folder.cells)  # of an earlier mask
        remove_tree(scratch)
        return numbers

    def _pairs(self, done: Collection[str], scratch: str) -> SortedRows | None:
        if self.plan.settings.detect.mask is None:
            return None
        return SortedRows(self._parts(done, "pairs"), merge_pairs, scratch)

    def _parts(self, done: Collection[str], kind: str) -> Iterator[Columns]:
        return (part.tables[kind] for _, part in tables_of(self.plan, "measure").read_each(sorted(done), (kind,)))
