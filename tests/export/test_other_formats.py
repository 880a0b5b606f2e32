"""What is written in other formats, read back by their own libraries."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tensorstore as ts
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import content, shapes_and_regions, stored

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.export import chunk_copy, mrc_file, n5_pyramid, zarr_v2
from mitoscale.storage.sources.kinds import open_reader

few = settings(max_examples=6)


@few
@given(where=shapes_and_regions(), first=st.integers(0, 2), wide=st.booleans())
def test_mrc_as_mrcfile_reads_it(where: tuple[tuple[int, int, int], Region], first: int, wide: bool) -> None:
    shape, region = where
    labels = np.random.default_rng(1).integers(0, 4, shape).astype(np.uint32) * (20_000 if wide else 10_000)
    with tempfile.TemporaryDirectory() as folder:
        made = content(Path(folder), labels, region=region, first=first)
        path = f"{folder}/x.mrc"
        mrc_file.check(made)
        mrc_file.write(made, path)
        expected = stored(made, first)
        with mrcfile.open(path) as file:
            np.testing.assert_array_equal(file.data, expected)
            assert file.data.dtype == (np.int16 if expected.max() < 2**15 else np.uint16)
            level = made.labels[0]
            np.testing.assert_allclose([file.voxel_size[a] for a in "zyx"], [s * 10 for s in level.spacing], rtol=1e-5)
            np.testing.assert_allclose([file.header.origin[a] for a in "zyx"], [s * 10 for s in level.origin], rtol=1e-5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            told = io.StringIO()
            assert mrcfile.validate(path, print_file=told), told.getvalue()
        again = open_reader(path, labels=True)  # and we read it ourselves
        np.testing.assert_array_equal(again.read(Region.of_shape(again.shape)), expected)


def test_labels_that_mrc_cannot_hold(tmp_path: Path) -> None:
    made = content(tmp_path, np.array([[[0, 65_536]]], np.uint32))
    with pytest.raises(InputError, match=r"label 65536 does not fit in the 16 bits of an MRC \(up to 65535\).*--renumber"):
        mrc_file.check(made)


@few
@given(where=shapes_and_regions(), first=st.integers(0, 2), dtype=st.sampled_from(["uint32", "uint64"]))
def test_n5_and_zarr_as_their_libraries_read_them(where: tuple[tuple[int, int, int], Region], first: int, dtype: str) -> None:
    shape, region = where
    labels = np.random.default_rng(1).integers(0, 4, shape).astype(dtype)
    labels[labels == 3] = np.iinfo(dtype).max
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_copy, "CHUNK", (2, 8, 8))
        made = content(Path(folder), labels, region=region, first=first)
        n5_pyramid.write(made, f"{folder}/x.n5")
        zarr_v2.write(made, f"{folder}/x.zarr")
        group = zarr.open_group(f"{folder}/x.zarr", mode="r")
        assert group.metadata.zarr_format == 2
        scales = json.loads(Path(folder, "x.n5", "attributes.json").read_text())["scales"]
        for number in range(3 - first):
            expected = stored(made, first + number)
            place = {"driver": "file", "path": f"{folder}/x.n5/s{number}"}
            found = ts.open({"driver": "n5", "kvstore": place}).result().read().result()
            np.testing.assert_array_equal(found.T, expected)
            np.testing.assert_array_equal(group[str(number)][:], expected)
            assert found.dtype == group[str(number)].dtype == dtype
            factor = [a // b for a, b in zip(made.plan.spec.factors[first + number], made.plan.spec.factors[first], strict=True)]
            assert scales[number] == factor[::-1]
        for path in (f"{folder}/x.n5", f"{folder}/x.zarr"):  # and we read them ourselves
            again = open_reader(path, labels=True)
            np.testing.assert_array_equal(again.read(Region.of_shape(again.shape)), stored(made, first))
            np.testing.assert_allclose(again.spacing, made.labels[0].spacing)


def test_the_zarr_is_an_ome_zarr(tmp_path: Path) -> None:
    from ome_zarr_models.v04.multiscales import Multiscale

    labels = np.zeros((6, 20, 20), np.uint32)
    labels[2:4, 9:15, 9:15] = 7
    made = content(tmp_path, labels, region=Region(start=(1, 8, 8), stop=(6, 20, 20)))
    zarr_v2.write(made, str(tmp_path / "x.zarr"))
    attributes = dict(zarr.open_group(str(tmp_path / "x.zarr"), mode="r").attrs)
    multiscale = Multiscale(**attributes["multiscales"][0])
    places = [d.coordinateTransformations for d in multiscale.datasets]
    for level, (scale, translation) in zip(made.labels, places, strict=True):
        assert tuple(scale.scale) == level.spacing and tuple(translation.translation) == level.origin
    assert len(list((tmp_path / "x.zarr" / "0").rglob("0"))) > 0  # chunks lie in folders
    assert attributes["mitoscale"]["region"] == str(made.region)


def test_empty_chunks_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_copy, "CHUNK", (2, 8, 8))
    labels = np.zeros((4, 32, 32), np.uint32)
    labels[3, 30, 30] = 1
    made = content(tmp_path, labels)
    n5_pyramid.write(made, str(tmp_path / "x.n5"))
    array = tmp_path / "x.n5" / "s0"
    assert [str(path.relative_to(array)) for path in array.rglob("[0-9]") if path.is_file()] == ["3/3/1"]
