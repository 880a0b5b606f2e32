"""Objects of a block as numbers, so that a mask's components can be counted block by block and joined afterwards.

A block cannot know whether the whole volume is a mask or labels. Where it sees one value besides 0 it numbers the components, and
keeps the value beside: if other blocks turn out to hold other values, the components become that value again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.ops.instances import components, is_two_valued


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Where objects cross a block's border: the first voxel of each run along the border."""

    own_place: np.ndarray
    """(N,) int64 flat index in the volume, of runs in the core along its border."""
    own_id: np.ndarray
    """(N,) uint64 their ids."""
    seen_place: np.ndarray
    """(M,) int64 the same one voxel beyond the core, where blocks with a larger index begin."""
    seen_id: np.ndarray
    """(M,) uint64 this block's id of what it sees there."""


@dataclass(frozen=True, kw_only=True)
class BlockIds:
    """A block's core as numbers."""

    ids: np.ndarray
    """(Z, Y, X) unsigned: values, or components numbered from 1; 0 is background."""
    value: int | None
    """The one value of all components; None: ``ids`` are values."""
    runs: Runs
    """Of the components; empty where ``ids`` are values."""


def number_block(
    labels: np.ndarray, core: Region, read: Region, volume: Region, *, per_slice: bool, labelled: bool = False
) -> BlockIds:
    """Number the objects of a block.

    Parameters
    ----------
    labels : (Z, Y, X) bool or unsigned
        The read region: the core and one voxel around it, where the volume has one.
    core, read, volume : Region
        What the block stands for, what ``labels`` covers, and all there is.
    per_slice : bool
        Components of each slice (8-neighbourhood) instead of the volume's (26-neighbourhood).
    labelled : bool
        Each value is known to be an object: nothing is taken for a mask.

    Returns
    -------
    BlockIds

    Examples
    --------
    >>> whole = Region.of_shape((1, 1, 6))
    >>> left = Region(start=(0, 0, 0), stop=(1, 1, 3))
    >>> mask = np.array([[[5, 0, 5, 5]]], np.uint8)
    >>> found = number_block(mask, left, left.expanded((1, 1, 1), whole), whole, per_slice=False)
    >>> found.ids.tolist(), found.value, found.runs.seen_place.tolist(), found.runs.seen_id.tolist()
    ([[[1, 0, 2]]], 5, [3], [2])
    """
    inside = core.within(read)
    nothing = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    if labelled or not is_two_valued(labels):
        return BlockIds(ids=labels[inside], value=None, runs=_runs_of((nothing, nothing)))
    found = _per_slice(labels) if per_slice else components(labels)
    sides = _sides(found, core, read, volume, per_slice)
    return BlockIds(ids=found[inside], value=int(labels.max(initial=0)), runs=_runs_of(sides))


def touching(seen_place: np.ndarray, seen_id: np.ndarray, own_place: np.ndarray, own_id: np.ndarray) -> np.ndarray:
    """Pairs of ids that are one component, because both blocks mean the same voxel.

    Parameters
    ----------
    seen_place, own_place : (N,), (M,) int64
        Flat indices of voxels.
    seen_id, own_id : (N,), (M,) uint64
        Who sees, and who owns, the voxel.

    Returns
    -------
    (E, 2) uint64
        Each pair once.

    Examples
    --------
    >>> touching(np.array([7, 9]), np.array([1, 1], np.uint64), np.array([9, 30]), np.array([5, 6], np.uint64)).tolist()
    [[1, 5]]
    """
    order = np.argsort(own_place, kind="stable")
    place, owner = own_place[order], own_id[order]
    found = np.searchsorted(place, seen_place)
    known = found < len(place)
    known[known] = place[found[known]] == seen_place[known]
    pairs = np.stack([seen_id[known], owner[found[known]]], axis=1)
    return np.unique(pairs, axis=0)


def _per_slice(mask: np.ndarray) -> np.ndarray:
    """(Z, Y, X) uint32: components of each slice, numbered through."""
    result = np.zeros(mask.shape, np.uint32)
    last = 0
    for target, plane in zip(result, mask, strict=True):
        found = components(plane)
        target[:] = np.where(found > 0, found + np.uint32(last), 0)
        last += int(found.max(initial=0))
    return result


_Side = tuple[np.ndarray, np.ndarray]


def _runs_of(sides: tuple[_Side, _Side]) -> Runs:
    (own_place, own_id), (seen_place, seen_id) = sides
    return Runs(own_place=own_place, own_id=own_id, seen_place=seen_place, seen_id=seen_id)


def _sides(ids: np.ndarray, core: Region, read: Region, volume: Region, per_slice: bool) -> tuple[_Side, _Side]:
    """Runs in the core that blocks with a smaller index see, and those this block sees beyond its core."""
    own: list[_Side] = []
    seen: list[_Side] = []
    for direction in product((0,) if per_slice else (-1, 0, 1), (-1, 0, 1), (-1, 0, 1)):
        box = _border(core, direction)
        beyond = box.shifted(direction)
        if direction == (0, 0, 0) or beyond.intersection(volume) != beyond:
            continue
        # Of two neighbours the one with the smaller index looks over the border; the other tells what it has there.
        (seen if direction > (0, 0, 0) else own).append(
            _run_starts(ids, beyond if direction > (0, 0, 0) else box, read, volume, per_slice)
        )
    return _joined(own), _joined(seen)


def _joined(parts: list[_Side]) -> _Side:
    return (
        np.concatenate([np.zeros(0, np.int64), *(place for place, _ in parts)]),
        np.concatenate([np.zeros(0, np.uint64), *(ids for _, ids in parts)]),
    )


def _border(core: Region, direction: Triple) -> Region:
    """The outermost voxels of a core in a direction."""
    start = tuple(b - 1 if d > 0 else a for a, b, d in zip(core.start, core.stop, direction, strict=True))
    stop = tuple(a + 1 if d < 0 else b for a, b, d in zip(core.start, core.stop, direction, strict=True))
    return Region(start=start, stop=stop)


def _run_starts(ids: np.ndarray, box: Region, read: Region, volume: Region, per_slice: bool) -> _Side:
    """First voxel of each run in a box; both neighbours find the same ones, for they look at the same voxels."""
    part = ids[box.within(read)]
    axes = [a for a in ((1, 2) if per_slice else (0, 1, 2)) if box.shape[a] > 1] or [2]
    inside = part > 0
    begins = inside.copy()
    later, earlier = [slice(None)] * 3, [slice(None)] * 3
    later[axes[-1]], earlier[axes[-1]] = slice(1, None), slice(None, -1)
    begins[tuple(later)] &= ~inside[tuple(earlier)]
    where = np.nonzero(begins)
    coordinates = [w + b - v for w, b, v in zip(where, box.start, volume.start, strict=True)]
    place = np.ravel_multi_index(coordinates, volume.shape).astype(np.int64)
    return place, part[where].astype(np.uint64)
