"""The merge of all blocks' fragments into objects, super-block by super-block, so that no table of the whole volume is held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mitoscale.core.geometry import Triple
from mitoscale.core.grid import SUPER_BLOCK, Block, BlockGrid, Face
from mitoscale.ops.global_ids import pack
from mitoscale.ops.super_blocks import Merge, Numbers
from mitoscale.storage.layout import remove_tree
from mitoscale.storage.tables import Columns, read_table, write_table


def merge_fragments(
    grid: BlockGrid,
    *,
    fragments: Callable[[Block], Columns],
    edges: Callable[[Face], np.ndarray],
    write: Callable[[Triple, Mapping[str, Columns]], None],
    scratch: str,
    super_block: int = SUPER_BLOCK,
) -> Numbers:
    """Merge fragments over edges and number the objects.

    Parameters
    ----------
    grid : BlockGrid
        The blocks.
    fragments : callable
        Gives one row for each fragment of a block; ``local`` (N,) uint32 ascending, none where there is no such block.
    edges : callable
        Gives (E, 2) uint64 raw ids of the accepted edges of a face, the lower block's first.
    write : callable
        Gets each super-block, and by its blocks' names what ``fragments`` gave with the (N,) uint64 ``label`` of each, once all
        are merged.
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
        raw = _joined([pack(grid.number(block.index), fragments(block)["local"]) for block in blocks])
        found = [edges(face) for block in blocks for face in grid.faces_above(block)]
        root = merge.add(raw, np.concatenate([np.zeros((0, 2), np.uint64), *found]))
        write_table(_part(scratch, number), {"raw": raw, "root": root})
    numbers = merge.numbers()
    corners = grid.super_block_corners(super_block)
    for number, (corner, blocks) in enumerate(zip(corners, grid.super_blocks(super_block), strict=True)):
        part = read_table(_part(scratch, number))
        labels = numbers.labels(part["raw"], part["root"])
        labelled = {}
        for block in blocks:
            table = fragments(block)
            own = np.searchsorted(part["raw"], pack(grid.number(block.index), table["local"]))
            labelled[block.name] = {**table, "label": labels[own]}
        write(corner, labelled)
    remove_tree(scratch)
    return numbers


def _joined(raw: list[np.ndarray]) -> np.ndarray:
    """(N,) uint64 ascending."""
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *raw]))


def _part(scratch: str, number: int) -> str:
    return str(Path(scratch, f"{number:06d}.parquet"))
