"""The merge through tables: a super-block at a time in and out, and the labels of one merge over everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import Block, BlockGrid, Face
from mitoscale.core.super_blocks import faces_from, indices_in
from mitoscale.ops.global_ids import merge, pack
from mitoscale.stages.merge import MergedLabels, merge_fragments

GRID = BlockGrid(region=Region.of_shape((20, 12, 16)), core_shape=(4, 4, 4), margin=(1, 1, 1))
LOCAL = {b.index: np.arange(1, 2 + sum(b.index) % 4, dtype=np.uint32) for b in GRID.blocks() if b.index != (1, 1, 1)}


def fragments(block: Block) -> np.ndarray:
    """One to four of each block, none of one."""
    return LOCAL.get(block.index, np.zeros(0, np.uint32))


def edges(face: Face) -> np.ndarray:
    """Fragments of the same number are one, but not at every face."""
    common = np.intersect1d(fragments(face.low), fragments(face.high))
    kept = common[(common + face.axis + sum(face.low.index)) % 3 > 0]
    return np.stack([pack(GRID.number(b.index), kept) for b in (face.low, face.high)], axis=1)


def in_super_blocks(super_block: int) -> tuple[Callable[[Triple], np.ndarray], Callable[[Triple], np.ndarray]]:
    """Raw ids and edges of a super-block, as stitch reads them."""

    def raw(corner: Triple) -> np.ndarray:
        blocks = [GRID.block(index) for index in indices_in(GRID, corner, super_block)]
        return np.concatenate([pack(GRID.number(b.index), fragments(b)) for b in blocks])

    def leaving(corner: Triple) -> np.ndarray:
        blocks = [GRID.block(index) for index in indices_in(GRID, corner, super_block)]
        return np.concatenate([np.zeros((0, 2), np.uint64), *(edges(face) for b in blocks for face in GRID.faces_above(b))])

    return raw, leaving


@pytest.mark.parametrize("super_block", [1, 2, 3, 16])
def test_each_block_gets_the_labels_of_one_merge(super_block: int, tmp_path: Path) -> None:
    raw, leaving = in_super_blocks(super_block)
    kept = MergedLabels(str(tmp_path / "merge"))
    numbers = merge_fragments(GRID, fragments=raw, edges=leaving, labels=kept, super_block=super_block)
    parts = [kept.of(corner) for corner in GRID.super_block_corners(super_block)]
    found, labels = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    every = np.concatenate([pack(GRID.number(b.index), fragments(b)) for b in GRID.blocks()])
    expected = merge(every, np.concatenate([edges(f) for f in GRID.faces()]))
    order = np.argsort(found)
    np.testing.assert_array_equal(found[order], every)
    np.testing.assert_array_equal(labels[order], expected)
    assert 1 < expected.max() < len(every)
    assert numbers.count == expected.max()
    kept.remove()
    assert not Path(kept.folder).exists()


@pytest.mark.parametrize("super_block", [1, 2, 16])
def test_super_blocks_hold_each_block_and_face_once(super_block: int) -> None:
    region = Region(start=(4, 0, 8), stop=(20, 12, 30))
    grid = BlockGrid(region=region, core_shape=(4, 4, 4), margin=(1, 1, 1))
    corners = list(grid.super_block_corners(super_block))
    blocks = [[block.index for block in part] for part in grid.super_blocks(super_block)]
    assert [list(indices_in(grid, corner, super_block)) for corner in corners] == blocks
    faces = [face for corner in corners for face in faces_from(grid, corner, super_block)]
    expected = [
        (f.name, f.axis, grid.number(f.low.index), grid.number(f.high.index))
        for part in grid.super_blocks(super_block)
        for block in part
        for f in grid.faces_above(block)
    ]
    assert faces == expected and len(faces) == grid.face_count


def test_an_edge_to_nowhere_is_told(tmp_path: Path) -> None:
    raw, leaving = in_super_blocks(2)

    def wrong(corner: Triple) -> np.ndarray:
        return leaving(corner) + np.uint64(corner == (1, 0, 0)) * np.array([[0, 100]], np.uint64)

    with pytest.raises(InputError, match=r"an edge names fragment 10[1-4] of block"):
        merge_fragments(GRID, fragments=raw, edges=wrong, labels=MergedLabels(str(tmp_path / "m")), super_block=2)
