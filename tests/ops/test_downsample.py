"""Downsampling covers what exists, also at odd borders."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mitoscale.core.geometry import Triple
from mitoscale.ops.downsample import mean_downsample, mode_downsample

factors = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
shapes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))


def groups(array: np.ndarray, factor: Triple) -> dict[Triple, np.ndarray]:
    shape = [-(-n // f) for n, f in zip(array.shape, factor, strict=True)]
    return {
        index: array[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factor, strict=True))].ravel()
        for index in np.ndindex(*shape)
    }


@settings(deadline=None)
@given(image=shapes.flatmap(lambda s: arrays(np.uint16, s)), factor=factors)
def test_mean_is_rounded_halves_up(image: np.ndarray, factor: Triple) -> None:
    result = mean_downsample(image, factor)
    assert result.dtype == image.dtype
    for index, group in groups(image, factor).items():
        assert result[index] == (2 * int(group.astype(int).sum()) + len(group)) // (2 * len(group))


@settings(deadline=None)
@given(labels=shapes.flatmap(lambda s: arrays(np.uint32, s, elements=st.integers(0, 3))), factor=factors)
def test_mode_prefers_many_then_labels_then_small_ones(labels: np.ndarray, factor: Triple) -> None:
    result = mode_downsample(labels, factor)
    assert result.dtype == labels.dtype
    for index, group in groups(labels, factor).items():
        counts = Counter(group.tolist())
        assert result[index] == min(counts, key=lambda label: (-counts[label], label == 0, label))


def test_means_of_signed_and_real_values() -> None:
    assert mean_downsample(np.array([[[-3, -2, 4]]], np.int16), (1, 1, 2)).tolist() == [[[-2, 4]]]
    real = mean_downsample(np.array([[[0.25, 0.5, 7.0]]], np.float32), (1, 1, 2))
    assert real.dtype == np.float32
    assert real.tolist() == [[[0.375, 7.0]]]


def test_blocks_downsampled_apart_make_the_whole() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (7, 8, 6)).astype(np.uint32)
    for reduce in (mean_downsample, mode_downsample):
        parts = [reduce(labels[z : z + 4], (2, 2, 2)) for z in (0, 4)]
        np.testing.assert_array_equal(np.concatenate(parts), reduce(labels, (2, 2, 2)))


def test_labels_beyond_32_bits_stay_whole() -> None:
    labels = np.full((1, 1, 2), 2**63 + 1, np.uint64)
    assert mode_downsample(labels, (1, 1, 2)).tolist() == [[[2**63 + 1]]]


@pytest.mark.parametrize("reduce", [mean_downsample, mode_downsample])
def test_other_factors_are_refused(reduce: object) -> None:
    with pytest.raises(ValueError, match="must be 1 or 2"):
        reduce(np.zeros((4, 4, 4), np.uint8), (1, 1, 3))  # type: ignore[operator]
