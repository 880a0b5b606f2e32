"""The sparse contingency counts what a dense one counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mitoscale.ops.contingency import contingency


@given(data=st.data(), dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.uint64, bool]))
def test_counts_each_pair(data: st.DataObject, dtype: type) -> None:
    values = st.booleans() if dtype is bool else st.integers(0, 5)
    prediction, truth = (data.draw(arrays(dtype, (3, 4), elements=values)) for _ in range(2))
    table = contingency(prediction, truth)
    found = {
        (int(table.pred_labels[p]), int(table.true_labels[t])): int(n)
        for p, t, n in zip(table.pred, table.true, table.count, strict=True)
    }
    pairs, counts = np.unique(np.stack([prediction.ravel(), truth.ravel()]).astype(int), axis=1, return_counts=True)
    assert found == {(int(p), int(t)): int(n) for p, t, n in zip(*pairs, counts, strict=True)}
    assert table.pred_size.sum() == table.true_size.sum() == prediction.size


def test_labels_beyond_32_bits() -> None:
    big = 2**63 + 1
    table = contingency(np.array([big, big, 0], np.uint64), np.array([1, 2, 2], np.uint8))
    assert table.pred_labels.tolist() == [0, big]
    assert table.count.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(0, 3), (2, 3)])
def test_all_background(shape: tuple[int, int]) -> None:
    table = contingency(np.zeros(shape, np.uint32), np.zeros(shape, np.uint8))
    assert table.count.tolist() == ([6] if shape[0] else [])
    assert table.pred_labels.tolist() == [0]


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        contingency(np.zeros((2, 3), int), np.zeros((3, 2), int))
