"""The array of fragments: read regions overlap, so each block has a slot of its own, which is one shard.

The slots lie side by side as the blocks do, so that no folder holds more shards than there are blocks along x.
"""

from __future__ import annotations

import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import Block
from mitoscale.core.plan import RunPlan
from mitoscale.storage.arrays import open_array
from mitoscale.storage.creation import create_array
from mitoscale.storage.layout import RunFolder


def create_slots(plan: RunPlan) -> None:
    """Make the array, empty."""
    slot = _slot(plan)
    create_array(
        RunFolder(plan.run).fragments,
        shape=tuple(n * s for n, s in zip(plan.grid.counts, slot, strict=True)),
        dtype="uint32",
        chunks=plan.spec.chunks,
        shards=slot,
    )


def write_slot(plan: RunPlan, block: Block, fragments: np.ndarray) -> None:
    """Write a block's fragments.

    Parameters
    ----------
    plan : RunPlan
        The run.
    block : Block
        The block.
    fragments : (Z, Y, X) uint32
        Over its read region.
    """
    slot, start = _slot(plan), _start(plan, block)
    whole = np.zeros(slot, fragments.dtype)  # a whole slot replaces an earlier one without reading it, even a broken one
    whole[tuple(slice(0, n) for n in fragments.shape)] = fragments
    where = Region(start=start, stop=tuple(a + n for a, n in zip(start, slot, strict=True)))
    open_array(RunFolder(plan.run).fragments).write(where, whole)


def read_slot(plan: RunPlan, block: Block, region: Region) -> np.ndarray:
    """A block's fragments in a part of its read region.

    Parameters
    ----------
    plan : RunPlan
        The run.
    block : Block
        The block.
    region : Region
        Level-0 voxels within the block's read region.

    Returns
    -------
    (Z, Y, X) uint32

    Raises
    ------
    MissingShardError, BlockError
        As :meth:`mitoscale.storage.arrays.Array.read`.
    """
    z, y, x = (s - h for s, h in zip(_start(plan, block), block.halo.start, strict=True))
    return open_array(RunFolder(plan.run).fragments).read(region.shifted((z, y, x)))


def _slot(plan: RunPlan) -> Triple:
    """Shape of a slot: the largest read region, in whole chunks."""
    z, y, x = (-(-n // c) * c for n, c in zip(plan.slot_shape, plan.spec.chunks, strict=True))
    return z, y, x


def _start(plan: RunPlan, block: Block) -> Triple:
    z, y, x = ((i - f) * n for i, f, n in zip(block.index, plan.grid.first, _slot(plan), strict=True))
    return z, y, x
