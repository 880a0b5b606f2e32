"""Cells of a map: the blocks of a grid, several in one where there are too many to show."""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mitoscale.core.geometry import Triple
from mitoscale.core.grid import BlockGrid

MOST = 8192
"""Cells of a map at most: what a browser draws at once without effort."""


class Cells(BaseModel):
    """Boxes of ``step`` blocks that cover a grid; the last one along an axis may hold fewer.

    Examples
    --------
    >>> from mitoscale.core.geometry import Region
    >>> grid = BlockGrid(region=Region.of_shape((4, 4, 20)), core_shape=(4, 4, 4), margin=(0, 0, 0))
    >>> cells = Cells.fitting(grid, most=3)
    >>> cells.shape, cells.blocks().tolist(), cells.place("z000_y000_x004")
    ((1, 1, 3), [[[2, 2, 1]]], (0, 0, 2))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    grid: BlockGrid
    """The blocks."""
    step: Triple = Field(default=(1, 1, 1))
    """Blocks (z, y, x) in a cell."""

    @classmethod
    def fitting(cls, grid: BlockGrid, most: int = MOST) -> Cells:
        """The smallest cells of which there are at most ``most``; the axis with the most of them is made coarser first.

        Parameters
        ----------
        grid : BlockGrid
            Blocks of the volume.
        most : int
            Largest number of cells.
        """
        step = [1, 1, 1]
        while math.prod(counts := [-(-n // s) for n, s in zip(grid.counts, step, strict=True)]) > most:
            step[counts.index(max(counts))] += 1
        return cls(grid=grid, step=(step[0], step[1], step[2]))

    @property
    def shape(self) -> Triple:
        """Number of cells (z, y, x)."""
        z, y, x = (-(-n // s) for n, s in zip(self.grid.counts, self.step, strict=True))
        return z, y, x

    def place(self, task: str) -> Triple:
        """The cell of a task.

        Parameters
        ----------
        task : str
            Name of a block, or of a face, which belongs to the cell of its low block.
        """
        parts = task.partition("+")[0].split("_")
        z, y, x = (int(p[1:]) - f for p, f in zip(parts, self.grid.first, strict=True))
        return z // self.step[0], y // self.step[1], x // self.step[2]

    def blocks(self) -> np.ndarray:
        """(Z, Y, X) uint32, the number of blocks in each cell."""
        return _outer(*(self._sizes(axis) for axis in range(3)))

    def faces(self) -> np.ndarray:
        """(Z, Y, X) uint32, the number of faces whose low block is in each cell."""
        total = np.zeros(self.shape, np.uint32)
        for across in range(3):
            sizes = [self._sizes(axis) for axis in range(3)]
            sizes[across][-1] -= 1  # the last block has no neighbour above
            total += _outer(*sizes)
        return total

    def bounds(self, axis: int) -> np.ndarray:
        """(cells + 1,) int64, the voxels where the cells of an axis begin, and the one where the last ends."""
        first, core = self.grid.first[axis], self.grid.core_shape[axis]
        edges = (first + np.arange(self.shape[axis] + 1) * self.step[axis]) * core
        return np.clip(edges, self.grid.region.start[axis], self.grid.region.stop[axis])

    def _sizes(self, axis: int) -> np.ndarray:
        """(cells,) the number of blocks in each cell of an axis."""
        count, step = self.grid.counts[axis], self.step[axis]
        return np.minimum(step, count - np.arange(self.shape[axis]) * step)


def _outer(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    product: np.ndarray = z[:, None, None] * y[:, None] * x
    return product.astype(np.uint32)
