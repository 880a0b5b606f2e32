"""Histograms of grey values: parts add up to the whole, and a few extreme voxels do not coarsen the bins of all others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mitoscale.core.normalisation import Normalisation
from mitoscale.ops import grey_histogram
from mitoscale.ops.grey_histogram import Histogram, bin_count, bins_of, values_of

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")

volumes = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(
        dtype,
        st.tuples(*[st.integers(1, 6)] * 3),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False) if dtype == "float32" else None,
    )
)


@settings(max_examples=40)
@given(volumes, st.integers(0, 6), st.integers(0, 6))
def test_parts_add_up_to_the_whole(volume: np.ndarray, z: int, y: int) -> None:
    whole = Histogram.of(volume)
    parts = [volume[:z, :y], volume[:z, y:], volume[z:]]
    total = Histogram.total((Histogram.of(part) for part in reversed(parts)), volume.dtype.name)
    assert total.dtype == whole.dtype
    assert np.array_equal(total.bins, whole.bins) and np.array_equal(total.counts, whole.counts)
    assert whole.counts.sum() == volume.size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strip", [1, 7, 1000])
def test_it_does_not_matter_how_many_voxels_are_counted_at_once(dtype: str, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest values may be in the first strip or in the last, and the volume need not lie in one piece."""
    rising = np.sort(np.random.default_rng(2).normal(0, 40, (4, 6, 10)).clip(-128, 127).astype("int8"), axis=None)
    rising = (rising.reshape(4, 6, 10).astype(np.int16) + (128 if dtype[0] == "u" else 0)).astype(dtype)
    monkeypatch.setattr(grey_histogram, "_STRIP", strip)
    for volume in (rising, rising[::-1, ::-1, ::-1], rising[:, 1:5, 2:9], rising[:0]):
        found = Histogram.of(volume)
        bins, counts = np.unique(bins_of(volume), return_counts=True)
        assert np.array_equal(found.bins, bins) and np.array_equal(found.counts, counts)


@settings(max_examples=40)
@given(volumes)
def test_bins_keep_the_order_and_the_values(volume: np.ndarray) -> None:
    grey = np.sort(volume.ravel())
    bins = bins_of(grey)
    assert (np.diff(bins.astype(np.int64)) >= 0).all()
    assert int(bins.max()) < bin_count(volume.dtype.name)
    values = values_of(bins, volume.dtype.name)
    if volume.dtype.kind == "f":
        assert (np.abs(values - grey) <= np.maximum(np.abs(grey.astype(float)) / 8192, 1e-37)).all()
    else:
        assert np.array_equal(values, grey)


def bounds(volume: np.ndarray) -> tuple[float, float]:
    found = Histogram.of(volume)
    norm = Normalisation.from_histogram(found.counts, found.values, (0.2, 99.8))
    return norm.low, norm.high


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [1e-5, 0.004, 0.009])
def test_rare_extremes_do_not_count(dtype: str, share: float) -> None:
    rng = np.random.default_rng(1)
    volume = rng.normal(20, 4, (10, 100, 100)).astype(dtype)
    most = 1e6 if dtype == "float32" else float(np.iinfo(dtype).max)
    broken = volume.copy()
    broken.ravel()[rng.choice(volume.size, int(share * volume.size) or 1, replace=False)] = most
    clean, found = bounds(volume), bounds(broken)
    tolerance = 1 if dtype != "float32" else 0.3
    assert found == pytest.approx(clean, abs=tolerance)
    if share > 0.002:  # by percentiles alone the extremes would be the upper bound
        assert np.percentile(broken, 99.8) == most


@pytest.mark.parametrize("scale, offset", [(1e-6, 0.0), (1.0, 0.0), (1.0, 30_000.0), (1e6, -5e6)])
def test_floats_of_any_size_are_told_apart(scale: float, offset: float) -> None:
    """The bounds are those of NumPy's percentiles within a hundredth of their distance, though one voxel is at 1e12."""
    volume = (np.random.default_rng(2).normal(0, 100, 100_000) * scale + offset).astype(np.float32)
    low, high = np.percentile(volume, (0.2, 99.8))
    volume[7] = 1e12
    assert bounds(volume) == pytest.approx((low, high), abs=0.01 * (high - low))


def test_few_values_are_all_used() -> None:
    """Two values, one of them rare: neither is called an extreme where that would leave a constant volume."""
    volume = np.full(10_000, 7, np.uint8)
    volume[3] = 200
    assert bounds(volume) == (7, 200)
