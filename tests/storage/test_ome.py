"""OME-Zarr: others open what is written, and images of others are read with the right voxel size."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr
from kills import Killed, killing
from ome_zarr_models.v05 import Image, ImageLabel, Labels

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.volume import VolumeSpec
from mitoscale.storage import ome
from mitoscale.storage.arrays import open_array
from mitoscale.storage.ome import attributes_of, create_image, create_labels, is_ome_zarr
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.sources.stored_array import StoredArray

SPEC = VolumeSpec(
    shape=(9, 40, 50),
    dtype="uint8",
    spacing=(50.0, 4.6, 4.6),
    chunks=(4, 16, 16),
    shards=(8, 32, 32),
    factors=((1, 1, 1), (1, 2, 2), (2, 4, 4)),
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "volume.zarr")
    create_image(path, SPEC, name="em", attributes={"provenance": {"version": "1"}})
    create_labels(path, "mitochondria", SPEC.model_copy(update={"dtype": "uint32"}))
    return path


def test_zarr_python_alone_sees_image_and_labels(path: str) -> None:
    region = Region.of_shape(SPEC.shape)
    image = np.arange(region.size, dtype=np.uint8).reshape(SPEC.shape)
    open_array(f"{path}/0").write(region, image)
    open_array(f"{path}/labels/mitochondria/0").write(region, image.astype(np.uint32))
    root = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(root["0"][:], image)
    np.testing.assert_array_equal(root["labels/mitochondria/0"][:], image)
    assert root["labels/mitochondria/0"].dtype == np.uint32
    assert [root[str(n)].shape for n in range(3)] == [(9, 40, 50), (9, 20, 25), (5, 10, 13)]
    assert root.attrs["mitoscale"] == {"provenance": {"version": "1"}}


def test_the_05_validator_accepts_image_and_labels_with_the_right_scale(path: str) -> None:
    root = zarr.open_group(path, mode="r")
    image = Image.from_zarr(root).attributes.ome.multiscales[0]
    label = ImageLabel.from_zarr(root["labels/mitochondria"]).attributes.ome
    assert Labels.from_zarr(root["labels"]).attributes.ome.labels == ["mitochondria"]
    assert label.image_label is not None and label.image_label.source is not None
    assert label.image_label.source.image == "../../"
    for found in (image, label.multiscales[0]):
        assert [(a.name, a.type, a.unit) for a in found.axes] == [(n, "space", "nanometer") for n in "zyx"]
        scales = [d.coordinateTransformations[0].scale for d in found.datasets]
        assert scales == [list(SPEC.level_spacing(n)) for n in range(3)]
        # the centre of the first coarse voxel is the mean of the centres it spans
        assert found.datasets[2].coordinateTransformations[1].translation == pytest.approx([25.0, 6.9, 6.9])


def test_what_is_written_is_read(path: str) -> None:
    moved = SPEC.model_copy(update={"origin": (100.0, 9.2, 4.6)})
    create_image(f"{path}-moved", moved, name="em")
    for name, spec, dtype in (
        (path, SPEC, "uint8"),
        (f"{path}/labels/mitochondria", SPEC, "uint32"),
        (f"{path}-moved", moved, "uint8"),
    ):
        found = open_reader(name, labels=True)
        assert (found.shape, found.dtype, found.spacing, found.origin) == (spec.shape, dtype, spec.spacing, spec.origin)
        assert isinstance(found, StoredArray) and found.array == f"{name}/0" and found.in_place


def test_labels_are_added_beside_others_and_voxels_stay(path: str) -> None:
    open_array(f"{path}/0").write(Region.of_shape(SPEC.shape), np.ones(SPEC.shape, np.uint8))
    create_labels(path, "nuclei", SPEC)
    create_labels(path, "nuclei", SPEC)
    create_image(path, SPEC, name="em", attributes={"provenance": {"version": "2"}})
    root = zarr.open_group(path, mode="r")
    assert root["labels"].attrs["ome"]["labels"] == ["mitochondria", "nuclei"]
    assert root.attrs["mitoscale"] == {"provenance": {"version": "2"}}
    assert open_array(f"{path}/0").read_all().all()
    with pytest.raises(InputError, match="another array"):
        create_image(path, SPEC.model_copy(update={"dtype": "uint16"}), name="em")


def test_labels_whose_writer_was_killed_are_whole_with_their_attributes_or_not_there(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at each step of making them, and of replacing them; what is left beside them is gone after the next time."""
    labels = Path(path, "labels", "mitochondria")
    shutil.rmtree(labels)
    steps = ((ome, "create_array"), (ome, "_set"), (os, "rename"), (shutil, "rmtree"))
    count = killed = 0
    for owner in ("first", "second"):
        for done in range(100):
            with monkeypatch.context() as patch, suppress(Killed):
                left = iter([False] * done + [True])
                for module, name in steps:
                    patch.setattr(module, name, killing(getattr(module, name), left))
                create_labels(path, "mitochondria", SPEC, attributes={"run": owner}, overwrite=True)
                break
            killed += 1
            if labels.exists():
                count += 1
                assert attributes_of(str(labels))["run"] in ("first", owner)
                assert all((labels / level / "zarr.json").exists() for level in "012")
        assert attributes_of(str(labels)) == {"run": owner}
        assert sorted(entry.name for entry in labels.parent.iterdir()) == ["mitochondria", "zarr.json"]
    assert killed > 12 and count > 6


def test_labels_alone_are_a_group_without_an_image(tmp_path: Path) -> None:
    create_labels(str(tmp_path / "v.zarr"), "mitochondria", SPEC)
    root = zarr.open_group(tmp_path / "v.zarr", mode="r")
    ImageLabel.from_zarr(root["labels/mitochondria"])
    assert "source" not in root["labels/mitochondria"].attrs["ome"]["image-label"]
    assert is_ome_zarr(str(tmp_path / "v.zarr"))
    with pytest.raises(InputError, match="no multiscales"):
        open_reader(str(tmp_path / "v.zarr"))


def test_labels_cannot_go_into_version_04(tmp_path: Path) -> None:
    path = str(tmp_path / "i")
    zarr.create_group(path, zarr_format=2)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"0\.4"):
        create_labels(path, "mitochondria", SPEC)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_counts_as_ome_zarr(path: str, tmp_path: Path) -> None:
    assert is_ome_zarr(path) and is_ome_zarr(f"{path}/labels/mitochondria")
    assert not is_ome_zarr(f"{path}/0")
    assert not is_ome_zarr(str(tmp_path)) and not is_ome_zarr(str(tmp_path / "none"))


def test_another_volume_has_another_fingerprint(path: str) -> None:
    before = open_reader(path).fingerprint
    open_array(f"{path}/0").write(Region.of_shape(SPEC.shape), np.ones(SPEC.shape, np.uint8))
    after = open_reader(path).fingerprint
    assert before != after
    create_labels(path, "others", SPEC)
    assert open_reader(path).fingerprint == after
