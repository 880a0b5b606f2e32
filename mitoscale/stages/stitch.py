"""Stitch: at each face the fragments of both blocks are compared over all that both have read; what is one becomes an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, Face
from mitoscale.core.result import BlockResult
from mitoscale.ops.components import merge, pack, unpack
from mitoscale.ops.faces import face_edges
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
        with watch.phase("write"):
            columns = {
                "low": pack(grid.number(key.low.index), edges["low"]),
                "high": pack(grid.number(key.high.index), edges["high"]),
                "strength": edges["strength"],
                "accepted": edges["accepted"],
            }
            write_table(f"{self.folder.edges}/{key.name}.parquet", columns)
        counts = {"edges": int(edges["accepted"].sum()), "voxels": common.size}
        return BlockResult(name=key.name, counts=counts, seconds=watch.seconds)

    def _fragments(self, block: Block, common: Region) -> np.ndarray:
        inside = common.shifted(tuple(-a for a in block.halo.start))  # type: ignore[arg-type]
        return open_array(self.folder.fragments).read_in_slot(self.plan.grid.number(block.index), inside)

    def finish(self, done: Mapping[str, LedgerEntry]) -> dict[str, float]:
        """Merge all fragments over the accepted edges; one label table a block, one table of edges for the seam report."""
        grid = self.plan.grid
        blocks = [b for b in grid.blocks() if self._has_fragments(b)]
        raw = np.concatenate(
            [pack(grid.number(b.index), read_table(f"{self.folder.masks_parts}/{b.name}.parquet")["local"]) for b in blocks]
            or [np.zeros(0, np.uint64)]
        )
        edges = self._edges(sorted(done))
        accepted = edges["accepted"]
        labels = merge(raw, np.stack([edges["low"][accepted], edges["high"][accepted]], axis=1))
        number, local = unpack(raw)
        for block in blocks:
            mine = slice(*np.searchsorted(number, [grid.number(block.index), grid.number(block.index) + 1]))
            columns = {"local": local[mine].astype(np.uint32), "label": labels[mine]}
            write_table(f"{self.folder.label_tables}/{block.name}.parquet", columns)
        suspects = self._suspects(edges, blocks, raw, labels)
        write_table(self.folder.edges_table, suspects)
        return {
            "edges": float(accepted.sum()),
            "suspects": float(len(suspects["low"])),
        }

    def _has_fragments(self, block: Block) -> bool:
        return Path(f"{self.folder.masks_parts}/{block.name}.parquet").exists()

    def _edges(self, faces: list[str]) -> Columns:
        tables = [read_table(f"{self.folder.edges}/{name}.parquet") for name in faces]
        kinds = {"low": np.uint64, "high": np.uint64, "strength": np.float32, "accepted": np.bool_}
        columns: Columns = {
            name: np.concatenate([t[name] for t in tables] or [np.zeros(0)]).astype(kind) for name, kind in kinds.items()
        }
        face = np.repeat(np.array(faces, dtype=object), [len(t["low"]) for t in tables]) if tables else np.zeros(0, object)
        return {**columns, "face": face.astype(str)}

    def _suspects(self, edges: Columns, blocks: list[Block], raw: np.ndarray, labels: np.ndarray) -> Columns:
        """Doubtful edges, and the weakest edge of each object that holds two fragments which touch as different."""
        settings, grid = self.plan.settings.stitch, self.plan.grid
        doubtful = (edges["strength"] >= settings.seam_low) & (edges["strength"] <= settings.seam_high)
        label_of = labels[np.searchsorted(raw, edges["low"])] if len(raw) else np.zeros(0, labels.dtype)
        fused: set[int] = set()
        for block in blocks:
            pairs = read_table(f"{self.folder.masks_parts}/{block.name}.touching.parquet")
            a, b = (labels[np.searchsorted(raw, pack(grid.number(block.index), pairs[c]))] for c in ("a", "b"))
            fused.update(np.unique(a[a == b]).tolist())
        for label in sorted(fused):
            own = np.flatnonzero((label_of == label) & edges["accepted"])
            if len(own):
                doubtful[own[np.argmin(edges["strength"][own])]] = True
        return {name: values[doubtful] for name, values in edges.items()}
