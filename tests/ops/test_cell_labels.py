"""Cells and the objects in them are counted the same, however the volume is cut and however coarse the mask is."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.core.cell_mask import CellMask
from mitoscale.core.geometry import Region
from mitoscale.ops.cells import CellSums, cell_of, cell_pairs, cell_sizes, merge_pairs


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3))
def test_parts_give_what_the_whole_gives(seed: int, cut: int, ranges: int) -> None:
    rng = np.random.default_rng(seed)
    labels, cells = rng.integers(0, 9, (6, 5, 4)), rng.integers(0, 4, (6, 5, 4)) * 1000
    parts = [cell_pairs(a, b) for a, b in ((labels[:cut], cells[:cut]), (labels[cut:], cells[cut:]))]
    pairs, sizes = merge_pairs(parts), merge_pairs([cell_sizes(cells[:cut]), cell_sizes(cells[cut:])])
    assert {n: v.tolist() for n, v in pairs.items()} == {n: v.tolist() for n, v in merge_pairs([cell_pairs(labels, cells)]).items()}
    objects = np.unique(labels[labels > 0]).astype(np.uint64)
    sums, given_cells = CellSums(), []
    for some in np.array_split(objects, ranges):
        own = np.isin(pairs["label"], some)
        given_cells += sums.add(some, {name: column[own] for name, column in pairs.items()}).tolist()
    for label, cell in zip(objects.tolist(), given_cells, strict=True):
        counts = np.bincount(cells[(labels == label) & (cells > 0)].ravel() // 1000, minlength=4)
        assert cell == (0 if not counts.any() else 1000 * int(counts.argmax()))
    table = sums.table(sizes, 2.0)
    for row, cell in enumerate(table["cell"].tolist()):
        assert table["voxels"][row] == (cells == cell).sum() and table["volume_nm3"][row] == 2 * (cells == cell).sum()
        assert table["mitochondria"][row] == given_cells.count(cell)
        assert table["fraction"][row] == ((cells == cell) & (labels > 0)).sum() / (cells == cell).sum()
    assert table["cell"].tolist() == sorted(set(cells[cells > 0].tolist()))


def test_no_objects_and_no_cells() -> None:
    nothing = merge_pairs([])
    assert cell_of(np.array([3], np.uint64), nothing).tolist() == [0]
    assert len(CellSums().table(merge_pairs([cell_sizes(np.zeros((1, 2, 2), np.uint64))]), 1.0)["cell"]) == 0


@given(st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.integers(1, 7)] * 3), st.booleans(), st.data())
def test_a_whole_step_repeats_each_voxel(shape: tuple[int, ...], step: tuple[int, ...], up: bool, data: st.DataObject) -> None:
    """Whether the mask was rounded up or down at the end: voxel i lies in mask voxel i // step, or in the last one."""
    own = tuple(-(-n // s) if up else max(n // s, 1) for n, s in zip(shape, step, strict=True))
    mask = CellMask(path="m", fingerprint="0", shape=own, step=tuple(map(float, step)))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    for found, a, b, s, n in zip(mask.places(Region(start=start, stop=stop)), start, stop, step, own, strict=True):
        assert found.tolist() == [min(i // s, n - 1) for i in range(a, b)]
