"""Cells of a map: each task of a grid is in one of them, however coarse they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.core.geometry import Region
from mitoscale.core.grid import BlockGrid
from mitoscale.dashboard.map_cells import MOST, Cells


@st.composite
def grids(draw: st.DrawFn) -> BlockGrid:
    """Any region of any small grid."""
    start = tuple(draw(st.integers(0, 20)) for _ in range(3))
    stop = tuple(a + draw(st.integers(1, 25)) for a in start)
    core = tuple(draw(st.integers(2, 9)) for _ in range(3))
    return BlockGrid(region=Region(start=start, stop=stop), core_shape=core, margin=(0, 0, 0))


@given(grids(), st.integers(1, 40))
@settings(max_examples=80)
def test_each_task_is_in_one_cell(grid: BlockGrid, most: int) -> None:
    cells = Cells.fitting(grid, most)
    assert cells.blocks().size <= most
    for tasks, expected in ((grid.blocks(), cells.blocks()), (grid.faces(), cells.faces())):
        counted = np.zeros(cells.shape, np.uint32)
        for task in tasks:
            counted[cells.place(task.name)] += 1
        assert np.array_equal(counted, expected)
    for axis in range(3):
        bounds = cells.bounds(axis)
        assert (np.diff(bounds) > 0).all()
        assert (bounds[0], bounds[-1]) == (grid.region.start[axis], grid.region.stop[axis])
    for block in grid.blocks():
        place = cells.place(block.name)
        for axis in range(3):
            low, high = cells.bounds(axis)[place[axis] : place[axis] + 2]
            assert low <= block.core.start[axis] < block.core.stop[axis] <= high


def test_a_million_blocks_are_a_few_thousand_cells() -> None:
    grid = BlockGrid(region=Region.of_shape((6400, 51200, 51200)), core_shape=(64, 512, 512), margin=(0, 0, 0))
    cells = Cells.fitting(grid)
    assert cells.blocks().sum() == len(grid) == 10**6
    assert cells.faces().sum() == grid.face_count
    assert MOST / 4 < cells.blocks().size <= MOST
