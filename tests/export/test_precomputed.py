"""Neuroglancer precomputed: voxels as tensorstore reads them, meshes and table that agree with the labels."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from commands import Call, check_refused, labels_of
from hypothesis import given, settings
from hypothesis import strategies as st
from multilod_reading import read_meshes
from tiny import FACTORS, content, shapes_and_regions, stored

from mitoscale.core.geometry import Region
from mitoscale.export import object_meshes
from mitoscale.export.precomputed_volumes import write_volume
from mitoscale.ops.mesh_lods import volume
from mitoscale.storage import new_chunked
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.multilod_mesh import encoded
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.tables import read_table
from mitoscale.storage.uint64_shards import shard_bits, write_shards

PART = Region(start=(1, 8, 60), stop=(7, 41, 200))
NM = (20.0, 10.0, 10.0)


@settings(max_examples=6)
@given(where=shapes_and_regions(), first=st.integers(0, 2), dtype=st.sampled_from(["uint32", "uint64"]))
def test_voxels_as_tensorstore_reads_them(where: tuple[tuple[int, int, int], Region], first: int, dtype: str) -> None:
    shape, region = where
    random = np.random.default_rng(1)
    labels = random.integers(0, 4, shape).astype(dtype)
    labels[labels == 3] = np.iinfo(dtype).max
    grey = random.integers(0, 255, shape).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(new_chunked, "PRECOMPUTED_CHUNK", 4)
        patch.setattr(new_chunked, "_SHARD_BITS", 2)
        made = content(Path(folder), labels, image=grey, region=region, first=first)
        write_volume(made.labels, f"{folder}/labels", "segmentation")
        write_volume(made.image, f"{folder}/image", "image")
        for number in range(3 - first):
            part = region.downsampled(FACTORS[first + number])
            for name, expected in (
                ("labels", stored(made, first + number)),
                ("image", open_array(f"{RunFolder(made.plan.run).volume}/{first + number}").read_all()[part.slices]),
            ):
                spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder}/{name}"}}
                store = ts.open({**spec, "scale_index": number}).result()
                assert store.domain.origin[:3] == part.start[::-1]
                np.testing.assert_array_equal(store.read().result()[..., 0].T, expected)
                assert store.schema.dimension_units[0] == ts.Unit(f"{made.labels[number].spacing[2]:.17g} nm")
        again = open_reader(f"precomputed://{folder}/labels", labels=True)  # and we read it ourselves
        np.testing.assert_array_equal(again.read(Region.of_shape(again.shape)), stored(made, first))


@pytest.fixture(scope="module")
def whole(mitoscale: Call, layered: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "x.precomputed"
    ended = mitoscale("export", layered, "--to", str(path))
    assert ended.code == 0, ended.err
    return path


def check_mesh(
    lods: list[tuple[np.ndarray, np.ndarray]], mask: np.ndarray, corner: tuple[int, int, int], spacing: np.ndarray
) -> None:
    """A mesh has the box and the volume of the voxels, whose voxel 0 reaches from 0 to its size."""
    at = np.argwhere(mask)
    low, high = (at.min(0) + corner) * spacing, (at.max(0) + 1 + corner) * spacing
    for number, (vertices, triangles) in enumerate(lods):
        off = np.abs([vertices.min(0)[::-1] - low, vertices.max(0)[::-1] - high]) / spacing
        assert off.max() < (0.05 if number == 0 else 1.0), off
        assert abs(volume((vertices, triangles)) / (mask.sum() * spacing.prod()) - 1) < (0.05 if number == 0 else 0.15)
        edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
        assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()  # closed
    assert all(len(fine[1]) > 2 * len(coarse[1]) for fine, coarse in zip(lods, lods[1:], strict=False))


def test_meshes_are_those_of_the_labels(layered: str, whole: Path) -> None:
    labels, objects = labels_of(layered), read_table(RunFolder(layered).objects)
    meshes = read_meshes(whole / "labels" / "mesh")
    assert sorted(meshes) == objects["label"].tolist()
    assert max(map(len, meshes.values())) > 1
    for label, nm3 in zip(objects["label"].tolist(), objects["volume_nm3"], strict=True):
        check_mesh(meshes[label], labels == label, (0, 0, 0), np.array(NM))
        assert abs(volume(meshes[label][0]) / nm3 - 1) < 0.05


def test_the_table_is_that_of_the_objects(layered: str, whole: Path) -> None:
    objects = read_table(RunFolder(layered).objects)
    info = json.loads((whole / "labels" / "segment_properties" / "info").read_text())
    assert info["@type"] == "neuroglancer_segment_properties"
    assert info["inline"]["ids"] == [str(label) for label in objects["label"]]
    properties = {p["id"]: p for p in info["inline"]["properties"]}
    np.testing.assert_allclose(properties["volume_um3"]["values"], objects["volume_nm3"] / 1e9, rtol=1e-6)
    np.testing.assert_allclose(properties["length_um"]["values"], objects["length_nm"] / 1e3, rtol=1e-6)
    tags = properties["tags"]
    at_border = [tags["tags"].index("touches_border") in values for values in tags["values"]]
    assert at_border == objects["touches_border"].tolist() and any(at_border) and not all(at_border)
    assert all(len(p["values"]) == len(objects["label"]) for p in properties.values())
    for name in ("mesh", "segment_properties"):
        assert json.loads((whole / "labels" / "info").read_text())[name] == name


@pytest.mark.parametrize("level", [0, 1])
def test_a_part_has_what_lies_in_it(mitoscale: Call, layered: str, tmp_path: Path, level: int) -> None:
    path = tmp_path / "x"
    asked = ["--kind", "precomputed", "--region", str(PART), "--level", str(level)]
    ended = mitoscale("export", layered, "--to", str(path), *asked)
    assert ended.code == 0, ended.err
    factor = (1, 2, 2) if level else (1, 1, 1)
    part = PART.downsampled(factor)
    labels = labels_of(layered, level)[part.slices]
    there = np.unique(labels)[1:].tolist()
    assert 1 < len(there) < len(read_table(RunFolder(layered).objects)["label"])
    meshes = read_meshes(path / "labels" / "mesh")
    for label in there:
        check_mesh(meshes[label], labels == label, part.start, np.array(NM) * factor)
    info = json.loads((path / "labels" / "segment_properties" / "info").read_text())
    assert info["inline"]["ids"] == list(map(str, there)) and sorted(meshes) == there


def test_the_image_of_a_source_that_is_read_in_place(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    """The image of another run is its source; coarser levels are computed."""
    from mitoscale.core.plan import RunPlan
    from mitoscale.export.exported import Content
    from mitoscale.storage.run_json import read_plan

    own: RunPlan = read_plan(RunFolder(layered))
    convert = own.settings.convert.model_copy(update={"in_place": True, "source": RunFolder(layered).volume})
    plan = own.model_copy(update={"settings": own.settings.model_copy(update={"convert": convert})})
    made = Content(plan=plan, target="", group=plan.labels, table="", objects="", region=PART)
    for number, level in enumerate(made.image):
        assert number == 0 or "Coarser" in type(level.array).__name__
        expected = open_array(f"{RunFolder(layered).volume}/{number}").read_all()[level.part.slices].astype(int)
        assert np.abs(level.read(Region.of_shape(level.shape)).astype(int) - expected).max() <= number // 2


def test_an_object_too_large_gets_its_mesh_from_a_coarser_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((9, 40, 40), np.uint32)
    labels[1:8, 4:36, 4:36] = 5
    made, box = content(tmp_path, labels, spacing=(5.0, 5.0, 5.0)), Region(start=(1, 4, 4), stop=(8, 36, 36))
    monkeypatch.setattr(object_meshes, "LARGEST", 7 * 16 * 16)
    read: list[int] = []
    for level in made.labels:
        inner = type(level.array).read
        break
    monkeypatch.setattr(type(level.array), "read", lambda self, region: read.append(region.size) or inner(self, region))
    mesh = object_meshes.object_mesh(made.labels, 5, box)
    assert mesh is not None and max(read) <= 7 * 16 * 16
    np.testing.assert_allclose([mesh[0].min(0), mesh[0].max(0)], [[20, 20, 5], [180, 180, 40]])
    monkeypatch.setattr(object_meshes, "LARGEST", 1)
    thinned = object_meshes.object_mesh(made.labels, 5, box)  # from every voxel of the coarsest
    assert thinned is not None and abs(volume(thinned) / volume(mesh) - 1) < 0.3


def test_meshes_of_many_objects_share_files(tmp_path: Path) -> None:
    keys = [1, 2, 511, 512, 513, 70_000]
    bits = shard_bits(max(keys))
    assert list(write_shards(str(tmp_path), ((key, b"before" * key, bytes([key % 256]) * key) for key in keys), bits)) == keys
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00.shard", "01.shard", "88.shard"]
    spec = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 9, "minishard_bits": 0}
    spec |= {"shard_bits": bits, "minishard_index_encoding": "raw", "data_encoding": "raw"}
    base = {"driver": "file", "path": f"{tmp_path}/"}
    store = ts.KvStore.open({"driver": "neuroglancer_uint64_sharded", "metadata": spec, "base": base}).result()
    for key in keys:
        assert bytes(store.read(struct.pack(">Q", key)).result().value) == bytes([key % 256]) * key
    assert store.read(struct.pack(">Q", 3)).result().state == "missing"


def test_a_flat_mesh_is_encoded() -> None:
    """One slice of one voxel's width."""
    from mitoscale.ops.mesh import surface_mesh

    vertices, triangles = surface_mesh(np.ones((1, 1, 300), bool), (40.0, 5.0, 5.0))
    fragments, manifest = encoded([(vertices, triangles)])
    assert len(manifest) == 28 + 36 and fragments


def test_without_the_libraries(mitoscale: Call, layered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.export.precomputed_volumes._LIBRARIES", ("no_such_library",))
    arguments = ["export", layered, "--to", f"{tmp_path}/x.precomputed"]
    check_refused(mitoscale, tmp_path, arguments, "meshes need no_such_library, not installed here")
