"""Halving: the mean and the mode of the voxels that exist, also at odd borders and block by block."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mitoscale.ops import downsample
from mitoscale.ops.downsample import mean_downsample, mode_downsample

SHAPES = st.tuples(*[st.integers(1, 6)] * 3)
FACTORS = st.tuples(*[st.sampled_from([1, 2])] * 3)


def groups(array: np.ndarray, factor: tuple[int, int, int]) -> dict[tuple[int, ...], np.ndarray]:
    """The fine voxels of each coarse voxel, found the slow way."""
    shape = [-(-n // f) for n, f in zip(array.shape, factor, strict=True)]
    return {
        i: array[tuple(slice(k * f, (k + 1) * f) for k, f in zip(i, factor, strict=True))].ravel()
        for i in product(*map(range, shape))
    }


@given(st.sampled_from(["uint8", "uint16", "int16", "float32"]), SHAPES, FACTORS, st.integers(0, 1000))
@settings(max_examples=60)
def test_mean_of_the_voxels_that_exist(dtype: str, shape: tuple[int, int, int], factor: tuple[int, int, int], seed: int) -> None:
    image = (np.random.default_rng(seed).random(shape) * 300 - (0 if dtype[0] == "u" else 150)).astype(dtype)
    coarse = mean_downsample(image, factor)
    assert coarse.dtype == image.dtype
    for place, values in groups(image, factor).items():
        mean = values.astype(np.float64).mean()
        expected = mean if dtype == "float32" else np.floor(mean + 0.5)
        assert coarse[place] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
@pytest.mark.parametrize("factor", [(2, 2, 2), (1, 2, 2), (2, 1, 2), (1, 1, 2), (2, 2, 1)])
def test_the_mean_does_not_depend_on_how_many_voxels_are_worked_on_at_once(
    dtype: str, factor: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.random.default_rng(5).integers(0, np.iinfo("uint16").max, (5, 31, 46)).astype(dtype)
    for image in (whole, whole[:, :, 1:40], whole[:, 1:30], whole[:1, :2, :1], whole.transpose(0, 2, 1)):
        sums, counts = np.zeros((2, *mean_downsample(image, factor).shape))
        for place, value in np.ndenumerate(image.astype(float)):
            coarse = tuple(i // f for i, f in zip(place, factor, strict=True))
            sums[coarse] += value
            counts[coarse] += 1
        for voxels in (1, 100, 2**18):
            monkeypatch.setattr(downsample, "_STRIP", voxels)
            found = mean_downsample(image, factor)
            assert found.dtype == image.dtype
            np.testing.assert_array_equal(found, np.floor(sums / counts + 0.5).astype(dtype))


@given(arrays.arrays(np.uint32, SHAPES, elements=st.integers(0, 3)), FACTORS)
@settings(max_examples=60)
def test_mode_of_the_voxels_that_exist(labels: np.ndarray, factor: tuple[int, int, int]) -> None:
    coarse = mode_downsample(labels, factor)
    assert coarse.dtype == labels.dtype
    for place, values in groups(labels, factor).items():
        kinds, counts = np.unique(values, return_counts=True)
        most = kinds[counts == counts.max()]
        assert coarse[place] == (most[most > 0].min() if (most > 0).any() else 0)


@given(arrays.arrays(np.uint64, (8, 8, 8), elements=st.integers(0, 5)))
@settings(max_examples=20)
def test_blocks_downsample_like_the_whole(labels: np.ndarray) -> None:
    for operation in (mean_downsample, mode_downsample):
        halves = [operation(labels[:4], (2, 2, 2)), operation(labels[4:], (2, 2, 2))]
        assert (np.concatenate(halves) == operation(labels, (2, 2, 2))).all()


def test_large_values_keep_their_digits() -> None:
    top = np.iinfo(np.uint64).max
    assert mode_downsample(np.full((1, 1, 2), top, np.uint64), (1, 1, 2)).item() == top
    assert mean_downsample(np.full((2, 2, 2), 65535, np.uint16), (2, 2, 2)).item() == 65535
    assert mean_downsample(np.full((2, 2, 2), 255, np.uint8), (2, 2, 2)).item() == 255


def test_a_factor_of_one_changes_nothing() -> None:
    labels = np.arange(24, dtype=np.uint32).reshape(2, 3, 4)
    assert (mode_downsample(labels, (1, 1, 1)) == labels).all()
    assert (mean_downsample(labels, (1, 1, 1)) == labels).all()


@pytest.mark.parametrize("factor", [(1, 1, 3), (4, 2, 2)])
def test_other_factors_are_refused(factor: tuple[int, int, int]) -> None:
    for operation in (mean_downsample, mode_downsample):
        with pytest.raises(ValueError, match="must be 1 or 2"):
            operation(np.zeros((4, 4, 4), np.uint8), factor)
