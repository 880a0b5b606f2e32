"""The merge through tables: a block at a time in and out, and the labels of one merge over everything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import Block, BlockGrid, Face, index_of
from mitoscale.ops.global_ids import merge, pack
from mitoscale.stages.merge import merge_fragments

GRID = BlockGrid(region=Region.of_shape((20, 12, 16)), core_shape=(4, 4, 4), margin=(1, 1, 1))
LOCAL = {b.index: np.arange(1, 2 + sum(b.index) % 4, dtype=np.uint32) for b in GRID.blocks() if b.index != (1, 1, 1)}


def fragments(block: Block) -> np.ndarray:
    """One to four of each block, none of one."""
    return LOCAL.get(block.index, np.zeros(0, np.uint32))


def tables(block: Block) -> dict[str, np.ndarray]:
    """What stitch has of a block."""
    return {"local": fragments(block)}


def edges(face: Face) -> np.ndarray:
    """Fragments of the same number are one, but not at every face."""
    common = np.intersect1d(fragments(face.low), fragments(face.high))
    kept = common[(common + face.axis + sum(face.low.index)) % 3 > 0]
    return np.stack([pack(GRID.number(b.index), kept) for b in (face.low, face.high)], axis=1)


@pytest.mark.parametrize("super_block", [1, 2, 3, 16])
def test_each_block_gets_the_labels_of_one_merge(super_block: int, tmp_path: Path) -> None:
    found: dict[tuple[int, int, int], np.ndarray] = {}

    corners = []

    def write(corner: Triple, labelled: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        corners.append(corner)
        for name, table in labelled.items():
            np.testing.assert_array_equal(table["local"], fragments(GRID.named(name)))
            found[index_of(name)] = table["label"]

    scratch = str(tmp_path / "merge")
    numbers = merge_fragments(GRID, fragments=tables, edges=edges, write=write, scratch=scratch, super_block=super_block)
    raw = np.concatenate([pack(GRID.number(b.index), fragments(b)) for b in GRID.blocks()])
    expected = merge(raw, np.concatenate([edges(f) for f in GRID.faces()]))
    np.testing.assert_array_equal(np.concatenate([found[b.index] for b in GRID.blocks()]), expected)
    assert corners == list(GRID.super_block_corners(super_block))
    assert not Path(scratch).exists()
    assert 1 < expected.max() < len(raw)
    assert numbers.count == expected.max()


def test_an_edge_to_nowhere_is_told(tmp_path: Path) -> None:
    def wrong(face: Face) -> np.ndarray:
        return edges(face) + np.uint64(face.low.index == (2, 0, 0)) * np.array([[0, 100]], np.uint64)

    with pytest.raises(InputError, match=r"an edge names fragment 10[1-4] of block"):
        merge_fragments(GRID, fragments=tables, edges=wrong, write=lambda *_: None, scratch=str(tmp_path / "m"), super_block=2)
