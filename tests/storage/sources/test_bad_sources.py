"""What is wrong with a source is one line that names it, with what there is instead."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import zarr
from written import WRITERS

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region
from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources.kinds import open_reader

DATA = np.random.default_rng(0).integers(0, 250, (6, 20, 24)).astype(np.uint8)
NM = (40.0, 4.0, 4.0)


def refused(path: str | Path, *words: str, reading: Reading | None = None) -> None:
    with pytest.raises(InputError) as caught:
        open_reader(str(path), reading)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    path, _ = WRITERS["hdf5"](tmp_path, DATA, (2, 8, 8), NM)
    return Path(path.partition(":")[0])


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_hdf5(part: float, h5: Path) -> None:
    os.truncate(h5, int(h5.stat().st_size * part))
    refused(f"{h5}:/volumes/raw", "v.h5 is cut off, damaged, or no HDF5 file", "copy or export it again")


def test_hdf5_datasets_are_listed(h5: Path) -> None:
    there = ("/volumes/raw (6, 20, 24) uint8", "/labels (2, 2, 2) uint32")
    refused(h5, "has several datasets", *there, f"such as {h5}:/labels")
    refused(f"{h5}:/volumes/em", "has no dataset /volumes/em", *there)
    refused(h5.with_name("gone.h5"), "no such file or folder", "gone.h5")
    refused(f"{h5.with_name('gone.h5')}:/raw", "no file", "gone.h5")
    assert open_reader(f"{h5}:volumes").shape == DATA.shape, "a group with one dataset is that dataset"


def test_hdf5_parts_in_other_files(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout(shape=(6, 20, 24), dtype="uint8")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "raw", shape=(6, 20, 24))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    refused(tmp_path / "virtual.h5", "1 of them are missing (elsewhere.h5)")


def test_hdf5_that_is_no_volume(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["name"] = np.array(["a", "b"], dtype="S1")
        file["row"] = np.zeros(5)
        file["parts"] = np.zeros((2, 3, 4, 5), np.uint8)
    refused(f"{tmp_path / 'v.h5'}:/name", "holds |S1")
    refused(f"{tmp_path / 'v.h5'}:/row", "has shape (5,)")
    refused(tmp_path / "v.h5", "has 2 channels; choose one with --channel 0 .. 1")
    refused(tmp_path / "v.h5", "has 2 channels, none with number 7", reading=Reading(channel=7))
    refused(tmp_path / "v.h5", "has no times (axes c, z, y, x); leave out --time", reading=Reading(channel=1, time=3))
    refused(tmp_path / "v.h5", "has 4 axes", reading=Reading(axes="zyx"))
    refused(tmp_path / "v.h5", "has an axis q of length 2", reading=Reading(axes="qzyx"))
    refused(tmp_path / "v.h5", "which is which", reading=Reading(axes="zzyx"))


def test_a_file_that_changes_later_is_a_failed_block(h5: Path) -> None:
    reader = open_reader(f"{h5}:/volumes/raw")
    with h5py.File(h5, "w") as file:
        file["volumes/raw"] = DATA[:, :10]
    with pytest.raises(BlockError, match="has changed"):
        reader.read(Region.of_shape((1, 2, 2)))
    h5.unlink()
    with pytest.raises(BlockError, match="cannot read"):
        reader.read(Region.of_shape((1, 2, 2)))


@pytest.mark.parametrize("part", [0.05, 0.5, 0.99])
def test_a_truncated_mrc(part: float, tmp_path: Path) -> None:
    path, _ = WRITERS["mrc"](tmp_path, DATA, (1, 1, 1), NM)
    os.truncate(path, int(os.path.getsize(path) * part))
    refused(path, "v.mrc is", "copy or export it again")


def test_mrc_of_another_order_and_without_a_size(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "v.mrc") as file:
        file.set_data(DATA.astype(np.int16))
        file.header.mapc, file.header.mapr, file.header.maps = 3, 2, 1
    reader = open_reader(str(tmp_path / "v.mrc"))
    assert reader.spacing == (None, None, None), "1 Angstrom, or none, is not a size"
    np.testing.assert_array_equal(reader.read(Region.of_shape(reader.shape)), DATA.transpose(2, 1, 0))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(("stamp", "flags", "signed"), [(1146047817, 0, False), (1146047817, 1, True), (0, 0, False)])
def test_mrc_bytes_of_imod(byteorder: str, stamp: int, flags: int, signed: bool, tmp_path: Path) -> None:
    """IMOD has written unsigned bytes as mode 0, which the format calls signed: its stamp tells, or the largest value."""
    with mrcfile.new(tmp_path / "v.mrc") as file:
        file.set_data(DATA.view(np.int8).astype(f"{byteorder}i1"))
    with open(tmp_path / "v.mrc", "r+b") as content:
        header = np.frombuffer(content.read(1024), "<i4").copy()
        header[38], header[39] = stamp, flags
        floats = header.view("<f4")
        floats[19:22] = (0, 249, 100) if not signed else (-128, 127, 0)
        if byteorder == ">":
            text = header.tobytes()
            header = header.byteswap()
            stored = bytearray(header.tobytes())
            stored[208:212] = text[208:212]
            stored[212:216] = b"\x11\x11\0\0"
            stored[224:] = text[224:]
            stored[96:208] = header.tobytes()[96:208]
        else:
            stored = bytearray(header.tobytes())
        content.seek(0)
        content.write(stored)
    reader = open_reader(str(tmp_path / "v.mrc"))
    expected = DATA.view(np.int8) if signed else DATA
    np.testing.assert_array_equal(reader.read(Region.of_shape(DATA.shape)), expected)


def test_raw_of_the_wrong_size(tmp_path: Path) -> None:
    path, reading = WRITERS["raw"](tmp_path, DATA, (1, 1, 1), NM)
    refused(path, "say what they are with --shape Z,Y,X --dtype uint8")
    refused(path, "has 2880 bytes; 6 x 20 x 25 voxels of uint8 need 3000", reading=Reading(shape=(6, 20, 25), dtype="uint8"))
    refused(path, "--dtype float7 is none", reading=Reading(shape=(6, 20, 24), dtype="float7"))
    with open(path, "ab") as file:
        file.write(b"x" * 100)
    refused(path, "need 2880", "or cut off a header of 100 bytes", reading=reading)


def test_a_file_of_any_name_is_raw_where_its_shape_is_told(tmp_path: Path) -> None:
    DATA.tofile(tmp_path / "scan")
    reader = open_reader(str(tmp_path / "scan"), Reading(shape=(24, 20, 6), axes="xyz", dtype="u1"))
    np.testing.assert_array_equal(reader.read(Region.of_shape((6, 20, 24))), DATA.reshape(24, 20, 6).transpose())


def test_n5_containers_list_their_datasets(tmp_path: Path) -> None:
    path, _ = WRITERS["n5"](tmp_path, DATA, (2, 8, 8), NM)
    (tmp_path / "v.n5" / "attributes.json").write_text('{"n5": "2.0.0"}')
    refused(tmp_path / "v.n5", "is no N5 dataset; it has em/raw; give the path of one", path)


def test_a_pyramid_in_n5_is_its_finest_level(tmp_path: Path) -> None:
    path, _ = WRITERS["n5"](tmp_path, DATA, (2, 8, 8), NM)
    os.rename(path, tmp_path / "v.n5" / "em" / "s0")
    (tmp_path / "v.n5" / "em" / "attributes.json").write_text("{}")
    assert open_reader(str(tmp_path / "v.n5" / "em")).shape == DATA.shape


def test_damaged_metadata(tmp_path: Path) -> None:
    for n, (kind, file) in enumerate(
        {"zarr2": ".zarray", "zarr3": "zarr.json", "n5": "attributes.json", "precomputed": "info"}.items()
    ):
        (tmp_path / str(n)).mkdir()
        path, _ = WRITERS[kind](tmp_path / str(n), DATA, (2, 8, 8), NM)
        Path(path.removeprefix("precomputed://"), file).write_text("{ torn")
        refused(path, "cannot read", file, "restore it")


def test_a_size_without_a_unit_is_a_hint(tmp_path: Path) -> None:
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(3, 4, 5), dtype="uint8", attributes={"resolution": [40, 4, 4]})
    array[:] = 1
    reader = open_reader(str(tmp_path / "a.zarr"))
    assert reader.spacing == (None, None, None)
    assert reader.hint == "its attribute resolution is 40,4,4 (z,y,x) without a unit"


def test_broken_chunks_are_told(tmp_path: Path) -> None:
    path, _ = WRITERS["zarr2"](tmp_path, DATA, (2, 8, 8), NM)
    reader = open_reader(path)
    chunk = next(f for f in Path(path).iterdir() if f.name[0].isdigit())
    chunk.write_bytes(b"broken")
    with pytest.raises(BlockError, match=r"v2\.zarr"):
        reader.read(Region.of_shape(DATA.shape))
    with pytest.raises(InputError, match=r"v2\.zarr"):
        open_reader(path).fingerprint  # noqa: B018 - of a new reader: it reads some voxels


def test_levels_of_precomputed(tmp_path: Path) -> None:
    path, _ = WRITERS["precomputed"](tmp_path, DATA, (2, 8, 8), NM)
    file = tmp_path / "pre" / "info"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"scales": []}))
    refused(path, "pre")
