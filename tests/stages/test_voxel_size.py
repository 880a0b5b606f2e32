"""Voxel sizes that cannot be are refused before anything is made, and one that contradicts the file's own is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Call

from mitoscale.core.errors import InputError
from mitoscale.stages.source import check_spacing, open_source
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table
from mitoscale.storage.tiff_writing import write_tiff


@pytest.fixture
def told(tmp_path: Path) -> str:
    """A volume that tells 20 x 5 x 5 nm."""
    write_tiff(
        str(tmp_path / "told.tif"), np.random.default_rng(0).integers(0, 255, (3, 32, 32)).astype(np.uint8), (20.0, 5.0, 5.0)
    )
    return str(tmp_path / "told.tif")


@pytest.mark.parametrize("size", ["0.05,0.05,0.05", "5000,5000,5000", "5,5000,5000", "20000,5,5", "0.01,5,5"])
def test_sizes_that_cannot_be(size: str, told: str, mitoscale: Call, tmp_path: Path) -> None:
    ended = mitoscale("run", told, str(tmp_path / "run"), "--voxel-size", size)
    assert ended.code == 1 and "is not between 0.1 and 500 nm in y and x, and up to 10000 nm in z" in ended.err
    assert not (tmp_path / "run").exists()


def test_an_order_that_is_not_z_y_x(told: str, mitoscale: Call, tmp_path: Path) -> None:
    ended = mitoscale("run", told, str(tmp_path / "run"), "--voxel-size", "4.6,4.6,50")
    assert ended.code == 1 and "is the order z,y,x, or is --voxel-size 50,4.6,4.6 meant?" in ended.err
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="--voxel-size 50,4,4 meant"):
        check_spacing((4, 50, 4), "a.tif")
    for size in ((0.1, 0.1, 0.1), (10000.0, 500.0, 500.0), (50.0, 4.0, 39.9), (1000.0, 5.0, 5.0)):
        check_spacing(size, "a.tif")


def test_one_that_contradicts_the_file_is_told_and_counts(told: str, mitoscale: Call, tmp_path: Path) -> None:
    source = open_source(told, (40, 5, 5))
    assert source.spacing == (40, 5, 5)
    (note,) = source.notes
    assert "tells a voxel of 20 x 5 x 5 nm (z,y,x); the given one, 40 x 5 x 5 nm, counts" in note
    assert open_source(told, (20.1, 5, 5)).notes == open_source(told, None).notes == ()
    ended = mitoscale("convert", told, str(tmp_path / "run"), "--voxel-size", "40,5,5", "--segmenter", "unet")
    assert ended.code == 0 and f"note       {note}" in ended.err


def test_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 32, 32)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "flat.tif", image, resolution=(2e6, 2e6), resolutionunit="CENTIMETER", photometric="minisblack")
    with pytest.raises(InputError, match=r"tells y 5 nm and x 5 nm of its voxel size, and not z; give --voxel-size Z,5,5 in nm"):
        open_source(str(tmp_path / "flat.tif"), None)
    screen = {"resolution": (72, 72), "resolutionunit": "INCH"}  # what programs write that know nothing
    tifffile.imwrite(tmp_path / "none.tif", image, photometric="minisblack", **screen)
    with pytest.raises(InputError, match="does not tell its voxel size"):
        open_source(str(tmp_path / "none.tif"), None)


def test_profiles_are_told_apart_alike_where_y_and_x_differ(mitoscale: Call, tmp_path: Path) -> None:
    """Two discs with a thin bridge, in pixels that are twice as long in x: two centroids, as with square pixels."""
    y, x = np.mgrid[:64, :128]
    discs = (np.hypot(y - 30, x - 38) < 18) | (np.hypot(y - 30, x - 82) < 18) | ((abs(y - 30) < 5) & (x > 38) & (x < 82))
    np.save(tmp_path / "truth.npy", np.repeat(discs[None, :, ::2], 4, axis=0).astype(np.uint8))
    image = np.random.default_rng(0).integers(0, 255, (4, 64, 64)).astype(np.uint8)
    write_tiff(str(tmp_path / "v.tif"), image, (50.0, 5.0, 10.0))
    options = ("--detector", "mitoscale.nets.oracle:Foreground", "--detector-option", f"truth={tmp_path / 'truth.npy'}")
    for stage in (("convert", str(tmp_path / "v.tif"), str(tmp_path / "run"), *options), ("detect", str(tmp_path / "run"))):
        ended = mitoscale(*stage)
        assert ended.code == 0, ended.err
    found = read_table(RunFolder(str(tmp_path / "run")).detections)
    assert np.bincount(found["z"]).tolist() == [2, 2, 2, 2]
