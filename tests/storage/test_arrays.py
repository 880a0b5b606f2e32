"""Arrays: what is written is read, what was never written is an error, and other libraries read the same."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.core.errors import BlockError, InputError, StoppedError
from mitoscale.core.geometry import Region
from mitoscale.storage.arrays import MissingShardError, checksum, create_array, open_array

SHAPE = (5, 20, 22)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "a.zarr")
    create_array(path, shape=SHAPE, dtype="uint16", chunks=(2, 8, 8), shards=(4, 16, 16), attributes={"unit": "grey"})
    return path


def numbers(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 60_000, shape).astype(dtype)


def test_it_tells_its_layout(path: str) -> None:
    array = open_array(path)
    assert (array.shape, array.dtype, array.chunks, array.shards) == (SHAPE, np.uint16, (2, 8, 8), (4, 16, 16))
    assert array.attributes == {"unit": "grey"}


def test_zarr_python_reads_what_is_written(path: str) -> None:
    data = numbers(SHAPE)
    open_array(path).write(Region.of_shape(SHAPE), data)
    other = zarr.open_array(path, mode="r")
    np.testing.assert_array_equal(other[:], data)
    assert other.metadata.dimension_names == ("z", "y", "x")
    np.testing.assert_array_equal(open_array(path).read_all(), data)


@settings(max_examples=20)
@given(st.data())
def test_any_region_is_a_slice_of_the_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = str(tmp_path_factory.mktemp("any") / "a.zarr")
    create_array(path, shape=SHAPE, dtype="uint8", chunks=(2, 8, 8), shards=(2, 16, 16))
    whole = numbers(SHAPE, "uint8")
    open_array(path).write(Region.of_shape(SHAPE), whole)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in SHAPE)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, SHAPE, strict=True))
    region = Region(start=start, stop=stop)
    np.testing.assert_array_equal(open_array(path).read(region), whole[region.slices])


def test_a_shard_that_was_never_written_is_an_error(path: str) -> None:
    array = open_array(path)
    array.write(Region(start=(0, 0, 0), stop=(4, 16, 16)), np.zeros((4, 16, 16), np.uint16))
    assert not array.read(Region(start=(0, 0, 0), stop=(4, 16, 16))).any()
    with pytest.raises(MissingShardError, match=r"a\.zarr"):
        array.read(Region(start=(3, 0, 0), stop=(5, 16, 16)))
    assert not open_array(path, missing="fill").read_all().any()


def test_a_shard_of_zeros_is_stored(path: str) -> None:
    open_array(path).write(Region(start=(4, 16, 16), stop=SHAPE), np.zeros((1, 4, 6), np.uint16))
    assert Path(path, "c", "1", "1", "1").exists()


@pytest.mark.parametrize("corner", [(0, 0, 0), (4, 16, 16)], ids=["inside", "border"])
@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_broken_shard_is_an_error_and_can_be_written_again(path: str, corner: tuple[int, int, int], damage: str) -> None:
    stop = tuple(min(a + s, n) for a, s, n in zip(corner, (4, 16, 16), SHAPE, strict=True))
    region = Region(start=corner, stop=stop)
    data = numbers(region.shape)
    array = open_array(path)
    array.write(region, data)
    shard = Path(path, "c", *(str(a // s) for a, s in zip(corner, (4, 16, 16), strict=True)))
    content = bytearray(shard.read_bytes())
    content[20] ^= 255
    content[-10] ^= 255
    shard.write_bytes({"cut": bytes(content[:30]), "empty": b"", "flipped": bytes(content)}[damage])
    with pytest.raises(BlockError, match=r"a\.zarr"):
        array.read(region)
    array.write(region, data)
    np.testing.assert_array_equal(array.read(region), data)


def test_a_partly_overwritten_broken_shard_is_an_error(path: str) -> None:
    array = open_array(path)
    array.write(Region.of_shape(SHAPE), numbers(SHAPE))
    Path(path, "c/0/0/0").write_bytes(b"broken")
    with pytest.raises(BlockError, match="cannot write"):
        array.write(Region(start=(0, 0, 0), stop=(2, 8, 8)), numbers((2, 8, 8)))
    assert Path(path, "c/0/0/0").read_bytes() == b"broken"


def test_a_broken_shard_is_replaced_together_with_shards_never_written(path: str) -> None:
    whole, array = Region.of_shape(SHAPE), open_array(path)
    corner = Region(start=(4, 16, 16), stop=SHAPE)
    array.write(corner, numbers(corner.shape))
    Path(path, "c/1/1/1").write_bytes(b"broken")
    array.write(whole, numbers(SHAPE))
    np.testing.assert_array_equal(array.read(whole), numbers(SHAPE))


def test_what_a_kill_left_of_a_replacement_is_removed_by_the_next_and_names_are_on_the_disk(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    corner = Region(start=(4, 16, 16), stop=SHAPE)
    Path(path, ".replacing-c-1-1-1-of_this", "c").mkdir(parents=True)
    Path(path, ".replacing-c-0-1-1-of_another_that_is_being_written").mkdir()
    array, synced = open_array(path), []
    array.write(corner, numbers(corner.shape))
    Path(path, "c/1/1/1").write_bytes(b"broken")
    monkeypatch.setattr("mitoscale.storage.shard_replacement.sync", synced.append)
    array.write(corner, numbers(corner.shape))
    np.testing.assert_array_equal(array.read(corner), numbers(corner.shape))
    assert [left.name for left in Path(path).glob(".replacing-*")] == [".replacing-c-0-1-1-of_another_that_is_being_written"]
    assert synced == [str(Path(path, "c/1/1"))]


def test_a_broken_shard_stays_until_the_new_one_is_whole(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    corner = Region(start=(4, 16, 16), stop=SHAPE)
    array = open_array(path)
    array.write(corner, numbers(corner.shape))
    shard = Path(path, "c/1/1/1")
    shard.write_bytes(b"broken")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mitoscale.storage.arrays.os.replace", full)
    with pytest.raises(StoppedError, match="No space left"):
        array.write(corner, numbers(corner.shape))
    assert shard.read_bytes() == b"broken"
    assert not list(Path(path).glob(".replacing-*"))


@pytest.mark.parametrize(
    ("region", "data"),
    [
        (Region(start=(0, 0, 0), stop=(6, 20, 22)), np.zeros((6, 20, 22), np.uint16)),
        (Region.of_shape((1, 2, 3)), np.zeros((1, 2, 4), np.uint16)),
        (Region.of_shape((1, 2, 3)), np.zeros((1, 2, 3), np.int64)),
    ],
    ids=["outside", "shape", "dtype"],
)
def test_what_does_not_fit_is_not_written(path: str, region: Region, data: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"a\.zarr"):
        open_array(path).write(region, data)
    assert not Path(path, "c").exists()


def test_a_region_outside_is_not_read(path: str) -> None:
    with pytest.raises(ValueError, match="0:6,0:20,0:22 leaves the array"):
        open_array(path).read(Region.of_shape((6, 20, 22)))


def test_an_unwritable_disk_stops_the_run(path: str) -> None:
    Path(path, "c").write_text("a file where the shards should go")
    with pytest.raises(StoppedError, match=r"a\.zarr"):
        open_array(path).write(Region.of_shape(SHAPE), numbers(SHAPE))


def test_a_full_disk_stops_the_run_and_leaves_no_shard(path: str) -> None:
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from mitoscale.core.errors import StoppedError\n"
        "from mitoscale.core.geometry import Region\n"
        "from mitoscale.storage.arrays import open_array\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "data = np.random.default_rng(0).integers(0, 9999, (4, 16, 16)).astype('uint16')\n"
        "try:\n"
        "    open_array(sys.argv[1]).write(Region.of_shape((4, 16, 16)), data)\n"
        "except StoppedError:\n"
        "    sys.exit(4)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 4
    with pytest.raises(MissingShardError):
        open_array(path).read(Region.of_shape((4, 16, 16)))


def test_it_travels_by_path(path: str) -> None:
    data = numbers(SHAPE)
    array = open_array(path)
    array.write(Region.of_shape(SHAPE), data)
    message = pickle.dumps(array)
    assert len(message) < 500
    np.testing.assert_array_equal(pickle.loads(message).read_all(), data)


def test_creating_again_keeps_the_voxels(path: str) -> None:
    data = numbers(SHAPE)
    open_array(path).write(Region.of_shape(SHAPE), data)
    same = {"shape": SHAPE, "chunks": (2, 8, 8), "shards": (4, 16, 16)}
    create_array(path, dtype="uint16", attributes={"unit": "nm"}, **same)
    np.testing.assert_array_equal(open_array(path).read_all(), data)
    assert open_array(path).attributes == {"unit": "nm"}
    with pytest.raises(InputError, match="another array"):
        create_array(path, dtype="uint8", **same)
    np.testing.assert_array_equal(open_array(path).read_all(), data)


def test_an_array_made_anew_is_opened_anew(path: str) -> None:
    old = open_array(path)
    assert old.shape == SHAPE
    create_array(path, shape=(2, 2, 2), dtype="uint8", chunks=(2, 2, 2), shards=None, overwrite=True)
    assert (old.shape, old.dtype) == ((2, 2, 2), np.uint8)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", [">u2", "float32"])
def test_it_reads_arrays_of_others(tmp_path: Path, version: int, dtype: str) -> None:
    data = numbers((4, 9, 9)).astype(dtype)
    array = zarr.create_array(tmp_path / "b", shape=data.shape, dtype=dtype, chunks=(2, 4, 4), zarr_format=version)
    array[:2] = data[:2]
    found = open_array(str(tmp_path / "b"), missing="fill")
    assert found.dtype.isnative
    assert found.shards is None
    np.testing.assert_array_equal(found.read(Region.of_shape((2, 9, 9))), data[:2])
    assert not found.read(Region(start=(2, 0, 0), stop=(4, 9, 9))).any()


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Zarr array at"):
        open_array(str(tmp_path / "none"))
    zarr.create_group(tmp_path / "group")
    with pytest.raises(InputError, match="cannot open"):
        open_array(str(tmp_path / "group"))
    (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="cannot open"):
        open_array(str(tmp_path))


def test_checksum_sees_values_shape_and_dtype() -> None:
    data = np.arange(12, dtype=np.uint16)
    digests = {checksum(a) for a in (data, data.reshape(3, 4), data.astype(np.int16), data[::-1], data[:0])}
    assert len(digests) == 5
    assert checksum(data.reshape(3, 4)) == checksum(np.asfortranarray(data.reshape(3, 4)))
    assert len(checksum(data)) == 32
