"""The end of evaluate: the tables of all blocks, layer by layer along z, become one contingency and sums over slices.

In memory are one layer's tables, and one row for each pair of objects that meet in a block; never voxels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mitoscale.core.grid import Block, BlockGrid
from mitoscale.evaluation.object_metrics import Matches, match
from mitoscale.evaluation.object_numbering import touching
from mitoscale.evaluation.tasks import SIDES, WHOLE
from mitoscale.ops.contingency import Contingency, contingency_of_pairs
from mitoscale.ops.global_ids import merge, pack
from mitoscale.storage.tables import Columns, read_table, table_metadata

_COMPACT = 4_000_000
"""Rows above which pairs that came several times are added up."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What the scores follow from."""

    volume: Contingency
    """Objects of the whole volume."""
    slices: list[Matches]
    """Matches of the slices, one entry a layer of blocks."""


def add_up(grid: BlockGrid, scratch: str, min_truth: int) -> Sums:
    """Add up the tables of all blocks.

    Parameters
    ----------
    grid : BlockGrid
        The blocks.
    scratch : str
        Where their tables are.
    min_truth : int
        See :func:`mitoscale.evaluation.evaluate.evaluate`.
    """
    values = _values(grid, scratch)
    is_mask = [all(v is not None for v in side) and len({v for v in side if v}) <= 1 for side in values]
    volume = _Layers(is_mask)
    slices: list[Matches] = []
    pairs: list[Columns] = []
    rows = 0
    for layer in _layers(grid):
        tables = [_read(grid, scratch, block, [values[s][grid.number(block.index)] for s in (0, 1)], is_mask) for block in layer]
        flat = _Layers(is_mask)
        flat.add([t.part(flat=True) for t in tables])
        slices += _match_slices(flat.finish(_stacked([t.pairs(flat=True) for t in tables])), min_truth)
        volume.add([t.part(flat=False) for t in tables])
        pairs.append(_stacked([t.pairs(flat=False) for t in tables]))
        rows += len(pairs[-1]["count"])
        if rows > _COMPACT and rows > 2 * len(pairs[0]["count"]):
            pairs = [_summed(_stacked(pairs))]
            rows = len(pairs[0]["count"])
    final = volume.finish(_stacked(pairs))
    return Sums(volume=contingency_of_pairs(final["pred"], final["true"], final["count"]), slices=slices)


def _layers(grid: BlockGrid) -> Iterable[list[Block]]:
    for _, blocks in groupby(grid.blocks(), key=lambda b: b.index[0]):
        yield list(blocks)


def _values(grid: BlockGrid, scratch: str) -> list[list[int | None]]:
    """For both sides, block by block, the one value it holds (0: none), or None for several."""
    sides: list[list[int | None]] = [[], []]
    for block in grid.blocks():
        found = json.loads(table_metadata(f"{scratch}/pairs/{block.name}.parquet")["values"])
        for side, value in zip(sides, found, strict=True):
            side.append(None if value is None else int(value))
    return sides


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """A block's tables with ids that mean the same everywhere: labels, or raw ids of a mask's components."""

    counted: Columns
    runs: Columns

    def pairs(self, flat: bool) -> Columns:
        chosen = (self.counted["z"] != WHOLE) == flat
        return {name: column[chosen] for name, column in self.counted.items()}

    def part(self, flat: bool) -> tuple[Columns, Columns]:
        chosen = self.runs["flat"] == flat
        return self.pairs(flat), {name: column[chosen] for name, column in self.runs.items()}


def _read(grid: BlockGrid, scratch: str, block: Block, values: list[int | None], is_mask: list[bool]) -> _Tables:
    counted = read_table(f"{scratch}/pairs/{block.name}.parquet")
    runs = read_table(f"{scratch}/runs/{block.name}.parquet")
    ids = runs["id"].copy()
    for side, name in enumerate(SIDES):
        here = runs["side"] == side
        if is_mask[side]:
            counted[name] = _raw(grid, block, counted[name])
            ids[here] = _raw(grid, block, ids[here])
        elif values[side] is not None:  # components of what is one label: back to the label
            counted[name] = np.where(counted[name] > 0, np.uint64(values[side] or 0), np.uint64(0))
    return _Tables(counted=counted, runs=runs | {"id": ids})


def _raw(grid: BlockGrid, block: Block, local: np.ndarray) -> np.ndarray:
    return np.where(local > 0, pack(grid.number(block.index) + 1, local), np.uint64(0))


class _Layers:
    """Joins the components of masks over block borders, one layer of blocks after the other."""

    def __init__(self, is_mask: list[bool]) -> None:
        self.is_mask = is_mask
        self._raw: list[list[np.ndarray]] = [[], []]
        self._edges: list[list[np.ndarray]] = [[], []]
        self._seen: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(0, np.int64), np.zeros(0, np.uint64))] * 2

    def add(self, parts: list[tuple[Columns, Columns]]) -> None:
        """Take in a layer: what it and the layer before see of it."""
        for side, name in enumerate(SIDES):
            if not self.is_mask[side]:
                continue
            raw = np.unique(np.concatenate([pairs[name] for pairs, _ in parts]))
            raw = raw[raw > 0]
            runs = _stacked([r for _, r in parts])
            here = runs["side"] == side
            own, seen = here & runs["own"], here & ~runs["own"] & np.isin(runs["id"], raw)  # some never reach the core
            place, ids = (np.concatenate([self._seen[side][i], runs[n][seen]]) for i, n in enumerate(("place", "id")))
            self._edges[side].append(touching(place, ids, runs["place"][own], runs["id"][own]))
            self._raw[side].append(raw)
            self._seen[side] = (runs["place"][seen], runs["id"][seen])

    def finish(self, pairs: Columns) -> Columns:
        """Pairs with the final numbers of components."""
        final = dict(pairs)
        for side, name in enumerate(SIDES):
            if self.is_mask[side]:
                raw = np.concatenate([np.zeros(0, np.uint64), *self._raw[side]])
                labels = np.append(0, merge(raw, np.concatenate([np.zeros((0, 2), np.uint64), *self._edges[side]])))
                final[name] = labels[np.searchsorted(raw, pairs[name]) + (pairs[name] > 0)]
        return final


def _match_slices(pairs: Columns, min_truth: int) -> list[Matches]:
    """Matches of a layer's slices, pooled: an object is a number within its slice."""
    z = pairs["z"] - pairs["z"].min(initial=0)
    keys = []
    for name in SIDES:
        found, index = np.unique(pairs[name], return_inverse=True)
        keys.append(np.where(pairs[name] > 0, z * len(found) + index + 1, 0))
    return [match(contingency_of_pairs(keys[0], keys[1], pairs["count"]), min_truth)]


def _summed(pairs: Columns) -> Columns:
    table = contingency_of_pairs(pairs["pred"], pairs["true"], pairs["count"])
    return {
        "z": np.full(len(table.count), WHOLE),
        "pred": table.pred_labels[table.pred],
        "true": table.true_labels[table.true],
        "count": table.count,
    }


def _stacked(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
