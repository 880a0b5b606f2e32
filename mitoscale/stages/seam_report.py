"""The seam report: where objects look cut or fused at block faces, and how often the same is seen inside blocks.

Faces are compared with the middle planes of blocks, which no seam crosses. What lies beside a block that was given up, or that
is missing, is listed as open: nobody knows what goes on there. An empty neighbour is none of that: nothing was found in it.

A super-block's tables are read at a time; in memory stay a byte a block, and a row for each object that has fragments which
touch as different ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

import numpy as np

from mitoscale.core.geometry import Triple
from mitoscale.core.grid import SUPER_BLOCK, block_name
from mitoscale.core.plan import RunPlan
from mitoscale.core.super_blocks import FacePlace, faces_from, indices_in
from mitoscale.ops.global_ids import pack_each, places, unpack
from mitoscale.ops.seams import counts, suspects
from mitoscale.stages.block_states import BlockState, BlockStates
from mitoscale.stages.merge import MergedLabels
from mitoscale.stages.work_tables import tables_of
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.rows_sorted_on_disk import SpilledRows
from mitoscale.storage.scratch import scratch_folder
from mitoscale.storage.stacked_tables import Stacked, stacked
from mitoscale.storage.tables import Columns, appending

KINDS = {
    "kind": str,
    "face": str,
    "z": np.int64,
    "y": np.int64,
    "x": np.int64,
    "doubt": np.float32,
    "strength": np.float32,
    "accepted": np.bool_,
    "low": np.uint64,
    "high": np.uint64,
    "neighbour": str,
}
"""Columns of ``tables/edges.parquet``.

What is suspected (``cut``, ``fused``, ``doubtful`` or ``open``); where (voxels: ``high`` lies there, ``low`` one voxel before
it along the face's axis; where they do not face each other, both lie there); how much (0..1); strength of the join, and
whether it was made; both raw ids of fragments; and of an open seam what became of the neighbour.
"""

_KIND_OF = np.array(["cut", "fused", "doubtful", "fused", "open"])
"""By rank: of rows that are alike in all else the order. The second ``fused`` is the weakest edge of an object."""

_CUT, _FUSED, _DOUBTFUL, _WEAKEST, _OPEN = range(5)

_NEIGHBOUR = np.array([*map(str, BlockState), ""])
"""What is said of an open seam's neighbour, by the place of its state; last of all other rows."""

_NONE = len(_NEIGHBOUR) - 1


class SeamReport:
    """Puts the seam report together, once fragments have labels.

    Parameters
    ----------
    plan : RunPlan
        The run.
    done : container of str
        Names of the faces that were compared.
    labels : MergedLabels
        The label of each fragment.
    """

    def __init__(self, plan: RunPlan, done: Container[str], labels: MergedLabels) -> None:
        self._plan, self._done, self._labels, self._grid = plan, done, labels, plan.grid
        self._folder = RunFolder(plan.run)
        self._states = BlockStates(plan)
        self._segmented, self._stitched = tables_of(plan, "segment"), tables_of(plan, "stitch")
        self._rows = SpilledRows(["order", "face", "low", "high", "rank"], scratch_folder(self._folder, "seams"))
        self._split = np.zeros(0, np.uint64)
        self._weakest: Columns = {}
        self.numbers: Counter[str] = Counter()

    def write(self) -> dict[str, float]:
        """Write the ranked table; returns the numbers of the summary.

        Returns
        -------
        dict
            For ``face`` and ``inner`` planes: pairs that are ``alike``, of these ``cut``; that are ``joined``, of these ``fused``
            (``face_alike``, ``inner_cut``, ...); faces by what their blocks are (``faces_compared``, ``faces_empty``,
            ``faces_given_up``, ``faces_missing``), sides of the region inside the volume (``sides_skipped``), and ``suspects``.
        """
        for corner in self._grid.super_block_corners():
            self._inside(corner)
        for corner in self._grid.super_block_corners():
            self._faces(corner)
        if self._weakest:
            self._rows.add({name: values for name, values in self._weakest.items() if name not in ("label", "turn")})
        with appending(self._folder.edges_table) as append:
            append({name: np.zeros(0, kind) for name, kind in KINDS.items()})
            for piece in self._rows.in_order():
                append(self._readable(piece))
                self.numbers["suspects"] += len(piece["face"])
        self._rows.remove()
        region, shape = self._plan.region, self._plan.spec.shape
        self.numbers["sides_skipped"] = sum(a > 0 for a in region.start) + sum(
            b < n for b, n in zip(region.stop, shape, strict=True)
        )
        return {"suspects": 0.0} | {name: float(value) for name, value in self.numbers.items()}

    def _inside(self, corner: Triple) -> None:
        """Count what faces each other inside blocks, and find the objects that have fragments which touch as different ones."""
        numbers = {block_name(index): self._grid.number(index) for index in indices_in(self._grid, corner)}
        segmented = {name: n for name, n in numbers.items() if self._states.numbered(n) is BlockState.SEGMENTED}
        if not segmented:
            return
        found = [task.tables for _, task in self._segmented.read_many(corner, segmented, ("touching", "planes"))]
        blocks = np.array(list(segmented.values()))
        raw, label = self._labels.of(corner)

        def labels(rows: Stacked, column: str) -> np.ndarray:
            return label[places(raw, pack_each(blocks[rows.owner], rows.columns[column]))]

        planes, pairs = stacked([tables["planes"] for tables in found]), stacked([tables["touching"] for tables in found])
        same = labels(planes, "before") == labels(planes, "behind")
        self.numbers.update({f"inner_{name}": n for name, n in counts(planes.columns, same).items()})
        a, b = labels(pairs, "a"), labels(pairs, "b")
        self._split = np.union1d(self._split, a[a == b])

    def _faces(self, corner: Triple) -> None:
        """Rows of all faces whose low block is in a super-block."""
        compared: list[FacePlace] = []
        for face in faces_from(self._grid, corner):
            unknown = self._states.unknown(face.low, face.high)
            if unknown is not None or face.name not in self._done:
                unknown = unknown or BlockState.MISSING
                self.numbers[f"faces_{unknown.replace(' ', '_')}"] += 1
                self._rows.add(self._open(face, unknown))
                continue
            empty = BlockState.EMPTY in (self._states.numbered(face.low), self._states.numbered(face.high))
            self.numbers["faces_empty" if empty else "faces_compared"] += 1
            if not empty and self._grid.margin[face.axis]:  # else they have read nothing in common
                compared.append(face)
        if not compared:
            return
        read = self._stitched.read_many(corner, [face.name for face in compared], ("contacts", "edges"))
        found = [task.tables for _, task in read]
        low, high, axis = (np.array(values) for values in zip(*((f.low, f.high, f.axis) for f in compared), strict=True))
        face = 3 * low + 2 - axis  # as their names are in order: x before y before z
        raw, label = self._labels_around(corner)
        facing = stacked([tables["contacts"] for tables in found])
        ids = {
            "low": pack_each(low[facing.owner], facing.columns["before"]),
            "high": pack_each(high[facing.owner], facing.columns["behind"]),
        }
        before, behind = (label[places(raw, ids[side])] for side in ("low", "high"))
        self._contacts({**facing.columns, **ids, "face": face[facing.owner]}, before == behind)
        edges = stacked([tables["edges"] for tables in found])
        ends = [label[places(raw, edges.columns[side])] for side in ("low", "high")]
        self._edges({**edges.columns, "face": face[edges.owner]}, ends[0], ends[1])

    def _contacts(self, found: Columns, same: np.ndarray) -> None:
        self.numbers.update({f"face_{name}": n for name, n in counts(found, same).items()})
        cut, fused = suspects(found, same)
        strength = found["strength"]
        for rank, chosen, doubt in ((_CUT, cut, strength), (_FUSED, fused, 1 - strength)):
            joined = np.full(len(strength), rank == _FUSED)
            self._rows.add(_rows(rank, chosen, {**found, "doubt": doubt, "accepted": joined}))

    def _edges(self, edges: Columns, label: np.ndarray, other: np.ndarray) -> None:
        """Edges of doubtful strength; the weakest edge of each object that holds fragments which touch as different is kept.

        A refused edge between fragments that are one object all the same leaves nothing in doubt.
        """
        settings, strength = self._plan.settings.stitch, edges["strength"]
        doubtful = (strength >= settings.seam_low) & (strength <= settings.seam_high) & (edges["accepted"] | (label != other))
        self._rows.add(_rows(_DOUBTFUL, doubtful, {**edges, "doubt": 1 - np.abs(strength - settings.overlap)}))
        holds = edges["accepted"] & np.isin(label, self._split)
        if not holds.any():
            return
        new = _rows(_WEAKEST, holds, {**edges, "doubt": 1 - strength / 2})
        turn = 3 * (new["face"] // 3) + 2 - new["face"] % 3  # of edges that are alike the first counts, z before y before x
        new |= {"label": label[holds], "turn": turn}
        known = self._weakest or {name: values[:0] for name, values in new.items()}
        both = {name: np.concatenate([known[name], new[name]]) for name in new}
        order = np.lexsort((both["turn"], both["strength"], both["label"]))  # stable: a face's edges stay in their order
        first = order[np.unique(both["label"][order], return_index=True)[1]]
        self._weakest = {name: values[first] for name, values in both.items()}

    def _open(self, face: FacePlace, state: BlockState) -> Columns:
        """The row of a face that nobody could compare."""
        core = self._grid.numbered(face.low).core
        middle = [(a + b) // 2 for a, b in zip(core.start, core.stop, strict=True)]
        middle[face.axis] = core.stop[face.axis]
        row = {name: np.array([middle[axis]]) for axis, name in enumerate("zyx")}
        row |= {"doubt": np.ones(1, np.float32), "strength": np.full(1, np.nan, np.float32), "accepted": np.zeros(1, bool)}
        row |= {"low": np.zeros(1, np.uint64), "high": np.zeros(1, np.uint64), "face": np.array([3 * face.low + 2 - face.axis])}
        return _rows(_OPEN, np.ones(1, bool), row, neighbour=list(BlockState).index(state))

    def _labels_around(self, corner: Triple) -> tuple[np.ndarray, np.ndarray]:
        """Raw ids, ascending, and labels of a super-block's fragments and of those in the blocks just above it."""
        parts = [self._labels.of(corner)]
        for axis in range(3):
            above = tuple(c + (a == axis) for a, c in enumerate(corner))
            first = above[axis] * SUPER_BLOCK
            if first < self._grid.counts[axis]:
                raw, label = self._labels.of((above[0], above[1], above[2]))
                beside = np.unravel_index(unpack(raw)[0].astype(np.int64), self._grid.counts)[axis] == first
                parts.append((raw[beside], label[beside]))
        raw, label = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(raw)
        return raw[order], label[order]

    def _readable(self, rows: Columns) -> Columns:
        """The columns of ``tables/edges.parquet``."""
        place = np.stack(np.unravel_index(rows["face"] // 3, self._grid.counts), axis=1) + np.array(self._grid.first)
        blocks = [block_name((z, y, x)) for z, y, x in place.tolist()]
        named = {
            "kind": _KIND_OF[rows["rank"]],
            "face": np.array([f"{name}+{'xyz'[axis]}" for name, axis in zip(blocks, rows["face"] % 3, strict=True)], str),
            "neighbour": _NEIGHBOUR[rows["neighbour"]],
        }
        return {name: named[name] if name in named else rows[name].astype(kind) for name, kind in KINDS.items()}


def _rows(rank: int, chosen: np.ndarray, columns: Columns, neighbour: int = _NONE) -> Columns:
    """Rows of one rank with all columns that are put in order."""
    kept = {name: columns[name][chosen] for name in ("face", "z", "y", "x", "doubt", "strength", "accepted", "low", "high")}
    count = len(kept["face"])
    return {
        **kept,
        "order": -kept["doubt"],
        "rank": np.full(count, rank, np.uint8),
        "neighbour": np.full(count, neighbour, np.uint8),
    }
