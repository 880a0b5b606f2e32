"""What lies in a super-block, by number and name: of a million blocks and faces no objects are made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from mitoscale.core.geometry import Triple
from mitoscale.core.grid import SUPER_BLOCK, BlockGrid, block_name


class FacePlace(NamedTuple):
    """A face of a grid."""

    name: str
    """As :attr:`mitoscale.core.grid.Face.name`."""
    axis: int
    """0, 1 or 2: the axis the face is normal to."""
    low: int
    """Number of the block before it."""
    high: int
    """Number of the block behind it."""


def super_block_count(grid: BlockGrid) -> int:
    """Number of a grid's super-blocks."""
    return math.prod(-(-n // SUPER_BLOCK) for n in grid.counts)


def indices_in(grid: BlockGrid, corner: Triple, edge: int = SUPER_BLOCK) -> Iterator[Triple]:
    """Indices of the blocks of a super-block, in the order of their numbers.

    Parameters
    ----------
    grid : BlockGrid
        The blocks.
    corner : (z, y, x)
        The super-block, as :meth:`BlockGrid.super_block_corners` gives it.
    edge : int
        Blocks along each edge of a super-block.

    Examples
    --------
    >>> from mitoscale.core.geometry import Region
    >>> grid = BlockGrid(region=Region.of_shape((4, 4, 12)), core_shape=(4, 4, 4), margin=(0, 0, 0))
    >>> list(indices_in(grid, (0, 0, 0), 2)), list(indices_in(grid, (0, 0, 1), 2))
    ([(0, 0, 0), (0, 0, 1)], [(0, 0, 2)])
    """
    ranges = (range(f + c * edge, f + min((c + 1) * edge, n)) for f, c, n in zip(grid.first, corner, grid.counts, strict=True))
    yield from ((z, y, x) for z, y, x in product(*ranges))


def faces_from(grid: BlockGrid, corner: Triple, edge: int = SUPER_BLOCK) -> Iterator[FacePlace]:
    """The faces whose low block is in a super-block, in the order of :meth:`BlockGrid.faces_above`.

    Parameters
    ----------
    grid : BlockGrid
        The blocks.
    corner : (z, y, x)
        The super-block.
    edge : int
        Blocks along each edge of a super-block.
    """
    last = tuple(f + n - 1 for f, n in zip(grid.first, grid.counts, strict=True))
    steps = (grid.counts[1] * grid.counts[2], grid.counts[2], 1)
    for index in indices_in(grid, corner, edge):
        name, number = block_name(index), grid.number(index)
        for axis in range(3):
            if index[axis] < last[axis]:
                yield FacePlace(f"{name}+{'zyx'[axis]}", axis, number, number + steps[axis])
