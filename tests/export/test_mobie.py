"""A MoBIE project: as MoBIE's own models, made from its published schema, read it, and its table beside the labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from commands import Call, labels_of
from mobiedantic.generated import Dataset, Project
from ome_zarr_models.v04.multiscales import Multiscale

from mitoscale.core.geometry import Region
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table

PART = Region(start=(1, 8, 60), stop=(7, 41, 200))
NM = np.array([20.0, 10.0, 10.0])


@pytest.mark.parametrize("region", [None, PART])
def test_project_images_and_table(mitoscale: Call, layered: str, tmp_path: Path, region: Region | None) -> None:
    path = tmp_path / "x.mobie"
    ended = mitoscale("export", layered, "--to", str(path), *(["--region", str(region)] if region else []))
    assert ended.code == 0, ended.err
    project = Project.model_validate_json((path / "project.json").read_text())
    folder = path / project.defaultDataset
    content = json.loads((folder / "dataset.json").read_text())
    Dataset.model_validate(content)
    part = region or Region.of_shape(labels_of(layered).shape)
    for name, kind in (("em", "image"), ("mitochondria", "segmentation")):
        group = zarr.open_group(folder / content["sources"][name][kind]["imageData"]["ome.zarr"]["relativePath"], mode="r")
        multiscale = Multiscale(**dict(group.attrs)["multiscales"][0])
        assert {axis.unit for axis in multiscale.axes} == {"micrometer"} and len(multiscale.datasets) > 1
        scale, translation = multiscale.datasets[0].coordinateTransformations
        np.testing.assert_allclose(scale.scale, NM / 1000)
        np.testing.assert_allclose(translation.translation, part.start * NM / 1000)
        root = RunFolder(layered).volume if name == "em" else RunFolder(layered).labels
        np.testing.assert_array_equal(group["0"][:], open_array(f"{root}/0").read_all()[part.slices])
    table = folder / content["sources"]["mitochondria"]["segmentation"]["tableData"]["tsv"]["relativePath"] / "default.tsv"
    with table.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    labels = labels_of(layered)[part.slices]
    assert [int(row["label_id"]) for row in rows] == np.unique(labels)[1:].tolist()
    objects = read_table(RunFolder(layered).objects)
    for row in rows:
        box = [[float(row[f"{end}_{axis}"]) * 1000 for axis in "zyx"] for end in ("bb_min", "anchor", "bb_max")]
        at = np.argwhere(labels == int(row["label_id"])) + part.start
        np.testing.assert_allclose(box[0], (at.min(0) - 0.5) * NM, atol=1e-6)
        np.testing.assert_allclose(box[2], (at.max(0) + 0.5) * NM, atol=1e-6)
        assert all(a <= b <= c for a, b, c in zip(*box, strict=True))
        [number] = np.flatnonzero(objects["label"] == int(row["label_id"]))
        assert abs(float(row["volume_um3"]) - objects["volume_nm3"][number] / 1e9) < 1e-12
