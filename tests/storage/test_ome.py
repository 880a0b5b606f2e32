"""OME-Zarr: others open what is written, and images of others are read with the right voxel size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05 import Image, ImageLabel, Labels

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.volume import VolumeSpec
from mitoscale.storage.arrays import open_array
from mitoscale.storage.ome import create_image, create_labels, is_ome_zarr, open_image

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


def foreign(path: Path, axes: list[Any], datasets: list[dict[str, Any]], shapes: list[tuple[int, ...]]) -> str:
    """An OME-Zarr 0.4 image as others write it."""
    group = zarr.create_group(path, zarr_format=2)
    for dataset, shape in zip(datasets, shapes, strict=True):
        array = group.create_array(dataset["path"], shape=shape, chunks=(1, *[16] * (len(shape) - 1)), dtype="uint8")
        array[:] = 7
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return str(path)


def axes(*units: str | None) -> list[dict[str, str]]:
    return [{"name": n, "type": "space", **({"unit": u} if u else {})} for n, u in zip("zyx", units, strict=True)]


def level(path: str, *scale: float) -> dict[str, Any]:
    return {"path": path, "coordinateTransformations": [{"type": "scale", "scale": list(scale)}] if scale else []}


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
    assert open_image(path).spec == SPEC
    assert open_image(f"{path}/labels/mitochondria").spec == SPEC.model_copy(update={"dtype": "uint32"})
    assert open_image(path).level_paths == tuple(f"{path}/{n}" for n in range(3))


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


def test_labels_alone_are_a_group_without_an_image(tmp_path: Path) -> None:
    create_labels(str(tmp_path / "v.zarr"), "mitochondria", SPEC)
    root = zarr.open_group(tmp_path / "v.zarr", mode="r")
    ImageLabel.from_zarr(root["labels/mitochondria"])
    assert "source" not in root["labels/mitochondria"].attrs["ome"]["image-label"]
    assert is_ome_zarr(str(tmp_path / "v.zarr"))
    with pytest.raises(InputError, match="no multiscales"):
        open_image(str(tmp_path / "v.zarr"))


@pytest.mark.parametrize(("unit", "nm"), [("nanometer", 1), ("micrometer", 1e3), ("angstrom", 0.1)])
def test_units_become_nm(tmp_path: Path, unit: str, nm: float) -> None:
    path = foreign(tmp_path / "i", axes(unit, unit, unit), [level("s0", 2, 0.5, 0.5)], [(3, 20, 20)])
    assert open_image(path).spec.spacing == pytest.approx((2 * nm, 0.5 * nm, 0.5 * nm))


def test_version_04_is_read_with_its_levels_and_common_scale(tmp_path: Path) -> None:
    shapes = [(9, 33, 33), (9, 17, 17), (5, 9, 9)]
    um = axes("micrometer", "micrometer", "micrometer")
    path = foreign(tmp_path / "i", um, [level("s0", 1, 1, 1), level("s1", 1, 2, 2), level("s2", 2, 4, 4)], shapes)
    file = tmp_path / "i" / ".zattrs"
    content = json.loads(file.read_text())
    content["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [0.05, 0.005, 0.005]}]
    file.write_text(json.dumps(content))
    image = open_image(path)
    assert image.spec.spacing == pytest.approx((50.0, 5.0, 5.0))
    assert image.spec.factors == ((1, 1, 1), (1, 2, 2), (2, 4, 4))
    assert open_array(image.level_paths[2], missing="fill").read_all().shape == (5, 9, 9)


@pytest.mark.parametrize(
    ("second", "shape"),
    [(level("s1", 1, 2, 2), (9, 16, 16)), (level("s1", 1, 1.5, 1.5), (9, 22, 22)), (level("s1"), (9, 17, 17))],
)
def test_levels_that_do_not_span_whole_voxels_are_left_out(tmp_path: Path, second: dict[str, Any], shape: tuple[int, ...]) -> None:
    nm = axes("nanometer", "nanometer", "nanometer")
    path = foreign(tmp_path / "i", nm, [level("s0", 1, 1, 1), second], [(9, 33, 33), shape])
    assert open_image(path).spec.factors == ((1, 1, 1),)


def test_a_missing_unit_or_scale_is_asked_for(tmp_path: Path) -> None:
    unitless = foreign(tmp_path / "a", axes(None, None, None), [level("0", 1, 1, 1)], [(3, 20, 20)])
    unscaled = foreign(tmp_path / "b", axes("nm", "nm", "nm"), [level("0")], [(3, 20, 20)])
    odd = foreign(tmp_path / "c", axes("parsec", "parsec", "parsec"), [level("0", 1, 1, 1)], [(3, 20, 20)])
    for path, words in ((unitless, "no unit; give --voxel-size"), (unscaled, "no scale"), (odd, "unit 'parsec'")):
        with pytest.raises(InputError, match=words):
            open_image(path)
        assert open_image(path, spacing=(50.0, 5.0, 5.0)).spec.spacing == (50.0, 5.0, 5.0)


def test_bad_images_are_refused_by_name(tmp_path: Path) -> None:
    five = [{"name": n, "type": "space"} for n in "tczyx"]
    cases = {
        "axes t, c, z, y, x": foreign(tmp_path / "a", five, [level("0", 1, 1, 1, 1, 1)], [(1, 1, 3, 20, 20)]),
        "must be above 0": foreign(tmp_path / "b", axes("nm", "nm", "nm"), [level("0", 1, 0, 1)], [(3, 20, 20)]),
        "not valid: KeyError 'axes'": foreign(tmp_path / "c", [], [level("0", 1, 1, 1)], [(3, 20, 20)]),
        "no multiscales": str(tmp_path / "nothing"),
        "cannot read": str(tmp_path / "d"),
        "no Zarr array at": foreign(tmp_path / "e", axes("nm", "nm", "nm"), [level("0", 1, 1, 1)], [(3, 20, 20)]),
    }
    (tmp_path / "c" / ".zattrs").write_text(json.dumps({"multiscales": [{"datasets": [level("0", 1, 1, 1)]}]}))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "zarr.json").write_text("{ torn")
    (tmp_path / "e" / "0" / ".zarray").unlink()
    for words, path in cases.items():
        with pytest.raises(InputError, match=words):
            open_image(path)


def test_labels_cannot_go_into_version_04(tmp_path: Path) -> None:
    path = foreign(tmp_path / "i", axes("nm", "nm", "nm"), [level("0", 1, 1, 1)], [(3, 20, 20)])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"0\.4"):
        create_labels(path, "mitochondria", SPEC)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_counts_as_ome_zarr(path: str, tmp_path: Path) -> None:
    assert is_ome_zarr(path) and is_ome_zarr(f"{path}/labels/mitochondria")
    assert not is_ome_zarr(f"{path}/0")
    assert not is_ome_zarr(str(tmp_path)) and not is_ome_zarr(str(tmp_path / "none"))


def test_another_volume_has_another_fingerprint(path: str) -> None:
    before = open_image(path).fingerprint
    open_array(f"{path}/0").write(Region.of_shape(SPEC.shape), np.ones(SPEC.shape, np.uint8))
    after = open_image(path).fingerprint
    assert before != after
    create_labels(path, "others", SPEC)
    assert open_image(path).fingerprint == after
