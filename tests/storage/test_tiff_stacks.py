"""Which pages of a TIFF are the stack, and how their values are meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources.kinds import open_reader

DATA = np.random.default_rng(0).integers(0, 250, (4, 40, 48)).astype(np.uint8)


def whole(path: Path, labels: bool = False, **choice: Any) -> np.ndarray:
    reader = open_reader(str(path), Reading(**choice), labels=labels)
    return reader.read(Region.of_shape(reader.shape))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero(dtype: str, compression: str | None, tmp_path: Path) -> None:
    """What is shown bright is bright; labels are numbers, which no tag turns round."""
    data = (DATA > 100) if dtype == "bool" else DATA.astype(dtype)
    path = tmp_path / "w.tif"
    tifffile.imwrite(path, data, photometric="miniswhite", compression=compression)
    if dtype == "float32":
        expected = -data
    else:
        expected = (~data).astype(np.uint8 if dtype == "bool" else dtype)
    np.testing.assert_array_equal(whole(path), expected)
    np.testing.assert_array_equal(whole(path, labels=True), data)


def test_series_of_an_ome_tiff(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(DATA, photometric="minisblack", metadata={"axes": "ZYX"})
        file.write(DATA[::-1], photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match=r"holds 2 series \(0: 4x40x48 ZYX, 1: 4x40x48 ZYX\); choose one with --series 0 .. 1"):
        whole(path)
    np.testing.assert_array_equal(whole(path, series=1), DATA[::-1])


def test_channels_of_an_ome_tiff(tmp_path: Path) -> None:
    path = tmp_path / "c.ome.tif"
    both = np.stack([DATA, DATA[::-1]], axis=1)
    tifffile.imwrite(path, both, photometric="minisblack", ome=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(whole(path, channel=1), DATA[::-1])


def test_a_set_of_ome_files(tmp_path: Path) -> None:
    """One XML, a file a slice, whose order the names do not tell."""
    names = ["b.ome.tif", "a.ome.tif", "d.ome.tif", "c.ome.tif"]
    planes = "".join(
        f'<TiffData FirstZ="{z}" FirstC="0" FirstT="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(names)
    )
    for z, name in enumerate(names):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{z}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="48" '
            'SizeY="40" SizeZ="4" SizeC="1" SizeT="1" PhysicalSizeX="4" PhysicalSizeXUnit="nm"><Channel ID="Channel:0" '
            f'SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / name, DATA[z], photometric="minisblack", metadata=None, description=xml)
    np.testing.assert_array_equal(whole(tmp_path / "b.ome.tif"), DATA)
    np.testing.assert_array_equal(whole(tmp_path), DATA)
    (tmp_path / "c.ome.tif").unlink()
    with pytest.raises(InputError, match="names other files of its set, and 1 of 4 slices are missing"):
        whole(tmp_path / "b.ome.tif")


def test_thumbnails_are_no_slices(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "t.tif") as file:
        for plane in DATA:
            file.write(plane, photometric="minisblack", metadata=None)
        file.write(DATA[0, ::4, ::4].copy(), photometric="minisblack", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(whole(tmp_path / "t.tif"), DATA)


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_jpeg_slices(suffix: str, tmp_path: Path) -> None:
    for z, plane in enumerate(DATA):
        (tmp_path / f"s{z}.{suffix}").write_bytes(imagecodecs.jpeg8_encode(plane, level=95))
    decoded = np.stack([imagecodecs.jpeg8_decode((tmp_path / f"s{z}.{suffix}").read_bytes()) for z in range(4)])
    np.testing.assert_array_equal(whole(tmp_path), decoded)
    file = tmp_path / f"s2.{suffix}"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InputError, match=rf"s2\.{suffix} is cut off"):
        whole(tmp_path)
    file.write_bytes(imagecodecs.jpeg8_encode(np.zeros((40, 48, 3), np.uint8)))
    with pytest.raises(InputError, match=r"3 samples .* convert the slices to 8-bit grey"):
        whole(tmp_path)


def test_jpeg_tables_that_stand_apart(tmp_path: Path) -> None:
    """Each strip lacks the tables that the tag JPEGTables holds."""
    path = tmp_path / "j.tif"
    tifffile.imwrite(path, DATA[0], photometric="minisblack", compression="jpeg", rowsperstrip=16)
    expected = tifffile.imread(path)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        streams = [path.read_bytes()[o : o + c] for o, c in zip(page.dataoffsets, page.databytecounts, strict=True)]
    tables, bare = zip(*(_split(stream) for stream in streams), strict=True)
    with tifffile.TiffWriter(path) as file:
        options: dict[str, Any] = {"photometric": "minisblack", "compression": "jpeg", "rowsperstrip": 16, "metadata": None}
        file.write(iter(bare), shape=(40, 48), dtype=np.uint8, **options, extratags=[(347, 7, len(tables[0]), tables[0], True)])
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.jpegtables
    np.testing.assert_array_equal(whole(path)[0], expected)


def _split(stream: bytes) -> tuple[bytes, bytes]:
    """A JPEG's tables, as an abbreviated stream, and the rest of it."""
    at, tables, rest = 2, b"", b""
    while stream[at + 1] != 0xDA:
        length = 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at + 1] in (0xDB, 0xC4):
            tables += stream[at : at + length]
        else:
            rest += stream[at : at + length]
        at += length
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + stream[at:]


def test_missing_slices_are_empty_where_they_are_allowed(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(-90, 90, (7, 5, 6)).astype(np.int8)
    for z in (0, 1, 3, 4, 6):
        tifffile.imwrite(tmp_path / f"s{z + 8}.tif", image[z])
    with pytest.raises(InputError, match=r"number 10, 13; restore it.*mitoscale run --fill-gaps"):
        open_reader(str(tmp_path))
    source = open_reader(str(tmp_path), Reading(fill_gaps=True))
    assert source.missing == (2, 5) and source.shape == (7, 5, 6)
    expected = image.copy()
    expected[[2, 5]] = -128
    assert np.array_equal(source.read(Region.of_shape(source.shape)), expected)
    assert np.array_equal(source.read(Region(start=(2, 1, 2), stop=(4, 3, 6))), expected[2:4, 1:3, 2:6])
    (tmp_path / "s10.tif").write_bytes((tmp_path / "s9.tif").read_bytes())
    assert open_reader(str(tmp_path), Reading(fill_gaps=True)).fingerprint != source.fingerprint
