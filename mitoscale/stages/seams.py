"""The seam report: where objects look cut or fused at block faces, and how often the same is seen inside blocks.

Faces are compared with the middle planes of blocks, which no seam crosses. What lies beside a block that was given up, or that
is missing, is listed as open: nobody knows what goes on there. An empty neighbour is none of that: nothing was found in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from functools import lru_cache

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, Face
from mitoscale.core.plan import RunPlan
from mitoscale.ops.global_ids import pack, unpack
from mitoscale.ops.seams import Contacts, contacts, counts, meeting_points, suspects
from mitoscale.stages.block_states import BlockState, BlockStates
from mitoscale.stages.work_tables import label_tables, tables_of
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import Columns, write_table

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


def middle_contacts(fragments: np.ndarray, block: Block) -> Columns:
    """What faces each other across the three middle planes of a block's core.

    Parameters
    ----------
    fragments : (Z, Y, X) uint32
        Over the block's read region.

    Returns
    -------
    dict
        Columns of :func:`mitoscale.ops.seams.contacts`, and ``axis``.
    """
    core = fragments[block.core.within(block.halo)]
    found: list[Contacts] = []
    for axis in range(3):
        middle = core.shape[axis] // 2
        if middle:
            before = (slice(None),) * axis  # not take(): it copies the whole core first
            planes = contacts(core[(*before, middle - 1)], core[(*before, middle)])
            found.append({**planes, "axis": np.full(len(planes["v"]), axis)})
    nothing = contacts(core[:0, 0], core[:0, 0])
    found.append({**nothing, "axis": np.zeros(0, np.int64)})
    return {name: np.concatenate([f[name] for f in found]) for name in found[0]}


def face_contacts(low: np.ndarray, high: np.ndarray, common: Region, face: Face) -> Columns:
    """What faces each other across a face, where the two cores meet.

    Parameters
    ----------
    low, high : (Z, Y, X) uint32
        Fragments of both blocks over ``common``.

    Returns
    -------
    dict
        ``before``, ``behind``, ``strength``, ``mutual``, and ``z``, ``y``, ``x``: a voxel of the block behind, at the face.
    """
    start = [max(a, b) for a, b in zip(face.low.core.start, face.high.core.start, strict=True)]
    stop = [min(a, b) for a, b in zip(face.low.core.stop, face.high.core.stop, strict=True)]
    sides = []
    for fragments, plane in ((low, face.plane - 1), (high, face.plane)):
        start[face.axis], stop[face.axis] = plane, plane + 1
        part = Region(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))
        sides.append(fragments[part.within(common)].take(0, face.axis))
    found = contacts(*sides)
    place = {axis: np.full(len(found["v"]), face.plane) for axis in range(3)}
    first, second = (axis for axis in range(3) if axis != face.axis)
    place[first], place[second] = found.pop("v") + start[first], found.pop("u") + start[second]
    return {**found, **{name: place[axis] for axis, name in enumerate("zyx")}}


def edge_points(edges: Columns, facing: Columns, low: np.ndarray, high: np.ndarray, common: Region, face: Face) -> Columns:
    """A voxel to look at for each edge.

    Parameters
    ----------
    edges : dict
        From :func:`mitoscale.ops.faces.face_edges`.
    facing : dict
        From :func:`face_contacts`.
    low, high : (Z, Y, X) uint32
        Fragments of both blocks over ``common``.

    Returns
    -------
    dict
        ``z``, ``y``, ``x`` (E,) int64: where the fragments face each other; of those that meet only in the halo a voxel that
        both have, as near to the face as any.
    """
    where = {pair: i for i, pair in enumerate(zip(facing["before"].tolist(), facing["behind"].tolist(), strict=True))}
    at = np.array([where.get(pair, -1) for pair in zip(edges["low"].tolist(), edges["high"].tolist(), strict=True)], np.int64)
    points = np.stack([facing[name] for name in "zyx"], axis=1)[at] if len(where) else np.zeros((len(at), 3), np.int64)
    beside = at < 0
    if beside.any():
        cores = Region(start=face.low.core.start, stop=face.high.core.stop)
        start = common.start
        pairs = np.stack([edges["low"], edges["high"]], axis=1)[beside]
        points[beside] = start + meeting_points(low, high, pairs, face.axis, face.plane - start[face.axis], cores.within(common))
    return {name: points[:, axis].astype(np.int64) for axis, name in enumerate("zyx")}


class SeamReport:
    """Puts the seam report together, face by face, once fragments have labels.

    Parameters
    ----------
    plan : RunPlan
        The run.
    done : container of str
        Names of the faces that were compared.
    """

    def __init__(self, plan: RunPlan, done: Container[str]) -> None:
        self._plan, self._done = plan, done
        self._folder, self._grid = RunFolder(plan.run), plan.grid
        self._states = BlockStates(plan)
        self._segmented, self._stitched, self._labelled = tables_of(plan, "segment"), tables_of(plan, "stitch"), label_tables(plan)
        self._labels = lru_cache(maxsize=2 * plan.grid.counts[1] * plan.grid.counts[2] + 2)(self._read_labels)
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
        blocks = list(self._grid.blocks())
        split = {label for block in blocks for label in self._touching_as_one(block)}
        rows: list[Columns] = [_rows("", 0)]
        weakest: dict[int, Columns] = {}
        for block in blocks:
            self._count_inside(block)
            for face in self._grid.faces_above(block):
                rows.extend(self._face(face, split, weakest))
        table = _joined([*rows, *weakest.values()])
        order = np.lexsort((table["high"], table["low"], table["face"], -table["doubt"]))
        table = {name: values[order] for name, values in table.items()}
        write_table(self._folder.edges_table, table)
        region, shape = self._plan.region, self._plan.spec.shape
        self.numbers["sides_skipped"] = sum(a > 0 for a in region.start) + sum(
            b < n for b, n in zip(region.stop, shape, strict=True)
        )
        self.numbers["suspects"] = len(table["face"])
        return {name: float(value) for name, value in self.numbers.items()}

    def _face(self, face: Face, split: set[int], weakest: dict[int, Columns]) -> Iterator[Columns]:
        unknown = self._states.unknown(face)
        if unknown is not None or face.name not in self._done:
            unknown = unknown or BlockState.MISSING
            self.numbers[f"faces_{unknown.replace(' ', '_')}"] += 1
            yield _open(face, unknown)
            return
        empty = BlockState.EMPTY in (self._states.of(face.low), self._states.of(face.high))
        self.numbers["faces_empty" if empty else "faces_compared"] += 1
        if empty or face.low.halo.intersection(face.high.halo) is None:
            return
        written = self._stitched.read(face.name).tables
        found = written["contacts"]
        label = self._labels(face.low), self._labels(face.high)
        before, behind = (_label_of(t, found[side]) for t, side in zip(label, ("before", "behind"), strict=True))
        same = before == behind
        self.numbers.update({f"face_{name}": n for name, n in counts(found, same).items()})
        cut, fused = suspects(found, same)
        yield self._contact_rows("cut", face, found, cut, found["strength"])
        yield self._contact_rows("fused", face, found, fused, 1 - found["strength"])
        yield from self._edge_rows(face, written["edges"], label, split, weakest)

    def _edge_rows(
        self, face: Face, edges: Columns, labels: tuple[Columns, Columns], split: set[int], weakest: dict[int, Columns]
    ) -> Iterator[Columns]:
        """Edges of doubtful strength; the weakest edge of each object that holds fragments which touch as different is kept.

        A refused edge between fragments that are one object all the same leaves nothing in doubt.
        """
        settings = self._plan.settings.stitch
        strength = edges["strength"]
        label, other = (_label_of(t, unpack(edges[side])[1]) for t, side in zip(labels, ("low", "high"), strict=True))
        doubt = 1 - np.abs(strength - settings.overlap)
        doubtful = (strength >= settings.seam_low) & (strength <= settings.seam_high) & (edges["accepted"] | (label != other))
        rows = {**edges, "doubt": doubt}
        yield _rows("doubtful", int(doubtful.sum()), face, **{n: v[doubtful] for n, v in rows.items()})
        for i in np.flatnonzero(edges["accepted"] & np.isin(label, list(split))):
            known = weakest.get(int(label[i]))
            if known is None or strength[i] < known["strength"][0]:
                row = {n: v[i : i + 1] for n, v in rows.items()} | {"doubt": np.array([1 - strength[i] / 2])}
                weakest[int(label[i])] = _rows("fused", 1, face, **row)

    def _contact_rows(self, kind: str, face: Face, found: Columns, chosen: np.ndarray, doubt: np.ndarray) -> Columns:
        rows = {n: found[n][chosen] for n in ("z", "y", "x", "strength")}
        ids = {
            "low": pack(self._grid.number(face.low.index), found["before"][chosen]),
            "high": pack(self._grid.number(face.high.index), found["behind"][chosen]),
        }
        joined = np.full(int(chosen.sum()), kind == "fused")
        return _rows(kind, int(chosen.sum()), face, doubt=doubt[chosen], accepted=joined, **rows, **ids)

    def _count_inside(self, block: Block) -> None:
        if self._states.of(block) is BlockState.SEGMENTED:
            found, table = self._segmented.read(block.name).tables["planes"], self._labels(block)
            same = _label_of(table, found["before"]) == _label_of(table, found["behind"])
            self.numbers.update({f"inner_{name}": n for name, n in counts(found, same).items()})

    def _touching_as_one(self, block: Block) -> list[int]:
        """Labels of which the block has two fragments that touch as different ones."""
        if self._states.of(block) is not BlockState.SEGMENTED:
            return []
        pairs = self._segmented.read(block.name).tables["touching"]
        table = self._labels(block)
        a, b = (_label_of(table, pairs[c]) for c in ("a", "b"))
        found: list[int] = np.unique(a[a == b]).tolist()
        return found

    def _read_labels(self, block: Block) -> Columns:
        return self._labelled.read(block.name).tables["fragments"]


def _label_of(table: Columns, local: np.ndarray) -> np.ndarray:
    """(N,) uint64 labels of a block's fragments (N,), from its label table."""
    if len(local) == 0:
        return np.zeros(0, np.uint64)
    found: np.ndarray = table["label"][np.searchsorted(table["local"], local)]
    return found


def _open(face: Face, state: BlockState) -> Columns:
    """The row of a face that nobody could compare."""
    middle = [(a + b) // 2 for a, b in zip(face.low.core.start, face.low.core.stop, strict=True)]
    middle[face.axis] = face.plane
    place = {name: np.array([middle[axis]]) for axis, name in enumerate("zyx")}
    return _rows("open", 1, face, doubt=np.ones(1), strength=np.full(1, np.nan), neighbour=np.array([str(state)]), **place)


def _rows(kind: str, count: int, face: Face | None = None, **columns: np.ndarray) -> Columns:
    """Rows of one kind with all columns; what is not given is 0, or empty."""
    given = {"kind": np.full(count, kind), "face": np.full(count, face.name if face else ""), **columns}
    return {name: np.asarray(given.get(name, np.zeros(count, dtype)), dtype) for name, dtype in KINDS.items()}


def _joined(rows: list[Columns]) -> Columns:
    return {name: np.concatenate([r[name] for r in rows]) for name in KINDS}
