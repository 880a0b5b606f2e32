"""The merge of all blocks' fragments into objects, super-block by super-block, so that no table of the whole volume is held."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from mitoscale.core.geometry import Triple
from mitoscale.core.grid import SUPER_BLOCK, BlockGrid
from mitoscale.ops.super_block_merge import Merge, Numbers
from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import read_table, write_table


class MergedLabels:
    """The label of each fragment, kept on disk by super-block.

    Parameters
    ----------
    folder : str
        Where; made anew by :func:`merge_fragments`.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def of(self, corner: Triple) -> tuple[np.ndarray, np.ndarray]:
        """Raw ids of a super-block's fragments, (N,) uint64 ascending, and the (N,) uint64 label of each."""
        part = read_table(self.path(corner))
        return part["raw"], part["label"]

    def path(self, corner: Triple) -> str:
        """The file of a super-block."""
        z, y, x = corner
        return os.path.join(self.folder, f"{z:03d}", f"{y:03d}", f"{x:03d}.parquet")

    def remove(self) -> None:
        """Remove all tables of the merge."""
        remove_tree(self.folder)


def merge_fragments(
    grid: BlockGrid,
    *,
    fragments: Callable[[Triple], np.ndarray],
    edges: Callable[[Triple], np.ndarray],
    labels: MergedLabels,
    super_block: int = SUPER_BLOCK,
) -> Numbers:
    """Merge fragments over edges and number the objects.

    Parameters
    ----------
    grid : BlockGrid
        The blocks.
    fragments : callable
        Gives the (N,) uint64 raw ids of a super-block's fragments, ascending.
    edges : callable
        Gives (E, 2) uint64 raw ids of the accepted edges of all faces whose low block is in a super-block, its id first.
    labels : MergedLabels
        Where to keep what is found.
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
    labels.remove()
    merge = Merge()
    for corner in grid.super_block_corners(super_block):
        raw = fragments(corner)
        write_table(labels.path(corner), {"raw": raw, "root": merge.add(raw, edges(corner))}, durable=False)
    numbers = merge.numbers()
    for corner in grid.super_block_corners(super_block):
        part = read_table(labels.path(corner))
        found = numbers.labels(part["raw"], part["root"])
        write_table(labels.path(corner), {"raw": part["raw"], "label": found}, durable=False)
    return numbers
