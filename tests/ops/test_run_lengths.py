"""Counting and renaming by stretches gives what counting and renaming by voxels gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mitoscale.ops.run_lengths import renamed, run_lengths, sizes

LABELS = hnp.arrays(np.uint32, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6), elements=st.integers(0, 3))


@given(LABELS)
def test_stretches_put_together_are_the_volume(labels: np.ndarray) -> None:
    lengths, values = run_lengths(labels)
    assert (np.repeat(values, lengths) == labels.ravel()).all()
    assert (lengths > 0).all()
    assert (values[1:] != values[:-1]).all()


@given(LABELS, st.integers(0, 2**32))
def test_over_a_stretch_no_array_changes(first: np.ndarray, seed: int) -> None:
    second = np.random.default_rng(seed).integers(0, 3, first.shape)
    lengths, a, b = run_lengths(first, second)
    assert (np.repeat(a, lengths) == first.ravel()).all()
    assert (np.repeat(b, lengths) == second.ravel()).all()


@given(LABELS)
def test_sizes_and_new_names_are_those_of_voxels(labels: np.ndarray) -> None:
    assert sizes(labels, 5).tolist() == np.bincount(labels.ravel(), minlength=5).tolist()
    names = np.array([0, 9, 2**40, 7], np.uint64)
    new = renamed(labels, names)
    assert new.dtype == np.uint64
    assert (new == names[labels]).all()


def test_views_that_are_not_contiguous_count_the_same() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (6, 7, 8)).astype(np.uint32)
    for view in (labels[1:-1, 2:, ::2], labels.T, labels[::-1]):
        assert sizes(view, 4).tolist() == np.bincount(view.ravel(), minlength=4).tolist()
        assert (renamed(view, np.arange(4)[::-1]) == 3 - view.astype(np.int64)).all()


def test_arrays_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        run_lengths(np.zeros((2, 3)), np.zeros((3, 2)))
