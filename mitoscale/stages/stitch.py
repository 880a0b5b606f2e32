"""Stitch: at each face the fragments of both blocks are compared over all that both have read; what is one becomes an object."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np

from mitoscale.core.errors import BlockError, DamagedError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import Block, Face, block_name
from mitoscale.core.result import BlockResult, Key
from mitoscale.core.super_blocks import faces_from, indices_in
from mitoscale.ops.face_joins import face_edges
from mitoscale.ops.global_ids import pack
from mitoscale.stages.earlier_outputs import check_seal, known_empty, seals_of, table_checksum
from mitoscale.stages.fragment_slots import read_slot
from mitoscale.stages.merge import MergedLabels, merge_fragments
from mitoscale.stages.seam_report import SeamReport
from mitoscale.stages.seams import edge_points, face_contacts
from mitoscale.stages.stage import Stage, Stopwatch
from mitoscale.stages.work_tables import label_tables, tables_of
from mitoscale.storage.scratch import scratch_folder
from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.table_file import TaskTables
from mitoscale.storage.tables import Columns

NO_FRAGMENTS: Columns = {
    "local": np.zeros(0, np.uint32),
    "core_voxels": np.zeros(0, np.int64),
    "own_voxels": np.zeros(0, np.int64),
    "changed_voxels": np.zeros(0, np.int64),
    "score_sum": np.zeros(0),
}
"""The fragments of a block that was given up."""


class Stitch(Stage):
    """One task a face."""

    name: ClassVar[str] = "stitch"

    sources: ClassVar[tuple[str, ...]] = ("segment",)

    def keys(self) -> Iterable[Key]:
        """All faces of the grid."""
        return self.plan.grid.faces()

    def reads(self, key: Key) -> Iterator[tuple[str, str]]:
        """The fragments on both sides."""
        assert isinstance(key, Face)
        yield from (("segment", block.name) for block in (key.low, key.high))

    def stamp(self) -> str:
        """Tables of a version that kept no voxel for each edge are made again."""
        return "edges with a voxel"

    def prepare(self, fresh: bool) -> Mapping[str, str]:
        """Forget the tables of a run with other settings."""
        if fresh:
            remove_tree(self.folder.edges)
            remove_tree(self.folder.label_tables)
        return {}

    def process(self, key: Key) -> BlockResult:
        """Read both blocks' fragments over their common region, compare, write the edges."""
        assert isinstance(key, Face)
        watch = Stopwatch()
        settings, grid = self.plan.settings.stitch, self.plan.grid
        common = key.low.halo.intersection(key.high.halo)
        if common is None:
            return BlockResult(name=key.name, counts={"edges": 0})
        with watch.phase("read"):
            low, high = (self._fragments(block, common) for block in (key.low, key.high))
            watch.moved("read", low, high)
        with watch.phase("compute"):
            edges = face_edges(
                low,
                high,
                key.axis,
                key.plane - common.start[key.axis],
                overlap=settings.overlap,
                split_overlap=settings.split_overlap,
            )
            facing = face_contacts(low, high, common, key)
            points = edge_points(edges, facing, low, high, common, key)
        with watch.phase("write"):
            self.check_current()
            columns = {
                "low": pack(grid.number(key.low.index), edges["low"]),
                "high": pack(grid.number(key.high.index), edges["high"]),
                "strength": edges["strength"],
                "accepted": edges["accepted"],
                **points,
            }
            tables_of(self.plan, "stitch").write(key.name, {"edges": columns, "contacts": facing})
        counts = {"edges": int(edges["accepted"].sum()), "voxels": common.size, "open": float(self._is_open(key)), **watch.bytes}
        return BlockResult(name=key.name, checksum=table_checksum(columns), counts=counts, seconds=watch.seconds)

    def _is_open(self, face: Face) -> bool:
        """Whether a block beside the face was given up: nothing is known of what crosses it."""
        return bool({face.low.name, face.high.name} & self.lost.get("segment", frozenset()))

    def _fragments(self, block: Block, common: Region) -> np.ndarray:
        """(Z, Y, X) uint32 of what both blocks read; 0 where the block was given up."""
        if block.name in self.lost.get("segment", ()):
            return np.zeros(common.shape, np.uint32)
        seals = seals_of(tables_of(self.plan, "segment").read(block.name, (), finished=True))
        if known_empty(common, "uint32", seals):
            return np.zeros(common.shape, np.uint32)
        try:
            found = read_slot(self.plan, block, common)
        except BlockError as error:
            raise DamagedError("segment", block.name, str(error)) from error
        check_seal(found, common, seals, stage="segment", task=block.name)
        return found

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Merge all fragments over the accepted edges; one label table a block, and the seam report."""
        plan, grid = self.plan, self.plan.grid
        segmented, stitched = tables_of(plan, "segment"), tables_of(plan, "stitch")
        lost = self.lost.get("segment", frozenset())

        def tables(corner: Triple) -> Iterator[tuple[Triple, Columns]]:
            """Index and fragments of each block; none where it was given up."""
            names = {block_name(index): index for index in indices_in(grid, corner)}
            there = [name for name in names if name not in lost]
            found = segmented.read_many(corner, there, ("fragments",))
            for name, index in names.items():
                yield index, NO_FRAGMENTS if name in lost else next(found)[1].tables["fragments"]

        def fragments(corner: Triple) -> np.ndarray:
            return _joined([pack(grid.number(index), table["local"]) for index, table in tables(corner)])

        def accepted(corner: Triple) -> np.ndarray:
            names = [face.name for face in faces_from(grid, corner) if grid.margin[face.axis] and face.name in done]
            edges = [task.tables["edges"] for _, task in stitched.read_many(corner, names, ("edges",))]
            return np.stack([_joined([table[end][table["accepted"]] for table in edges]) for end in ("low", "high")], axis=1)

        labels, written = MergedLabels(scratch_folder(self.folder, "merge")), label_tables(plan)
        merge_fragments(grid, fragments=fragments, edges=accepted, labels=labels)
        for corner in grid.super_block_corners():
            label, at, labelled = labels.of(corner)[1], 0, {}
            for index, table in tables(corner):
                own, at = label[at : at + len(table["local"])], at + len(table["local"])
                labelled[block_name(index)] = TaskTables(tables={"fragments": {**table, "label": own}})
            written.write_all(corner, labelled)
        numbers = SeamReport(plan, done, labels).write()
        labels.remove()
        return {"edges": counts.get("edges", 0.0), **numbers}


def _joined(raw: list[np.ndarray]) -> np.ndarray:
    """(N,) uint64."""
    return np.concatenate([np.zeros(0, np.uint64), *raw])
