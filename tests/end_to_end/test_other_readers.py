"""Readers that are not ours open what a run leaves: zarr-python alone, and ome-zarr-models as a validator of OME-Zarr 0.5."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import zarr
from commands import SHAPE, Finished, Stack, labels_of
from ome_zarr_models.v05 import Image
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.labels import Labels

from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table


def levels(group: zarr.Group) -> list[tuple[zarr.Array, list[float]]]:
    """Each level's array and its voxel size, as the metadata say."""
    multiscale = group.attrs["ome"]["multiscales"][0]
    assert [axis["name"] for axis in multiscale["axes"]] == ["z", "y", "x"]
    assert {axis["unit"] for axis in multiscale["axes"]} == {"nanometer"}
    return [(group[d["path"]], d["coordinateTransformations"][0]["scale"]) for d in multiscale["datasets"]]


@pytest.mark.parametrize("where", ["", "labels/mitochondria"])
def test_zarr_python_reads_all_levels(where: str, finished: Finished, stack: Stack) -> None:
    group = zarr.open_group(f"{RunFolder(finished.run).volume}/{where}", mode="r")
    assert group.metadata.zarr_format == 3
    found = levels(group)
    first, scale = found[0]
    assert scale == [10.0, 10.0, 10.0] and first.shape == SHAPE and first.shards is not None
    expected = labels_of(finished.run) if where else stack.phantom.image
    assert np.array_equal(first[:], expected)
    for (finer, a), (coarser, b) in zip(found, found[1:], strict=False):
        steps = [round(q / p) for p, q in zip(a, b, strict=True)]
        assert coarser.shape == tuple(-(-n // s) for n, s in zip(finer.shape, steps, strict=True))
        assert coarser[:].any()


def test_validator_accepts_the_image(finished: Finished) -> None:
    image = Image.from_zarr(zarr.open_group(RunFolder(finished.run).volume, mode="r"))
    assert image.attributes.ome.version == "0.5"
    first = image.attributes.ome.multiscales[0].datasets[0]
    assert first.coordinateTransformations[0].scale == [10.0, 10.0, 10.0]


def test_validator_accepts_the_labels(finished: Finished) -> None:
    volume = RunFolder(finished.run).volume
    listed = Labels.from_zarr(zarr.open_group(f"{volume}/labels", mode="r"))
    assert list(listed.attributes.ome.labels) == ["mitochondria"]
    labels = ImageLabel.from_zarr(zarr.open_group(f"{volume}/labels/mitochondria", mode="r"))
    assert labels.attributes.ome.image_label.source.image == "../../"


def test_provenance_lies_with_the_labels(finished: Finished) -> None:
    group = zarr.open_group(RunFolder(finished.run).labels, mode="r")
    provenance = group.attrs["mitoscale"]["provenance"]
    assert provenance["version"] and provenance["source"]


def test_csv_is_the_parquet_table(finished: Finished) -> None:
    folder = RunFolder(finished.run)
    table = read_table(folder.objects)
    with Path(folder.objects_csv).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table)
    assert [int(row["label"]) for row in rows] == table["label"].tolist()
    assert [float(row["volume_nm3"]) for row in rows] == pytest.approx(table["volume_nm3"].tolist())
