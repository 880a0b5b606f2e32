"""An opened run: lazy arrays and tables are what lies on disk, and what is not there is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from commands import Call, Finished, Stack, labels_of

import mitoscale as api
from mitoscale.api.levels import Levels
from mitoscale.core.errors import InputError
from mitoscale.storage.arrays import open_array
from mitoscale.storage.creation import create_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table


@pytest.fixture(scope="module")
def opened(finished: Finished) -> api.OpenedRun:
    return api.open_run(finished.run)


def test_arrays_are_what_is_stored_on_every_level(opened: api.OpenedRun, stack: Stack, finished: Finished) -> None:
    np.testing.assert_array_equal(opened.image[0].compute(), stack.phantom.image)
    assert len(opened.labels) == len(opened.plan().spec.factors)
    assert isinstance(opened.labels[0], da.Array) and opened.labels[0].dtype == np.uint32
    np.testing.assert_array_equal(opened.labels[0].compute(), labels_of(finished.run))
    np.testing.assert_array_equal(opened.foreground[0].compute() > 127, stack.phantom.labels > 0)


@pytest.mark.parametrize(
    "index",
    [(3,), (slice(2, 30, 5), 7), (..., 5), (slice(None), slice(60, 70), -1), (slice(None, None, -3), slice(100, 90, -2))],
)
def test_slices_are_those_of_numpy(opened: api.OpenedRun, stack: Stack, index: tuple[int | slice, ...]) -> None:
    np.testing.assert_array_equal(opened.image[0][index].compute(), stack.phantom.image[index])


def test_nothing_is_read_before_it_is_computed(opened: api.OpenedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    original = type(open_array(RunFolder(opened.path).volume + "/0")).read
    monkeypatch.setattr("mitoscale.storage.arrays.Array.read", lambda self, where: reads.append(where) or original(self, where))
    lazy = api.open_run(opened.path).image[0][:4, :8, :8] + 1
    assert not reads
    lazy.compute()
    assert len(reads) == 1  # the one shard that holds them


def test_xarray_has_coordinates_in_nm(opened: api.OpenedRun) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed: pip install xarray")
    fine = opened.image.xarray()
    assert fine.dims == ("z", "y", "x") and fine.z.attrs["units"] == "nm"
    assert fine.x.values[:3].tolist() == [0.0, 10.0, 20.0]
    row = opened.objects.iloc[0]
    assert opened.labels.xarray().sel(
        z=row.centroid_z_nm, y=row.centroid_y_nm, x=row.centroid_x_nm, method="nearest"
    ).compute() in (0, row.label)


def test_a_coarse_voxel_lies_in_the_middle_of_what_it_spans(tmp_path: Path) -> None:
    spacings = [(50.0, 5.0, 5.0), (50.0, 10.0, 10.0), (100.0, 20.0, 20.0)]
    paths = [str(tmp_path / f"{level}") for level in range(3)]
    for path, n in zip(paths, (64, 32, 16), strict=True):
        create_array(path, shape=(4, n, n), dtype="uint8", chunks=(4, n, n), shards=None)
    levels = Levels("image", paths, spacings)
    assert len(levels) == 3 and repr(levels) == "<image: 4 x 64 x 64 uint8, 3 levels>"
    fine = levels.coordinates(0)
    for level, factor in ((1, {"z": 1, "x": 2}), (2, {"z": 2, "x": 4})):
        for axis, n in factor.items():
            assert levels.coordinates(level)[axis][0] == pytest.approx(np.mean(fine[axis][:n]))


def test_tables_are_those_of_the_folder(opened: api.OpenedRun) -> None:
    folder = RunFolder(opened.path)
    for frame, path in (
        (opened.objects, folder.objects),
        (opened.contacts, folder.contacts),
        (opened.detections, folder.detections),
        (opened.edges, folder.edges_table),
    ):
        assert isinstance(frame, pd.DataFrame)
        for name, values in read_table(path).items():
            np.testing.assert_array_equal(frame[name].to_numpy(), values)
    label = int(opened.objects.label.iloc[-1])
    assert opened.objects.loc[label].voxels == (opened.labels[0] == label).sum().compute()


def test_status_and_plan(opened: api.OpenedRun) -> None:
    assert opened.status().finished and not opened.status().working
    assert opened.plan().settings.segment.segmenter == "known_truth:segmenter"
    assert "32 x 128 x 128" in repr(opened) and "10 x 10 x 10 nm" in repr(opened)


def test_what_is_not_there_yet_is_told(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert mitoscale("convert", stack.image, run, *stack.exact()).code == 0
    opened = api.open_run(run)
    np.testing.assert_array_equal(opened.image[0].compute(), stack.phantom.image)
    for what, said in (("labels", "relabel has not begun"), ("foreground", "detect has not begun"), ("objects", "not finished")):
        with pytest.raises(InputError, match=said):
            getattr(opened, what)
    with pytest.raises(InputError, match="no run folder"):
        api.open_run(tmp_path)


def test_a_hole_in_the_labels_is_not_read_as_background(finished: Finished, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.run, run)
    next((run / "volume.zarr/labels/mitochondria/0/c").rglob("0/0/0")).unlink()
    with pytest.raises(InputError, match="lacks the labels of 1 blocks"):
        _ = api.open_run(run).labels


def test_an_image_that_was_not_copied_is_read_where_it_lies(
    mitoscale: Call, finished: Finished, stack: Stack, tmp_path: Path
) -> None:
    run = str(tmp_path / "run")
    source = RunFolder(finished.run).volume
    assert mitoscale("run", source, run, *stack.exact()).code == 0
    opened = api.open_run(run)
    np.testing.assert_array_equal(opened.image[0].compute(), stack.phantom.image)
    assert len(opened.image) == len(api.open_run(finished.run).image)


def test_corrected_labels_are_there_once_they_are_written(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.run, tmp_path / "run")
    opened = api.open_run(tmp_path / "run")
    with pytest.raises(InputError, match="are not written; start mitoscale apply"):
        _ = opened.labels_corrected
    assert mitoscale("edit", opened.path, "delete", "3").code == 0
    assert mitoscale("apply", opened.path).code == 0
    own = labels_of(finished.run)
    np.testing.assert_array_equal(opened.labels_corrected[0].compute(), np.where(own == 3, 0, own))
    assert 3 in opened.objects.index and 3 not in opened.objects_corrected.index and "accepted" in opened.objects_corrected
