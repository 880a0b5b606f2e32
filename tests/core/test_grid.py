"""The grid of blocks: each voxel is written once, each face is compared once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import Block, BlockGrid

VOLUME = (17, 19, 23)


@st.composite
def grids(draw: st.DrawFn) -> BlockGrid:
    """Any region of the volume, any core, any margin up to the core."""
    start, stop, core, margin = [], [], [], []
    for length in VOLUME:
        low = draw(st.integers(0, length - 1))
        start.append(low)
        stop.append(draw(st.integers(low + 1, length)))
        core.append(draw(st.integers(3, length + 4)))
        margin.append(draw(st.integers(0, core[-1])))
    region = Region(start=tuple(start), stop=tuple(stop))
    return BlockGrid(region=region, core_shape=tuple(core), margin=tuple(margin))


@given(grids())
@settings(max_examples=60)
def test_cores_tile_the_region_once(grid: BlockGrid) -> None:
    written = np.zeros(VOLUME, int)
    for block in grid.blocks():
        written[block.core.slices] += 1
    expected = np.zeros(VOLUME, int)
    expected[grid.region.slices] = 1
    assert (written == expected).all()
    assert len(list(grid.blocks())) == len(grid)


@given(grids())
@settings(max_examples=60)
def test_cores_lie_on_one_lattice_and_halos_in_the_region(grid: BlockGrid) -> None:
    for block in grid.blocks():
        for axis in range(3):
            size, margin = grid.core_shape[axis], grid.margin[axis]
            low, high = grid.region.start[axis], grid.region.stop[axis]
            assert block.core.start[axis] == max(low, block.index[axis] * size)
            assert block.core.stop[axis] == min(high, (block.index[axis] + 1) * size)
            assert block.halo.start[axis] == max(low, block.core.start[axis] - margin)
            assert block.halo.stop[axis] == min(high, block.core.stop[axis] + margin)


@given(grids())
@settings(max_examples=60)
def test_names_and_numbers_lead_back_to_the_block(grid: BlockGrid) -> None:
    blocks = list(grid.blocks())
    assert [grid.number(b.index) for b in blocks] == list(range(len(grid)))
    assert [grid.named(b.name) for b in blocks] == blocks
    assert [grid.numbered(number) for number in range(len(grid))] == blocks
    assert [b.name for b in blocks] == sorted({b.name for b in blocks})


@given(grids())
@settings(max_examples=60)
def test_each_pair_of_neighbours_has_one_face(grid: BlockGrid) -> None:
    blocks = list(grid.blocks())
    neighbours = {
        (a.name, b.name)
        for a in blocks
        for b in blocks
        if sorted(y - x for x, y in zip(a.index, b.index, strict=True)) == [0, 0, 1]
    }
    faces = list(grid.faces())
    assert len(faces) == len(neighbours) == len({f.name for f in faces})
    assert {(f.low.name, f.high.name) for f in faces} == neighbours
    for face in faces:
        assert face.low.core.stop[face.axis] == face.plane == face.high.core.start[face.axis]
        assert face.name == f"{face.low.name}+{'zyx'[face.axis]}"
    assert sum(len(list(grid.faces_above(b))) for b in blocks) == len(faces)


@given(grids(), st.data())
@settings(max_examples=30)
def test_a_part_of_the_volume_has_the_same_blocks(grid: BlockGrid, data: st.DataObject) -> None:
    """A block's name means the same place, whatever region is worked on."""
    whole = BlockGrid(region=Region.of_shape(VOLUME), core_shape=grid.core_shape, margin=grid.margin)
    block = data.draw(st.sampled_from(list(grid.blocks())))
    assert whole.named(block.name).core.intersection(grid.region) == block.core


def test_names_of_large_grids_stay_distinct() -> None:
    names = {Block(index=i, core=Region.of_shape((1, 1, 1)), halo=Region.of_shape((1, 1, 1))).name for i in
             [(0, 0, 1000), (0, 1, 0), (1, 0, 0), (0, 0, 100)]}  # fmt: skip
    assert len(names) == 4


def make(core: Triple = (4, 4, 4), margin: Triple = (1, 1, 1)) -> BlockGrid:
    return BlockGrid(region=Region.of_shape((8, 8, 8)), core_shape=core, margin=margin)


@pytest.mark.parametrize(("core", "margin"), [((0, 4, 4), (0, 0, 0)), ((4, 4, 4), (5, 0, 0)), ((4, 4, 4), (0, -1, 0))])
def test_a_margin_beyond_the_core_is_refused(core: Triple, margin: Triple) -> None:
    with pytest.raises(ValidationError, match=r"core|margin"):
        make(core, margin)


@pytest.mark.parametrize("index", [(2, 0, 0), (0, -1, 0), (0, 0, 99)])
def test_a_block_outside_is_refused(index: Triple) -> None:
    grid = make()
    assert not grid.contains(index)
    with pytest.raises(IndexError, match="not in the grid"):
        grid.block(index)


@pytest.mark.parametrize("name", ["", "z0y0x0", "z000_y000", "z000_y000_x000+x", " z000_y000_x000"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(KeyError, match="not a block name"):
        make().named(name)


def test_a_core_must_be_whole_shards() -> None:
    make().check_aligned((2, 4, 1))
    with pytest.raises(InputError, match="whole number of shards"):
        make().check_aligned((3, 4, 4))
