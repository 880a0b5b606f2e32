"""Relabel: each block's fragments get their objects' final labels and are written once, on all levels."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from mitoscale.core.errors import BlockError, DamagedError, InputError
from mitoscale.core.grid import Block
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult
from mitoscale.ops.downsample import mode_downsample
from mitoscale.ops.run_lengths import renamed
from mitoscale.stages.label_owner import check_owner
from mitoscale.stages.pyramid import write_levels
from mitoscale.stages.reading import read_written_table, table_checksum
from mitoscale.stages.stage import Key, Stage, Stopwatch
from mitoscale.storage.arrays import checksum, open_array
from mitoscale.storage.consolidated import consolidate_again
from mitoscale.storage.exclusive import exclusively
from mitoscale.storage.layout import LABELS, remove_tree
from mitoscale.storage.ome import create_labels
from mitoscale.storage.tables import Columns, write_table

_NOTHING: Columns = {
    "local": np.zeros(0, np.uint32),
    "label": np.zeros(0, np.uint64),
    "core_voxels": np.zeros(0, np.int64),
    "own_voxels": np.zeros(0, np.int64),
    "changed_voxels": np.zeros(0, np.int64),
    "score_sum": np.zeros(0),
}
"""The table of a block that was given up."""


class Relabel(Stage):
    """One task a block."""

    name: ClassVar[str] = "relabel"

    sources: ClassVar[tuple[str, ...]] = ("segment",)

    def reads(self, key: Key) -> Iterator[tuple[str, str]]:
        """The block's own fragments."""
        yield "segment", key.name

    def prepare(self, fresh: bool) -> Mapping[str, str]:
        """Drop small objects, number the rest from 1, create the labels; a block's digest is that of its own numbers."""
        blocks = [b for b in self.plan.grid.blocks() if not self._is_lost(b)]
        most = max((int(self._labels(b)["label"].max(initial=0)) for b in blocks), default=0)
        voxels = np.zeros(most + 1, np.int64)
        for block in blocks:
            table = self._tables(block)
            np.add.at(voxels, table["label"].astype(np.int64), table["core_voxels"])
        least = self.plan.settings.relabel.min_volume_nm3 / math.prod(self.plan.spec.spacing)
        kept = voxels >= max(least, 1)
        kept[0] = False
        final = np.zeros(most + 1, np.uint64)
        final[kept] = np.arange(1, int(kept.sum()) + 1, dtype=np.uint64)
        dtype = "uint32" if int(kept.sum()) < 2**32 else "uint64"
        digests = {}
        for block in blocks:
            table = self._tables(block)
            columns = {**table, "label": final[table["label"].astype(np.int64)]}
            write_table(self._final(block.name), columns)
            digests[block.name] = dtype + table_checksum(columns)
        for block in self.plan.grid.blocks():
            if self._is_lost(block):
                write_table(self._final(block.name), _NOTHING)
        labels = Path(self.plan.labels)
        busy = f"another run is making its labels in {labels.parent}; wait for it, then start again"
        with exclusively(labels.with_name(f".{labels.name}.lock"), busy):  # two runs may share a source
            check_owner(self.plan)
            if fresh or not self._exists(dtype):
                self._create(dtype)
        return digests

    def _create(self, dtype: str) -> None:
        """Make the labels anew, empty."""
        remove_tree(self.plan.labels)
        provenance = Provenance.of(self.plan.settings).model_dump(mode="json")
        root = str(Path(self.plan.labels).parent.parent)
        spec = self.plan.spec.model_copy(update={"dtype": dtype})
        create_labels(root, LABELS, spec, attributes={"provenance": provenance, "run": self.plan.owner})
        consolidate_again(root)

    def process(self, key: Key) -> BlockResult:
        """Read the core's fragments, rename, write; a block that was given up is background."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        dtype = open_array(f"{self.plan.labels}/0").dtype
        if self._is_lost(key):
            labels = np.zeros(key.core.shape, dtype)
        else:
            with watch.phase("read"):
                fragments, table = self._fragments(key), self._final_table(key.name)
                watch.moved("read", fragments)
            with watch.phase("compute"):
                final = np.zeros(int(table["local"].max(initial=0)) + 1, dtype)
                final[table["local"]] = table["label"]
                labels = renamed(fragments, final)
        self.check_current()
        write_levels(self.plan.labels, self.plan.spec, key.core, labels, mode_downsample, watch)
        counts = {"voxels": labels.size, "object_voxels": int(np.count_nonzero(labels)), **watch.bytes}
        return BlockResult(name=key.name, checksum=checksum(labels), counts=counts, seconds=watch.seconds)

    def _fragments(self, key: Block) -> np.ndarray:
        core = key.core.shifted(tuple(-a for a in key.halo.start))  # type: ignore[arg-type]
        try:
            return open_array(self.folder.fragments).read_in_slot(self.plan.grid.number(key.index), core)
        except BlockError as error:
            raise DamagedError("segment", key.name, str(error)) from error

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Objects and their voxels."""
        voxels = objects = 0.0
        for name in done:
            if name in self.lost.get("segment", ()):
                continue
            table = self._final_table(name)
            real = table["label"] > 0
            voxels += float(table["core_voxels"][real].sum())
            objects = max(objects, float(table["label"].max(initial=0)))
        return {"objects": objects, "object_voxels": voxels}

    def _is_lost(self, block: Block) -> bool:
        return block.name in self.lost.get("segment", ())

    def _exists(self, dtype: str) -> bool:
        """Whether the labels are there with this dtype."""
        try:
            return str(open_array(f"{self.plan.labels}/0").dtype) == dtype
        except InputError:
            return False

    def _final(self, name: str) -> str:
        return f"{self.folder.final_tables}/{name}.parquet"

    def _final_table(self, name: str) -> Columns:
        return read_written_table(self._final(name), stage="relabel", task="")

    def _labels(self, block: Block) -> Columns:
        return read_written_table(f"{self.folder.label_tables}/{block.name}.parquet", stage="stitch", task="")

    def _tables(self, block: Block) -> Columns:
        """Fragments of a block: local id, label, voxels in the core and how many are the segmenter's own."""
        path = f"{self.folder.masks_parts}/{block.name}.parquet"
        fragments = read_written_table(path, stage="segment", task=block.name)
        return {**fragments, "label": self._labels(block)["label"]}
