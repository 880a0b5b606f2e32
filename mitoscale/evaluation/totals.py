"""The end of evaluate: the tables of all blocks, a super-block at a time, become one contingency and sums over slices.

Components of a mask are joined within a part of the volume first, and only what crosses its surface is kept to be joined with
others. In memory are the tables of one part, a row for each pair of objects that meet in a super-block, and of the slices those of
one layer of blocks; never voxels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import SUPER_BLOCK, BlockGrid, block_name
from mitoscale.core.super_blocks import indices_in
from mitoscale.evaluation.object_metrics import Matches, match
from mitoscale.evaluation.object_numbering import touching
from mitoscale.evaluation.tasks import SIDES, tables_in
from mitoscale.ops.contingency import Contingency, contingency_of_pairs
from mitoscale.ops.global_ids import merge, pack, smallest
from mitoscale.storage.tables import Columns

_COMPACT = 4_000_000
"""Rows above which pairs that came several times are added up."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What the scores follow from."""

    volume: Contingency
    """Objects of the whole volume."""
    slices: list[Matches]
    """Matches of the slices, one entry a layer of blocks; empty where they were not counted."""


def add_up(grid: BlockGrid, scratch: str, min_truth: int, *, slices: bool = True) -> Sums:
    """Add up the tables of all blocks.

    Parameters
    ----------
    grid : BlockGrid
        The blocks.
    scratch : str
        Where their tables are.
    min_truth : int
        See :func:`mitoscale.evaluation.evaluate.evaluate`.
    slices : bool
        Whether slices were counted too.
    """
    is_mask = _masks(grid, scratch)
    volume = _Parts(grid, scratch, is_mask, "volume")
    for corner in grid.super_block_corners():
        volume.add(corner, list(indices_in(grid, corner)))
    pairs = volume.finish()
    matches: list[Matches] = []
    for layer in range(grid.first[0], grid.first[0] + grid.counts[0]) if slices else ():
        flat = _Parts(grid, scratch, is_mask, "slices")
        for corner, indices in _in_layer(grid, layer):
            flat.add(corner, indices)
        matches.append(_match_slices(flat.finish(), min_truth))
    return Sums(volume=contingency_of_pairs(pairs["pred"], pairs["true"], pairs["count"]), slices=matches)


def _in_layer(grid: BlockGrid, layer: int) -> Iterator[tuple[Triple, list[Triple]]]:
    """Of each super-block the indices of its blocks in a layer along z, where it has some."""
    z = (layer - grid.first[0]) // SUPER_BLOCK
    for y, x in product(*(range(-(-n // SUPER_BLOCK)) for n in grid.counts[1:])):
        yield (z, y, x), [index for index in indices_in(grid, (z, y, x)) if index[0] == layer]


def _masks(grid: BlockGrid, scratch: str) -> list[bool]:
    """For both sides whether no block of the whole volume holds more than one value besides 0, and all the same."""
    values: list[set[int | None]] = [set(), set()]
    for corner in grid.super_block_corners():
        names = [block_name(index) for index in indices_in(grid, corner)]
        for _, task in tables_in(scratch, grid).read_many(corner, names, ()):
            for known, value in zip(values, _values(task.note), strict=True):
                if len(known) < _SEVERAL:
                    known.add(value)
    return [None not in side and len(side - {0}) <= 1 for side in values]


_SEVERAL = 4
"""So many kinds of blocks (nothing in it, one value, several) are no mask, whichever they are."""


def _values(note: Mapping[str, str]) -> list[int | None]:
    """Of both sides the one value a block holds (0: none), or None for several."""
    return [None if value is None else int(value) for value in json.loads(note["values"])]


class _Parts:
    """Joins the components of masks over block borders, one part of the volume after the other.

    Parameters
    ----------
    grid : BlockGrid
        The blocks.
    scratch : str
        Where their tables are.
    is_mask : list of bool
        Of both sides, whether their objects are components.
    kind : str
        ``volume`` or ``slices``: which of the tables.
    """

    def __init__(self, grid: BlockGrid, scratch: str, is_mask: list[bool], kind: str) -> None:
        self._grid, self._tables, self._is_mask, self._kind = grid, tables_in(scratch, grid), is_mask, kind
        self._pairs: list[Columns] = []
        self._rows = 0
        self._own: list[list[_Runs]] = [[_NO_RUNS], [_NO_RUNS]]
        self._seen: list[list[_Runs]] = [[_NO_RUNS], [_NO_RUNS]]

    def add(self, corner: Triple, indices: list[Triple]) -> None:
        """Take in some blocks of a super-block, which fill a box.

        Parameters
        ----------
        corner : (z, y, x)
            The super-block.
        indices : list of (z, y, x)
            The blocks.
        """
        names = {block_name(index): index for index in indices}
        read = self._tables.read_many(corner, names, (f"{self._kind}_pairs", f"{self._kind}_runs"))
        blocks = [self._as_everywhere(names[name], _values(task.note), task.tables) for name, task in read]
        pairs, runs = (_stacked([block[i] for block in blocks]) for i in (0, 1))
        box = Region(start=self._grid.block(indices[0]).core.start, stop=self._grid.block(indices[-1]).core.stop)
        for side, name in enumerate(SIDES):
            if self._is_mask[side]:
                pairs[name] = self._joined(side, pairs[name], runs, box)
        self._pairs.append(_summed(pairs))
        self._rows += len(self._pairs[-1]["count"])
        if self._rows > _COMPACT and self._rows > 2 * len(self._pairs[0]["count"]):
            self._pairs = [_summed(_stacked(self._pairs))]
            self._rows = len(self._pairs[0]["count"])

    def finish(self) -> Columns:
        """Pairs with the final numbers of components."""
        final = _stacked(self._pairs)
        for side, name in enumerate(SIDES):
            if self._is_mask[side]:
                raw = np.unique(final[name])
                raw = raw[raw > 0]
                own, seen = (_together(runs[side]) for runs in (self._own, self._seen))
                labels = np.append(0, merge(raw, touching(*seen, *own)))
                final[name] = labels[np.searchsorted(raw, final[name]) + (final[name] > 0)]
        return final

    def _as_everywhere(self, index: Triple, values: list[int | None], tables: dict[str, Columns]) -> tuple[Columns, Columns]:
        """A block's pairs and runs with ids that mean the same in all blocks: labels, or raw ids of a mask's components."""
        pairs, runs = tables[f"{self._kind}_pairs"], tables[f"{self._kind}_runs"]
        for side, name in enumerate(SIDES):
            if self._is_mask[side]:
                pairs[name] = self._raw(index, pairs[name])
                here = runs["side"] == side
                runs["id"][here] = self._raw(index, runs["id"][here])
            elif values[side] is not None:  # components of what is one label: back to the label
                pairs[name] = np.where(pairs[name] > 0, np.uint64(values[side] or 0), np.uint64(0))
        return pairs, runs

    def _raw(self, index: Triple, local: np.ndarray) -> np.ndarray:
        return np.where(local > 0, pack(self._grid.number(index) + 1, local), np.uint64(0))

    def _joined(self, side: int, ids: np.ndarray, runs: Columns, box: Region) -> np.ndarray:
        """For each of some ids the smallest it is joined with in a box; what crosses the box's border is kept for the end."""
        raw = np.unique(ids)
        raw = raw[raw > 0]
        here = runs["side"] == side
        own, seen = here & runs["own"], here & ~runs["own"] & np.isin(runs["id"], raw)  # some never reach the core
        root = smallest(raw, touching(runs["place"][seen], runs["id"][seen], runs["place"][own], runs["id"][own]))
        seen &= ~np.isin(runs["place"], runs["place"][own])
        own &= self._at_surface(runs["place"], box)
        for kept, chosen in ((self._own, own), (self._seen, seen)):
            kept[side].append((runs["place"][chosen], root[np.searchsorted(raw, runs["id"][chosen])]))
        return np.append(np.uint64(0), root)[np.searchsorted(raw, ids) + (ids > 0)]

    def _at_surface(self, places: np.ndarray, box: Region) -> np.ndarray:
        """(N,) bool: voxels at the surface of a box, which other blocks may see."""
        volume = self._grid.region
        where = np.stack(np.unravel_index(places, volume.shape), axis=1) + np.array(volume.start)
        result: np.ndarray = ((where == np.array(box.start)) | (where == np.array(box.stop) - 1)).any(axis=1)
        return result


_Runs = tuple[np.ndarray, np.ndarray]
"""Places, int64, and ids, uint64."""

_NO_RUNS: _Runs = (np.zeros(0, np.int64), np.zeros(0, np.uint64))


def _together(runs: list[_Runs]) -> _Runs:
    return np.concatenate([place for place, _ in runs]), np.concatenate([ids for _, ids in runs])


def _match_slices(pairs: Columns, min_truth: int) -> Matches:
    """Matches of a layer's slices, pooled: an object is a number within its slice."""
    z = pairs["z"] - pairs["z"].min(initial=0)
    keys = []
    for name in SIDES:
        found, index = np.unique(pairs[name], return_inverse=True)
        keys.append(np.where(pairs[name] > 0, z * len(found) + index + 1, 0))
    return match(contingency_of_pairs(keys[0], keys[1], pairs["count"]), min_truth)


def _summed(pairs: Columns) -> Columns:
    """Each pair of a slice, or of the volume, once."""
    order = np.lexsort((pairs["true"], pairs["pred"], pairs["z"]))
    rows = {name: values[order] for name, values in pairs.items()}
    new = np.ones(len(order), bool)
    new[1:] = np.any([rows[name][1:] != rows[name][:-1] for name in ("z", *SIDES)], axis=0)
    first = np.flatnonzero(new)
    return {name: values[first] for name, values in rows.items()} | {"count": np.add.reduceat(rows["count"], first)}


def _stacked(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
