"""Every kind of source gives the array it was made from, voxel for voxel, and what it tells of its voxel size."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written import TELL, WRITERS

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.storage.sources.kinds import open_reader

SPACING = (40.0, 4.5, 4.0)


def of_type(kind: str, dtype: str) -> str:
    """A dtype that the kind can hold."""
    if kind == "png":
        return {"int16": "uint16", "float32": "uint8"}.get(dtype, dtype)
    if kind == "precomputed":
        return {"int16": "uint16"}.get(dtype, dtype)
    return dtype


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_kind_is_voxel_exact(kind: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 21), st.integers(1, 23)), "shape")
    chunks = data.draw(st.tuples(*(st.integers(1, n) for n in shape)), "chunks")
    dtype = of_type(kind, data.draw(st.sampled_from(["uint8", "uint16", "int16", "float32"]), "dtype"))
    values = np.random.default_rng(1).integers(0, 250, shape).astype(dtype)
    if dtype == "int16":
        values -= 100
    folder = tmp_path_factory.mktemp(kind)
    reader = open_reader(*WRITERS[kind](folder, values, chunks, SPACING))
    assert reader.shape == shape
    assert reader.dtype == ("uint16" if kind == "mrc" and dtype == "uint8" else dtype)
    whole = reader.read(Region.of_shape(shape))
    np.testing.assert_array_equal(whole, values)
    assert whole.dtype.isnative and whole.flags.c_contiguous and whole.dtype == reader.dtype
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    part = Region(start=start, stop=stop)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read(part), values[part.slices])
    with pytest.raises(ValueError, match="leaves the volume"):
        reader.read(Region(start=(0, 0, 0), stop=(shape[0] + 1, *shape[1:])))


@pytest.mark.parametrize("kind", sorted(TELL))
def test_the_voxel_size_is_told_in_nm(kind: str, tmp_path: Path) -> None:
    reader = open_reader(*WRITERS[kind](tmp_path, np.ones((4, 6, 8), np.uint16), (2, 3, 4), SPACING))
    assert reader.spacing == pytest.approx(SPACING)
    expected = (3 * 40.0, 5 * 4.5, 7 * 4.0) if kind == "precomputed" else (0, 0, 0)
    assert reader.origin == pytest.approx(expected)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_voxel_changed_in_the_middle_changes_the_fingerprint(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 200, (8, 40, 40)).astype(np.uint16)
    prints = []
    for n, value in enumerate((values[4, 20, 20], values[4, 20, 20], 201)):
        (tmp_path / str(n)).mkdir()
        values[4, 20, 20] = value
        prints.append(open_reader(*WRITERS[kind](tmp_path / str(n), values, (4, 16, 16), SPACING)).fingerprint)
    assert prints[0] != prints[2]
    if kind not in ("hdf5", "ilastik", "mrc"):  # whose files hold the time they were written
        assert prints[0] == prints[1], "the same volume elsewhere is the same volume"


@pytest.mark.parametrize(("dtype", "labels"), [("uint32", True), ("float64", True), ("complex64", False)])
def test_dtypes_that_are_not_grey_values(dtype: str, labels: bool, tmp_path: Path) -> None:
    path, reading = WRITERS["hdf5"](tmp_path, np.ones((3, 4, 5)).astype(dtype), (1, 2, 2), SPACING)
    with pytest.raises(InputError, match=dtype):
        open_reader(path, reading)
    if labels:
        assert open_reader(path, reading, labels=True).dtype == dtype
