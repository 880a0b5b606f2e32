"""Resampling on one lattice: wherever a block begins, the same place gives the same network pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.ops.resample import coarse_range, from_network, interpolation, to_network

RATIOS = st.floats(0.2, 8.0)
STARTS = st.integers(0, 300)
LENGTHS = st.integers(1, 60)


@given(STARTS, LENGTHS, RATIOS)
def test_the_network_pixels_cover_the_volumes(start: int, length: int, ratio: float) -> None:
    first, last = coarse_range(start, start + length, ratio)
    assert first * ratio <= start + 1e-6 and start + length <= last * ratio + 1e-6
    assert (first + 1) * ratio > start - 1e-6 and (last - 1) * ratio < start + length + 1e-6


@given(STARTS, LENGTHS, RATIOS)
def test_weights_are_means(start: int, length: int, ratio: float) -> None:
    first, last = coarse_range(start, start + length, ratio)
    down, up = to_network(start, start + length, ratio), from_network(start, start + length, ratio)
    assert down.shape == (last - first, length) and up.shape == (length, last - first)
    for weights in (down, up):
        assert weights.dtype == np.float32 and (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


@given(STARTS, st.integers(20, 60), st.integers(0, 40), RATIOS)
def test_two_blocks_see_the_same_inner_pixels(start: int, length: int, before: int, ratio: float) -> None:
    """The later block's rows equal the longer one's, but for the pixels within reach of its border."""
    early = max(0, start - before)
    long, short = to_network(early, start + length, ratio), to_network(start, start + length, ratio)
    shift = coarse_range(start, start + length, ratio)[0] - coarse_range(early, start + length, ratio)[0]
    edge = int(np.ceil(2 + 1 / ratio))
    np.testing.assert_allclose(short[edge:], long[shift + edge :, start - early :], atol=1e-5)


@pytest.mark.parametrize("ratio", [0.4, 1.0, 1.7, 2.0, 3.3])
def test_a_ramp_survives_there_and_back(ratio: float) -> None:
    ramp = np.arange(40.0, 120.0)
    back = from_network(40, 120, ratio) @ (to_network(40, 120, ratio) @ ramp)
    inner = slice(12, -12)
    np.testing.assert_allclose(back[inner], ramp[inner], atol=0.35)


def test_equal_pixels_change_nothing() -> None:
    np.testing.assert_array_equal(to_network(7, 19, 1.0), np.eye(12))
    np.testing.assert_array_equal(from_network(7, 19, 1.0), np.eye(12))


@given(st.lists(st.floats(-20, 60), min_size=1, max_size=9), st.integers(1, 9), st.floats(0.5, 6.0))
def test_interpolation_is_numpys(pixels: list[float], count: int, cell: float) -> None:
    values = np.random.default_rng(count).random(count)
    middles = 3.0 + (np.arange(count) + 0.5) * cell
    found = interpolation(np.array(pixels), 3.0, cell, count) @ values
    np.testing.assert_allclose(found, np.interp(pixels, middles, values), atol=1e-4)
