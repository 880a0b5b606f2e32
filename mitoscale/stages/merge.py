"""The merge of all blocks' fragments into objects, super-block by super-block, so that no table of the whole volume is held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mitoscale.core.grid import Block, BlockGrid, Face
from mitoscale.ops.global_ids import pack
from mitoscale.ops.super_blocks import Merge, Numbers
from mitoscale.storage.layout import remove_tree
from mitoscale.storage.tables import read_table, write_table

SUPER_BLOCK = 16
"""Blocks along each edge of a super-block: 4096 at most, of whose faces one in sixteen is on its surface."""


def merge_fragments(
    grid: BlockGrid,
    *,
    fragments: Callable[[Block], np.ndarray],
    edges: Callable[[Face], np.ndarray],
    write: Callable[[Block, np.ndarray, np.ndarray], None],
    scratch: str,
    super_block: int = SUPER_BLOCK,
) -> Numbers:
    """Merge fragments over edges and number the objects.

    Parameters
    ----------
    grid : BlockGrid
        The blocks.
    fragments : callable
        Gives (N,) uint32 local ids of a block's fragments, ascending; none where there is no such block.
    edges : callable
        Gives (E, 2) uint64 raw ids of the accepted edges of a face, the lower block's first.
    write : callable
        Gets each block with its (N,) local ids and the (N,) uint64 label of each, once all are merged.
    scratch : str
        A folder for what is known of each super-block; made anew, and removed at the end.
    super_block : int
        Blocks along each edge of a super-block.

    Returns
    -------
    Numbers
        How many objects there are, and which of them super-blocks share.

    Raises
    ------
    InputError
        If an edge names a fragment that is not there.
    """
    remove_tree(scratch)
    merge = Merge()
    for number, blocks in enumerate(grid.super_blocks(super_block)):
        raw = _joined([pack(grid.number(block.index), fragments(block)) for block in blocks])
        found = [edges(face) for block in blocks for face in grid.faces_above(block)]
        root = merge.add(raw, np.concatenate([np.zeros((0, 2), np.uint64), *found]))
        write_table(_part(scratch, number), {"raw": raw, "root": root})
    numbers = merge.numbers()
    for number, blocks in enumerate(grid.super_blocks(super_block)):
        part = read_table(_part(scratch, number))
        labels = numbers.labels(part["raw"], part["root"])
        for block in blocks:
            local = fragments(block)
            own = np.searchsorted(part["raw"], pack(grid.number(block.index), local))
            write(block, local, labels[own])
    remove_tree(scratch)
    return numbers


def _joined(raw: list[np.ndarray]) -> np.ndarray:
    """(N,) uint64 ascending."""
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *raw]))


def _part(scratch: str, number: int) -> str:
    return str(Path(scratch, f"{number:06d}.parquet"))
