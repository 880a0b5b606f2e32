"""TIFF volumes: every way of storing one reads the same, and every bad one is refused in one line that names it."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region
from mitoscale.storage.sources.finite import check_finite
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.tiff import TiffSource, open_tiff

SHAPE = (5, 70, 90)
LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "imagej": {"imagej": True},
    "one-header": {"truncate": True},
    "ome": {"ome": True},
    "no-metadata": {"metadata": None},
    "strips": {"compression": "zlib", "predictor": True, "rowsperstrip": 16},
    "lzw": {"compression": "lzw"},
    "tiles": {"tile": (32, 48), "compression": "zstd"},
    "plain-tiles": {"tile": (32, 48)},
}


def volume(dtype: str = "uint8") -> np.ndarray:
    data = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 120, SHAPE)
    return data.astype(dtype)


def save(path: Path, data: np.ndarray, **options: Any) -> str:
    tifffile.imwrite(path, data, photometric="minisblack", **options)
    return str(path)


def save_slices(folder: Path, data: np.ndarray, **options: Any) -> str:
    folder.mkdir()
    for n, image in enumerate(data):
        save(folder / f"s{n:02d}.tif", image, **options)
    return str(folder)


def cut(path: str, size: int) -> str:
    os.truncate(path, size)
    return path


def refused(source: str, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_tiff(source)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_layout_reads_the_same(tmp_path: Path, layout: str, dtype: str) -> None:
    data = volume(dtype)
    source = open_tiff(save(tmp_path / "a.tif", data, **LAYOUTS[layout]))
    assert (source.shape, source.dtype) == (SHAPE, dtype)
    np.testing.assert_array_equal(source.read(Region.of_shape(SHAPE)), data)
    assert source.read(Region.of_shape((1, 2, 3))).dtype.isnative
    check_finite(source)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(sorted(LAYOUTS)))
def test_any_region_is_a_slice_of_the_whole(tmp_path: Path, data: st.DataObject, layout: str) -> None:
    file = tmp_path / f"{layout}.tif"
    if not file.exists():
        save(file, volume("uint16"), **LAYOUTS[layout])
    start = tuple(data.draw(st.integers(0, n - 1)) for n in SHAPE)
    stop = tuple(data.draw(st.integers(a, n)) for a, n in zip(start, SHAPE, strict=True))
    region = Region(start=start, stop=stop)
    np.testing.assert_array_equal(open_tiff(str(file)).read(region), volume("uint16")[region.slices])


@pytest.mark.parametrize("dtype", ["int8", "int16", "bool"])
def test_other_dtypes(tmp_path: Path, dtype: str) -> None:
    data = volume(dtype)
    source = open_tiff(save(tmp_path / "a.tif", data, compression="zlib"))
    assert source.dtype == ("uint8" if dtype == "bool" else dtype)
    np.testing.assert_array_equal(source.read(Region.of_shape(SHAPE)), data)


def test_slices_in_files(tmp_path: Path) -> None:
    data = volume()
    folder = save_slices(tmp_path / "s", data)
    (tmp_path / "s" / "s05.png").write_bytes(imagecodecs.png_encode(data[0]))
    source = open_tiff(folder)
    assert source.shape == (6, 70, 90)
    region = Region(start=(2, 3, 4), stop=(6, 50, 60))
    np.testing.assert_array_equal(source.read(region), np.concatenate([data, data[:1]])[region.slices])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(region), source.read(region))
    assert open_tiff(f"{folder}/*.tif").shape == SHAPE
    assert open_tiff(f"{folder}/s03.tif").shape == (1, 70, 90)


def test_only_what_meets_the_region_is_read(tmp_path: Path) -> None:
    """Bytes outside the region are broken, and it is not noticed."""
    data = volume()
    path = save(tmp_path / "a.tif", data, compression="zlib", rowsperstrip=16)
    source = open_tiff(path)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[2]
        offset = page.dataoffsets[0]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"broken!!")
    region = Region(start=(2, 16, 0), stop=(4, 70, 90))
    np.testing.assert_array_equal(source.read(region), data[region.slices])
    with pytest.raises(BlockError, match=r"cannot decode .*a\.tif"):
        source.read(Region.of_shape(SHAPE))


def test_a_region_outside_is_not_read(tmp_path: Path) -> None:
    source = open_tiff(save(tmp_path / "a.tif", volume()))
    with pytest.raises(ValueError, match="leaves the volume"):
        source.read(Region.of_shape((6, 70, 90)))


@pytest.mark.parametrize("layout", ["plain", "bigtiff", "imagej", "one-header", "ome", "no-metadata", "strips", "tiles"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_wherever_it_is_cut(tmp_path: Path, layout: str, part: float) -> None:
    path = save(tmp_path / "a.tif", volume("uint16"), **LAYOUTS[layout])
    refused(cut(path, int(os.path.getsize(path) * part)), "a.tif", "copy")


def test_a_truncated_slice_is_refused(tmp_path: Path) -> None:
    folder = save_slices(tmp_path / "s", volume())
    cut(f"{folder}/s02.tif", 3000)
    refused(folder, "s02.tif is cut off", "6")


def test_imagej_above_4_gib_has_one_header_for_all_slices(tmp_path: Path) -> None:
    data = volume("uint16")
    path = save(tmp_path / "a.tif", data, imagej=True)
    with tifffile.TiffFile(path) as tif:
        offset, first = tif.pages[0].dataoffsets[0], tif.pages[0].offset
        tags = len(tif.pages[0].tags)
    with open(path, "r+b") as file:  # end the chain of headers after the first, as ImageJ does
        file.truncate(offset + data.nbytes)
        file.seek(first + 2 + 12 * tags)
        file.write(struct.pack(">I", 0))
    np.testing.assert_array_equal(open_tiff(path).read(Region.of_shape(SHAPE)), data)
    refused(cut(path, offset + data.nbytes - 1), "cut off", "slice 4")


def test_metadata_that_promise_more_slices(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", volume(), metadata=None, compression="zlib", description="ImageJ=1.53\nimages=9\n")
    refused(path, "it says 9 slices and has 5")


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("this is no image at all")
    (tmp_path / "short.tif").write_bytes(b"II*\0")
    (tmp_path / "empty.tif").touch()
    (tmp_path / "none.tif").write_bytes(b"II*\0\0\0\0\0")
    (tmp_path / "circle.tif").write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8))
    (tmp_path / "junk.tif").write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + b"\7" * 24 + struct.pack("<I", 0))
    for name in ("text.tif", "short.tif", "empty.tif"):
        refused(str(tmp_path / name), f"{name} is not a TIFF")
    refused(str(tmp_path / "none.tif"), "holds no image")
    refused(str(tmp_path / "circle.tif"), "circle")
    refused(str(tmp_path / "junk.tif"), "junk.tif")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 700), value=st.integers(0, 255))
def test_a_flipped_header_byte_never_crashes(tmp_path: Path, position: int, value: int) -> None:
    content = bytearray(Path(save(tmp_path / "good.tif", volume()[:2, :20, :20], compression="zlib")).read_bytes())
    content[position % len(content)] = value
    path = tmp_path / f"{position}_{value}.tif"
    path.write_bytes(content)
    try:
        source = open_tiff(str(path))
        source.read(Region.of_shape((1, min(source.shape[1], 9), min(source.shape[2], 9))))
    except (InputError, BlockError) as error:
        assert str(path) in str(error)
    finally:
        path.unlink()


def test_mixed_shapes_and_dtypes_name_both(tmp_path: Path) -> None:
    data = volume()
    folder = Path(save_slices(tmp_path / "s", data))
    save(folder / "s03.tif", data[3, :60])
    refused(str(folder), "shape", "s00.tif has (70, 90)", "s03.tif has (60, 90)")
    save(folder / "s03.tif", data[3].astype(np.uint16))
    refused(str(folder), "dtype", "s00.tif has uint8", "s03.tif has uint16")
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as tif:
        tif.write(data[0], photometric="minisblack")
        tif.write(data[1, :, :80], photometric="minisblack")
    refused(str(tmp_path / "mixed.tif"), "page 0 has (70, 90)", "page 1 has (70, 80)")


def test_missing_slice_and_stray_stack(tmp_path: Path) -> None:
    folder = Path(save_slices(tmp_path / "s", volume()))
    (folder / "s02.tif").unlink()
    refused(str(folder), "number 2")
    save(folder / "s02.tif", volume())
    refused(str(folder), "s02.tif holds 5 slices among 5 files")


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((3, 20, 30, 3), {"photometric": "rgb"}, ("3 samples", "8-bit grey")),
        ((3, 20, 30), {"photometric": "rgb", "planarconfig": "separate", "metadata": None}, ("3 samples", "8-bit grey")),
        ((2, 3, 20, 30), {"photometric": "rgb", "planarconfig": "separate"}, ("3 samples", "8-bit grey")),
        ((20, 30, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, ("4 samples", "8-bit grey")),
        ((2, 3, 20, 30), {"photometric": "minisblack", "imagej": True, "metadata": {"axes": "ZCYX"}}, ("3 channels",)),
        ((2, 3, 20, 30), {"photometric": "minisblack", "imagej": True, "metadata": {"axes": "TZYX"}}, ("2 times",)),
        (
            (2, 3, 20, 30),
            {"photometric": "minisblack", "ome": True, "metadata": {"axes": "CZYX"}},
            ("2 channels", "--channel 0 .. 1"),
        ),
        ((2, 3, 20, 30), {"photometric": "minisblack"}, ("4 dimensions (2, 3, 20, 30)",)),
    ],
)
def test_colours_channels_and_times_are_refused(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], words: tuple[str, ...]
) -> None:
    tifffile.imwrite(tmp_path / "c.tif", np.zeros(shape, np.uint8), **options)
    refused(str(tmp_path / "c.tif"), "c.tif", *words)


@pytest.mark.parametrize("slices", [3, 4])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 32)}, {"metadata": {}}])
def test_three_or_four_slices_that_tifffile_took_for_colours_are_slices(
    tmp_path: Path, slices: int, options: dict[str, Any]
) -> None:
    """So many programs save them through tifffile, such as the labels of a window with the slice before and behind it."""
    data = np.random.default_rng(0).integers(0, 60_000, (slices, 70, 90)).astype(np.uint16)
    path = str(tmp_path / "a.tif")
    tifffile.imwrite(path, data if options else data[None], **options)  # one with a leading axis of one
    found = open_reader(path)
    assert found.shape == data.shape
    np.testing.assert_array_equal(found.read(Region.of_shape(data.shape)), data)
    part = Region(start=(1, 20, 30), stop=(3, 60, 80))
    np.testing.assert_array_equal(found.read(part), data[part.slices])
    refused(cut(path, os.path.getsize(path) - 600 if options else 9_000), "cut off")


def test_palettes(tmp_path: Path) -> None:
    grey = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    coloured = grey.copy()
    coloured[1] = 0
    image = volume()[0]
    tifffile.imwrite(tmp_path / "grey.tif", image, photometric="palette", colormap=grey)
    tifffile.imwrite(tmp_path / "colour.tif", image, photometric="palette", colormap=coloured)
    np.testing.assert_array_equal(open_tiff(str(tmp_path / "grey.tif")).read(Region.of_shape((1, 70, 90)))[0], image)
    refused(str(tmp_path / "colour.tif"), "palette")


@pytest.mark.parametrize("dtype", ["uint32", "int64", "float64", "float16", "complex64"])
def test_dtypes_that_are_not_read(tmp_path: Path, dtype: str) -> None:
    path = save(tmp_path / "a.tif", volume("uint8").astype(dtype))
    with pytest.raises(InputError, match=f"holds {dtype}; convert it to one of"):
        open_reader(path)
    if dtype != "complex64":
        assert open_reader(path, labels=True).read(Region.of_shape((1, 1, 1))).dtype == dtype


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    data = volume("float32")
    data[3, 2, 1:4] = np.nan, np.inf, -np.inf
    with pytest.raises(InputError, match="slice 3, has 3 values that are not finite"):
        check_finite(open_tiff(save(tmp_path / "a.tif", data)))
    with pytest.raises(InputError, match="s, slice 3, has 3 values"):
        check_finite(open_tiff(save_slices(tmp_path / "s", data)))


def test_voxel_size_from_metadata(tmp_path: Path) -> None:
    um = {"spacing": 0.05, "unit": "um"}
    nm = {f"PhysicalSize{a}": s for a, s in zip("ZYX", (50.0, 5.0, 4.0), strict=True)}
    nm |= {f"PhysicalSize{a}Unit": "nm" for a in "ZYX"}
    nothing = (None, None, None)
    cases: list[tuple[dict[str, Any], tuple[float | None, ...]]] = [
        ({"imagej": True, "metadata": um, "resolution": (250, 200)}, (50.0, 5.0, 4.0)),
        ({"imagej": True, "metadata": {"unit": "um"}, "resolution": (250, 200)}, (None, 5.0, 4.0)),
        ({"imagej": True, "metadata": {"spacing": 0.05, "unit": "um"}}, (50.0, None, None)),
        ({"imagej": True, "metadata": {"spacing": 1.0, "unit": "pixel"}, "resolution": (1, 1)}, nothing),
        ({"imagej": True, "metadata": {"spacing": 1.0, "unit": "mm"}, "resolution": (1, 1)}, nothing),
        (
            {"imagej": True, "metadata": {"spacing": 500.0, "unit": "um", "zunit": "nm"}, "resolution": (250, 200)},
            (500.0, 5.0, 4.0),
        ),
        ({"ome": True, "metadata": {"axes": "ZYX", **nm}}, (50.0, 5.0, 4.0)),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.005, "PhysicalSizeY": 0.004}}, (None, 4.0, 5.0)),
        ({"resolution": (1, 1)}, nothing),
    ]
    for n, (options, expected) in enumerate(cases):
        found = open_tiff(save(tmp_path / f"{n}.tif", volume(), **options)).spacing
        assert found == pytest.approx(expected), options


def test_pngs(tmp_path: Path) -> None:
    for n, image in enumerate(volume("uint16")):
        (tmp_path / f"{n}.png").write_bytes(imagecodecs.png_encode(image))
    source = open_tiff(str(tmp_path))
    np.testing.assert_array_equal(source.read(Region.of_shape(SHAPE)), volume("uint16"))
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:-20])
    refused(str(tmp_path), "2.png is cut off")
    (tmp_path / "2.png").write_bytes(imagecodecs.png_encode(np.zeros((70, 90, 3), np.uint8)))
    refused(str(tmp_path), "2.png is RGB")
    (tmp_path / "2.png").write_text("no")
    refused(str(tmp_path), "2.png is not a PNG")
    with pytest.raises(BlockError, match=r"2\.png"):
        source.read(Region.of_shape(SHAPE))


def test_a_file_that_changes_later_is_a_failed_block(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", volume())
    source = open_tiff(path)
    save(tmp_path / "a.tif", volume()[:, :60])
    with pytest.raises(BlockError, match="has changed"):
        source.read(Region.of_shape((1, 10, 10)))
    (tmp_path / "a.tif").unlink()
    with pytest.raises(BlockError, match="not any more"):
        source.read(Region.of_shape((1, 10, 10)))


def test_fingerprint_tells_volumes_apart_and_not_places(tmp_path: Path) -> None:
    data = volume()
    first = open_tiff(save_slices(tmp_path / "a", data))
    assert open_tiff(save_slices(tmp_path / "b", data)).fingerprint == first.fingerprint
    assert open_tiff(save_slices(tmp_path / "c", data[::-1])).fingerprint != first.fingerprint
    assert open_tiff(save_slices(tmp_path / "d", data[:4])).fingerprint != first.fingerprint


@pytest.mark.skipif("MITOSCALE_TEST_DATA" not in os.environ, reason="MITOSCALE_TEST_DATA is not set")
@pytest.mark.parametrize(
    ("name", "shape"),
    [("epfl/training.tif", (165, 768, 1024)), ("vnc/raw", (20, 1024, 1024)), ("vnc/mitochondria", (20, 1024, 1024))],
)
def test_real_volumes(name: str, shape: tuple[int, int, int]) -> None:
    path = Path(os.environ["MITOSCALE_TEST_DATA"], name)
    source: TiffSource = open_tiff(str(path))
    assert (source.shape, source.dtype, source.spacing) == (shape, "uint8", (None, None, None))
    region = Region(start=(7, 100, 200), stop=(9, 700, 900))
    files = sorted(path.iterdir()) if path.is_dir() else []
    if files and files[0].suffix == ".png":
        expected = np.stack([imagecodecs.imread(f) for f in files[7:9]])
    else:
        expected = np.stack([tifffile.imread(f) for f in files[7:9]]) if files else tifffile.imread(path, key=[7, 8])
    np.testing.assert_array_equal(source.read(region), expected[:, 100:700, 200:900])
