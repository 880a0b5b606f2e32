"""Relabel: each block's fragments get their objects' final labels and are written once, on all levels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from mitoscale.core.grid import Block
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult
from mitoscale.ops.downsample import mode_downsample
from mitoscale.stages.pyramid import write_levels
from mitoscale.stages.stage import Key, Stage, Stopwatch
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import LABELS, remove_tree
from mitoscale.storage.ledger import LedgerEntry
from mitoscale.storage.ome import create_labels
from mitoscale.storage.tables import read_table, write_table


class Relabel(Stage):
    """One task a block."""

    name: ClassVar[str] = "relabel"

    def prepare(self, fresh: bool) -> None:
        """Drop small objects, number the rest from 1, create the labels."""
        if not fresh:
            return
        tables = {b.name: self._tables(b) for b in self.plan.grid.blocks() if self._has_table(b)}
        most = max((int(t["label"].max(initial=0)) for t in tables.values()), default=0)
        voxels = np.zeros(most + 1, np.int64)
        for table in tables.values():
            np.add.at(voxels, table["label"].astype(np.int64), table["core_voxels"])
        least = self.plan.settings.relabel.min_volume_nm3 / math.prod(self.plan.spec.spacing)
        kept = voxels >= max(least, 1)
        kept[0] = False
        final = np.zeros(most + 1, np.uint64)
        final[kept] = np.arange(1, int(kept.sum()) + 1, dtype=np.uint64)
        for name, table in tables.items():
            columns = {**table, "label": final[table["label"].astype(np.int64)]}
            write_table(f"{self.folder.work}/final/{name}.parquet", columns)
        dtype = "uint32" if int(kept.sum()) < 2**32 else "uint64"
        spec = self.plan.spec.model_copy(update={"dtype": dtype})
        remove_tree(self.plan.labels)
        root = str(Path(self.plan.labels).parent.parent)
        provenance = Provenance.of(self.plan.settings).model_dump(mode="json")
        create_labels(root, LABELS, spec, attributes={"provenance": provenance})

    def process(self, key: Key) -> BlockResult:
        """Read the core's fragments, rename, write."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        with watch.phase("read"):
            core = key.core.shifted(tuple(-a for a in key.halo.start))  # type: ignore[arg-type]
            fragments = open_array(self.folder.fragments).read_in_slot(self.plan.grid.number(key.index), core)
            table = read_table(f"{self.folder.work}/final/{key.name}.parquet")
        with watch.phase("compute"):
            final = np.zeros(int(table["local"].max(initial=0)) + 1, open_array(f"{self.plan.labels}/0").dtype)
            final[table["local"]] = table["label"]
            labels = final[fragments]
        write_levels(self.plan.labels, self.plan.spec, key.core, labels, mode_downsample, watch)
        counts = {"voxels": labels.size, "object_voxels": int(np.count_nonzero(labels))}
        return BlockResult(name=key.name, counts=counts, seconds=watch.seconds)

    def finish(self, done: Mapping[str, LedgerEntry]) -> dict[str, float]:
        """How much of the objects is the segmenter's own."""
        voxels = own = objects = 0.0
        for name in done:
            table = read_table(f"{self.folder.work}/final/{name}.parquet")
            real = table["label"] > 0
            voxels += float(table["core_voxels"][real].sum())
            own += float(table["own_voxels"][real].sum())
            objects = max(objects, float(table["label"].max(initial=0)))
        return {"objects": objects, "object_voxels": voxels, "own_voxels": own}

    def _has_table(self, block: Block) -> bool:
        return Path(f"{self.folder.label_tables}/{block.name}.parquet").exists()

    def _tables(self, block: Block) -> dict[str, np.ndarray]:
        """Fragments of a block: local id, label, voxels in the core and how many are the segmenter's own."""
        labels = read_table(f"{self.folder.label_tables}/{block.name}.parquet")
        fragments = read_table(f"{self.folder.masks_parts}/{block.name}.parquet")
        return {**fragments, "label": labels["label"]}
