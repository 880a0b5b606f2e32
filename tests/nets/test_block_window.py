"""The window that a network must see: on its lattice, around what is wanted, filled up at the volume's border alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.nets.block_window import same_size, window_axis
from mitoscale.ops.resample import coarse_range

STRIDES = st.sampled_from([2, 16, 32])


@given(st.integers(0, 500), st.integers(0, 200), st.integers(1, 300), st.integers(0, 200), st.floats(0.3, 4.0), STRIDES)
def test_windows_lie_on_the_lattice_and_cover_what_is_wanted(
    first: int, before: int, length: int, behind: int, ratio: float, stride: int
) -> None:
    read, wanted = (first, first + before + length + behind), (first + before, first + before + length)
    margin = 2 * stride
    axis = window_axis(read, wanted, ratio=ratio, stride=stride, margin=margin)
    assert axis.start % stride == 0 and axis.size % stride == 0
    low, high = coarse_range(*wanted, ratio)
    known = coarse_range(*read, ratio)
    assert axis.start <= max(low - margin, known[0]) and axis.start + axis.size >= min(high + margin, known[1])
    assert axis.start > min(low - margin, known[0]) - stride or axis.start + stride > known[0], "no stride more than is needed"
    assert len(axis.pixels) == axis.size and axis.pixels.min() >= 0 and (np.diff(axis.pixels) >= 0).all()
    if ratio != 1.0:
        assert axis.down is not None and axis.up is not None
        assert axis.down.shape == (axis.size, read[1] - read[0]) and axis.up.shape == (length, axis.size)
        np.testing.assert_allclose(axis.down.sum(1), 1, atol=1e-5)
        np.testing.assert_allclose(axis.up.sum(1), 1, atol=1e-5)


@given(st.integers(0, 300), st.integers(0, 100), st.integers(1, 100), STRIDES)
def test_pixels_of_the_same_size_are_taken_as_they_are(first: int, before: int, length: int, stride: int) -> None:
    axis = window_axis(
        (first, first + before + length), (first + before, first + before + length), ratio=1.0, stride=stride, margin=stride
    )
    assert axis.down is None and axis.up is None
    places = first + axis.pixels[axis.wanted]
    assert places.tolist() == list(range(first + before, first + before + length))


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, 1.0), (0.995, 1.0), (1.009, 1.0), (1.02, 1.02), (0.5, 0.5)])
def test_sizes_as_good_as_the_same(ratio: float, expected: float) -> None:
    assert same_size(ratio) == expected
