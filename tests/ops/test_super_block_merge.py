"""A merge in super-blocks is the merge of everything, number by number, however the blocks are grouped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.grid import BlockGrid
from mitoscale.ops.global_ids import merge, pack, unpack
from mitoscale.ops.super_block_merge import Merge

NONE = np.zeros((0, 2), np.uint64)


def random_fragments(grid: BlockGrid, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Raw ids of all fragments, some blocks without any, and edges across faces from the lower to the higher block."""
    local = {b.index: np.sort(rng.choice(3 * most, rng.integers(0, most + 1), replace=False)) + 1 for b in grid.blocks()}
    raw = np.concatenate([pack(grid.number(b.index), local[b.index].astype(np.uint32)) for b in grid.blocks()])
    edges = [NONE]
    for face in grid.faces():
        low, high = (local[b.index].astype(np.uint32) for b in (face.low, face.high))
        count = int(rng.integers(0, 4)) if len(low) and len(high) else 0
        ends = [
            pack(grid.number(b.index), rng.choice(own, count)) if count else np.zeros(0, np.uint64)
            for b, own in ((face.low, low), (face.high, high))
        ]
        edges.append(np.stack(ends, axis=1))
    return raw, np.concatenate(edges)


def merge_in_super_blocks(grid: BlockGrid, raw: np.ndarray, edges: np.ndarray, edge: int) -> np.ndarray:
    """Labels of ``raw``, super-block by super-block."""
    labels = np.zeros(len(raw), np.uint64)
    step, parts = Merge(), []
    for blocks in grid.super_blocks(edge):
        numbers = np.array([grid.number(b.index) for b in blocks], np.uint64)
        where = np.isin(unpack(raw)[0], numbers)
        own = edges[np.isin(unpack(edges[:, 0])[0], numbers)]
        parts.append((where, step.add(raw[where], own)))
    found = step.numbers()
    for where, root in parts[::-1]:  # any order
        labels[where] = found.labels(raw[where], root)
    return labels


@settings(max_examples=150)
@given(
    counts=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
    edge=st.integers(1, 4),
    most=st.integers(1, 6),
    start=st.integers(0, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_super_blocks_give_the_labels_of_one_merge(
    counts: tuple[int, int, int], edge: int, most: int, start: int, seed: int
) -> None:
    region = Region(start=(start, 0, start), stop=(start + 4 * counts[0], 4 * counts[1], start + 4 * counts[2]))
    grid = BlockGrid(region=region, core_shape=(4, 4, 4), margin=(1, 1, 1))
    raw, edges = random_fragments(grid, most, np.random.default_rng(seed))
    np.testing.assert_array_equal(merge_in_super_blocks(grid, raw, edges, edge), merge(raw, edges))


def test_an_object_that_winds_through_all_super_blocks() -> None:
    """A path that leaves a super-block and comes back joins two fragments of it that no edge inside joins."""
    grid = BlockGrid(region=Region.of_shape((4, 8, 4)), core_shape=(4, 4, 4), margin=(1, 1, 1))
    raw = np.concatenate([pack(0, np.array([1, 2, 3], np.uint32)), pack(1, np.array([7], np.uint32))])
    edges = np.array([[2, 2**24 + 7], [3, 2**24 + 7]], np.uint64)
    assert merge_in_super_blocks(grid, raw, edges, 1).tolist() == [1, 2, 2, 2]


def test_fragments_that_are_not_there_are_told() -> None:
    raw = np.array([1, 2], np.uint64)
    with pytest.raises(InputError, match="an edge names fragment 3 of block 0"):
        Merge().add(raw, np.array([[3, 1]], np.uint64))
    step = Merge()
    step.add(raw, np.array([[1, 2**24 + 5]], np.uint64))
    with pytest.raises(InputError, match="an edge names fragment 5 of block 1"):
        step.numbers()


def test_nothing_at_all() -> None:
    step = Merge()
    assert step.numbers().nbytes == 0
    empty = np.zeros(0, np.uint64)
    root = step.add(empty, NONE)
    assert step.numbers().labels(empty, root).shape == (0,)
