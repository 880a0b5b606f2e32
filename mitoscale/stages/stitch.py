"""Stitch: at each face the fragments of both blocks are compared over all that both have read; what is one becomes an object."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, Face
from mitoscale.core.result import BlockResult
from mitoscale.ops.components import pack
from mitoscale.ops.faces import face_edges
from mitoscale.stages.merge import merge_fragments
from mitoscale.stages.seams import SeamReport, contacts_path, face_contacts
from mitoscale.stages.stage import Key, Stage, Stopwatch
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import remove_tree
from mitoscale.storage.ledger import LedgerEntry
from mitoscale.storage.tables import Columns, read_table, write_table


class Stitch(Stage):
    """One task a face."""

    name: ClassVar[str] = "stitch"

    def keys(self) -> Sequence[Key]:
        """All faces of the grid."""
        return list(self.plan.grid.faces())

    def prepare(self, fresh: bool) -> None:
        """Forget the tables of a run with other settings."""
        if fresh:
            remove_tree(self.folder.edges)
            remove_tree(self.folder.label_tables)

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
        with watch.phase("write"):
            columns = {
                "low": pack(grid.number(key.low.index), edges["low"]),
                "high": pack(grid.number(key.high.index), edges["high"]),
                "strength": edges["strength"],
                "accepted": edges["accepted"],
            }
            write_table(f"{self.folder.edges}/{key.name}.parquet", columns)
            write_table(contacts_path(self.folder, key), facing)
        counts = {"edges": int(edges["accepted"].sum()), "voxels": common.size}
        return BlockResult(name=key.name, counts=counts, seconds=watch.seconds)

    def _fragments(self, block: Block, common: Region) -> np.ndarray:
        inside = common.shifted(tuple(-a for a in block.halo.start))  # type: ignore[arg-type]
        return open_array(self.folder.fragments).read_in_slot(self.plan.grid.number(block.index), inside)

    def finish(self, done: Mapping[str, LedgerEntry]) -> dict[str, float]:
        """Merge all fragments over the accepted edges; one label table a block, and the seam report."""

        def accepted(face: Face) -> np.ndarray:
            edges = self._edges(face, done)
            return np.stack([edges["low"], edges["high"]], axis=1)[edges["accepted"]]

        merge_fragments(
            self.plan.grid,
            fragments=self._local_ids,
            edges=accepted,
            write=self._write_labels,
            scratch=f"{self.folder.work}/merge",
        )
        edges = float(sum(entry.counts["edges"] for entry in done.values()))
        return {"edges": edges, **SeamReport(self.plan, done).write()}

    def _has_fragments(self, block: Block) -> bool:
        return Path(f"{self.folder.masks_parts}/{block.name}.parquet").exists()

    def _local_ids(self, block: Block) -> np.ndarray:
        """(N,) uint32 of a block's fragments; none where it was given up."""
        if not self._has_fragments(block):
            return np.zeros(0, np.uint32)
        return read_table(f"{self.folder.masks_parts}/{block.name}.parquet")["local"]

    def _write_labels(self, block: Block, local: np.ndarray, labels: np.ndarray) -> None:
        if self._has_fragments(block):
            write_table(f"{self.folder.label_tables}/{block.name}.parquet", {"local": local, "label": labels})

    def _edges(self, face: Face, done: Container[str]) -> Columns:
        """The edges of a face, one table; empty where it has none."""
        if face.name in done and face.low.halo.intersection(face.high.halo) is not None:
            return read_table(f"{self.folder.edges}/{face.name}.parquet")
        return self._no_edges()

    def _no_edges(self) -> Columns:
        kinds = {"low": np.uint64, "high": np.uint64, "strength": np.float32, "accepted": np.bool_}
        return {name: np.zeros(0, kind) for name, kind in kinds.items()}
