"""A volume's pyramid, and how its grey values become what networks see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from mitoscale.core.normalisation import Normalisation, usual_range
from mitoscale.core.volume import VolumeSpec

SPEC = {
    "shape": (20, 100, 100),
    "dtype": "uint8",
    "spacing": (50.0, 5.0, 5.0),
    "chunks": (8, 32, 32),
    "shards": (16, 64, 64),
    "factors": ((1, 1, 1), (1, 2, 2)),
}


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("shape", (0, 4, 4), "at least 1"),
        ("spacing", (5.0, 0.0, 5.0), "above 0"),
        ("spacing", (5.0, float("nan"), 5.0), "above 0"),
        ("spacing", (5.0, -1.0, 5.0), "above 0"),
        ("chunks", (8, 32, 48), "whole number of chunks"),
        ("factors", (), "must be"),
        ("factors", ((1, 2, 2),), "must be"),
        ("factors", ((1, 1, 1), (3, 2, 2)), "divisible"),
    ],
)
def test_an_impossible_volume_is_refused(field: str, value: object, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        VolumeSpec(**(SPEC | {field: value}))  # type: ignore[arg-type]


def test_a_level_spans_the_same_space_as_level_0() -> None:
    spec = VolumeSpec(**(SPEC | {"shape": (20, 101, 99), "factors": ((1, 1, 1), (1, 2, 2), (1, 4, 4))}))  # type: ignore[arg-type]
    assert [spec.level_shape(i) for i in range(3)] == [(20, 101, 99), (20, 51, 50), (20, 26, 25)]
    assert spec.level_spacing(2) == (50.0, 20.0, 20.0)
    assert spec.level_shards(2) == spec.shards
    assert spec.level_chunks(2) == spec.chunks


@given(
    arrays.arrays(np.int32, 50, elements=st.integers(-30_000, 60_000)),
    st.integers(-20_000, 20_000),
    st.integers(1, 30_000),
)
def test_normalising_keeps_the_order_and_the_bounds(grey: np.ndarray, low: int, width: int) -> None:
    norm = Normalisation(low=low, high=low + width)
    result = norm.apply(np.sort(grey))
    assert result.dtype == np.uint8
    assert (np.diff(result.astype(int)) >= 0).all()
    assert norm.apply(np.array([low, low + width])).tolist() == [0, 255]
    assert (norm.model_copy(update={"invert": True}).apply(np.sort(grey)) == 255 - result).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_large_images_are_normalised_as_their_single_values_are(dtype: str) -> None:
    norm = Normalisation(low=20.5, high=190.0, invert=dtype == "uint8")
    image = np.random.default_rng(0).integers(0, 250, (3, 150, 300)).astype(dtype)[:, ::2]
    result = norm.apply(image)
    assert result.dtype == np.uint8
    assert result.flags.writeable
    assert (result[0] == np.stack([norm.apply(row) for row in image[0]])).all()
    values = np.unique(image)
    assert (result == norm.apply(values)[np.searchsorted(values, image)]).all()


def test_normalising_wide_values_does_not_wrap() -> None:
    for dtype, values in {"uint16": [0, 65535], "int16": [-32768, 32767], "float32": [-1e9, 1e9]}.items():
        assert Normalisation(low=10, high=20).apply(np.array(values, dtype)).tolist() == [0, 255]


@given(arrays.arrays(np.int64, 256, elements=st.integers(0, 1000)), st.floats(0.0, 20.0), st.floats(80.0, 100.0))
@settings(max_examples=50)
def test_bounds_are_the_percentiles_of_the_voxels(counts: np.ndarray, low: float, high: float) -> None:
    values = np.repeat(np.arange(256), counts)
    if len(np.unique(values)) < 2:
        return
    norm = Normalisation.from_histogram(counts, np.arange(256.0), (low, high))
    least, most = usual_range(counts, np.arange(256.0))
    usual = values[(values >= least) & (values <= most)]  # rare extremes do not count
    outside = (usual < norm.low).mean(), (usual > norm.high).mean()
    assert outside[0] <= low / 100 + 1e-9 and outside[1] <= 1 - high / 100 + 1e-9


def test_a_rare_extreme_is_left_out_of_the_bounds() -> None:
    counts = np.zeros(256, np.int64)
    counts[[0, 2, 3]] = 1, 1, 99
    assert Normalisation.from_histogram(counts, np.arange(256.0), (0.0, 80.0)).low > 0


def test_a_nearly_constant_volume_uses_its_whole_range() -> None:
    counts = np.zeros(256, np.int64)
    counts[[7, 8]] = 1, 1_000_000
    norm = Normalisation.from_histogram(counts, np.arange(256.0), (0.2, 99.8))
    assert (norm.low, norm.high) == (7, 8)


def test_a_constant_or_empty_volume_is_refused() -> None:
    counts = np.zeros(256, np.int64)
    with pytest.raises(ValueError, match="empty"):
        Normalisation.from_histogram(counts, np.arange(256.0), (0.2, 99.8))
    counts[9] = 5
    with pytest.raises(ValueError, match="constant"):
        Normalisation.from_histogram(counts, np.arange(256.0), (0.2, 99.8))
