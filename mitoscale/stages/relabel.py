"""Relabel: each block's fragments get their objects' final labels and are written once, then the coarser levels."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

import numpy as np

from mitoscale.core.errors import BlockError, DamagedError, InputError
from mitoscale.core.grid import Block, CoarseShard
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult, Key
from mitoscale.ops.downsample import mode_downsample
from mitoscale.ops.run_lengths import renamed
from mitoscale.stages.earlier_outputs import check_seal, known_empty, of_zeros, seals_of, table_checksum
from mitoscale.stages.fragment_slots import read_slot
from mitoscale.stages.label_owner import check_owner
from mitoscale.stages.pyramid import write_coarse
from mitoscale.stages.stage import Stage, Stopwatch
from mitoscale.stages.stitch import NO_FRAGMENTS
from mitoscale.stages.work_tables import final_tables, label_tables, tables_of
from mitoscale.storage.addresses import join, name_of, parent
from mitoscale.storage.arrays import checksum, open_array
from mitoscale.storage.exclusive import exclusively
from mitoscale.storage.layout import LABELS
from mitoscale.storage.ome import consolidate_again, create_labels
from mitoscale.storage.table_file import TaskTables
from mitoscale.storage.tables import Columns

_NOTHING: Columns = {**NO_FRAGMENTS, "label": np.zeros(0, np.uint64)}
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
        kept = self._voxels() >= self._least
        kept[0] = False
        dtype = "uint32" if int(kept.sum()) < 2**32 else "uint64"
        digests = self._write_final(np.where(kept, np.cumsum(kept), 0).astype(np.uint64), dtype)
        labels = parent(self.plan.labels)
        busy = f"another run is making its labels in {labels}; wait for it, then start again"
        with exclusively(join(labels, f".{name_of(self.plan.labels)}.lock"), busy):  # two runs may share a source
            check_owner(self.plan)
            if fresh or not self._exists(dtype):
                self._create(dtype)
        return digests

    @property
    def _least(self) -> float:
        """Voxels from which on an object is kept."""
        return max(self.plan.settings.relabel.min_volume_nm3 / math.prod(self.plan.spec.spacing), 1)

    def _voxels(self) -> np.ndarray:
        """(labels + 1,) int64: voxels of each object; read a super-block at a time, so that only this array grows."""
        voxels = np.zeros(1, np.int64)
        for corner in self.plan.grid.super_block_corners():
            tables = [_NOTHING, *(found.tables["fragments"] for _, found in label_tables(self.plan).read_all(corner))]
            label = np.concatenate([table["label"] for table in tables]).astype(np.int64)
            most = int(label.max(initial=0)) + 1
            if most > len(voxels):
                voxels = np.concatenate([voxels, np.zeros(max(most, 2 * len(voxels)) - len(voxels), np.int64)])
            voxels[:most] += np.bincount(label, np.concatenate([t["core_voxels"] for t in tables]), most).astype(np.int64)
        return voxels

    def _write_final(self, final: np.ndarray, dtype: str) -> dict[str, str]:
        """Write all blocks' tables with the final label of each label; returns a digest of each."""
        digests, written, lost = {}, final_tables(self.plan), self.lost.get("segment", frozenset())
        for corner in self.plan.grid.super_block_corners():
            tables = {}
            for name, found in label_tables(self.plan).read_all(corner):
                table = found.tables["fragments"]
                columns = _NOTHING if name in lost else {**table, "label": final[table["label"].astype(np.int64)]}
                tables[name] = TaskTables(tables={"fragments": columns})
                if name not in lost:
                    digests[name] = dtype + table_checksum(columns)
            written.write_all(corner, tables)
        return digests

    def _create(self, dtype: str) -> None:
        """Make the labels anew, empty; they tell their run from the moment they are there."""
        provenance = Provenance.of(self.plan.settings).model_dump(mode="json")
        root = parent(parent(self.plan.labels))
        spec = self.plan.spec.model_copy(update={"dtype": dtype})
        create_labels(root, LABELS, spec, attributes={"provenance": provenance, "run": self.plan.owner}, overwrite=True)
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
                labels = self._renamed(key, fragments, final)
        self.check_current()
        with watch.phase("write"):
            open_array(f"{self.plan.labels}/0").write(key.core, labels)
            watch.moved("written", labels)
        counts = {"voxels": labels.size, "object_voxels": int(np.count_nonzero(labels)), **watch.bytes}
        return BlockResult(name=key.name, checksum=checksum(labels), counts=counts, seconds=watch.seconds)

    def coarse_levels(self) -> range:
        """Levels that relabel makes: all above 0."""
        return range(1, len(self.plan.spec.factors))

    def wrote_zeros(self, block: Block, checksum: str) -> bool:
        """Whether a block holds no object."""
        return any(of_zeros(checksum, block.core, dtype) for dtype in ("uint32", "uint64"))

    def coarsen(self, key: CoarseShard) -> BlockResult:
        """The label that most of the finer voxels have."""
        self.check_current()
        return write_coarse(self.plan.labels, self.plan, key, mode_downsample)

    def _fragments(self, key: Block) -> np.ndarray:
        """(Z, Y, X) uint32 of the core, compared with what was written there."""
        seals = seals_of(tables_of(self.plan, "segment").read(key.name, (), finished=True))
        if known_empty(key.core, "uint32", seals):
            return np.zeros(key.core.shape, np.uint32)
        try:
            fragments = read_slot(self.plan, key, key.core)
        except BlockError as error:
            raise DamagedError("segment", key.name, str(error)) from error
        check_seal(fragments, key.core, seals, stage="segment", task=key.name)
        return fragments

    def _renamed(self, key: Block, fragments: np.ndarray, final: np.ndarray) -> np.ndarray:
        try:
            return renamed(fragments, final)
        except IndexError as error:  # only where an older version, which did not seal cores, has segmented
            raise DamagedError("segment", key.name, f"has fragments that its table does not know ({error})") from error

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Objects and their voxels, and those that were too small."""
        voxels = objects = 0.0
        wanted, written = set(done) - self.lost.get("segment", frozenset()), final_tables(self.plan)
        for corner in self.plan.grid.super_block_corners():
            for name, found in written.read_all(corner):
                if name in wanted:
                    table = found.tables["fragments"]
                    voxels += float(table["core_voxels"][table["label"] > 0].sum())
                    objects = max(objects, float(table["label"].max(initial=0)))
        sizes = self._voxels()
        small = sizes[(sizes > 0) & (sizes < self._least)]
        largest = float(small.max(initial=0)) * math.prod(self.plan.spec.spacing)
        return {"objects": objects, "object_voxels": voxels, "dropped": float(len(small)), "largest_dropped_nm3": largest}

    def _is_lost(self, block: Block) -> bool:
        return block.name in self.lost.get("segment", ())

    def _exists(self, dtype: str) -> bool:
        """Whether the labels are there with this dtype."""
        try:
            return str(open_array(f"{self.plan.labels}/0").dtype) == dtype
        except InputError:
            return False

    def _final_table(self, name: str) -> Columns:
        return final_tables(self.plan).read(name).tables["fragments"]
