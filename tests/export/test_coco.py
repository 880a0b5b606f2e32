"""COCO: masks as pycocotools decodes them, pictures beside them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from commands import Call, labels_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mitoscale.core.geometry import Region
from mitoscale.ops.coco_rle import rle_text, slice_masks
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.run_json import read_plan

PART = Region(start=(1, 8, 60), stop=(7, 41, 200))


@settings(max_examples=60)
@given(plane=hnp.arrays(np.uint32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)))
def test_masks_are_those_of_the_reference(plane: np.ndarray) -> None:
    masks = list(slice_masks(plane))
    assert [mask.label for mask in masks] == [label for label in np.unique(plane).tolist() if label]
    for mask in masks:
        expected = coco_mask.encode(np.asfortranarray(plane == mask.label, dtype=np.uint8))
        assert mask.counts == expected["counts"].decode()
        assert mask.area == coco_mask.area(expected)
        assert list(mask.box) == coco_mask.toBbox(expected).tolist()


def test_long_runs() -> None:
    counts = [0, 1, 2**31, 5, 70_000, 2**31, 1, 31, 32, 1023]
    height = sum(counts)
    decoded = coco_mask.frPyObjects({"counts": counts, "size": [height, 1]}, height, 1)
    assert rle_text(np.array(counts)) == decoded["counts"].decode()


@pytest.mark.parametrize("level", [0, 1])
def test_masks_and_pictures_of_a_run(mitoscale: Call, layered: str, tmp_path: Path, level: int) -> None:
    path = tmp_path / "x.coco"
    ended = mitoscale("export", layered, "--to", f"{path}/", "--region", str(PART), "--level", str(level))
    assert ended.code == 0, ended.err
    part = PART.downsampled((1, 2, 2) if level else (1, 1, 1))
    labels = labels_of(layered, level)[part.slices]
    grey = open_array(f"{RunFolder(layered).volume}/{level}").read_all()[part.slices]
    window = read_grey(read_plan(RunFolder(layered))).normalisation
    with contextlib.redirect_stdout(io.StringIO()):
        found = COCO(str(path / "annotations.json"))
    assert sorted(found.imgs) == list(range(1, 7)) and found.cats[1]["name"] == "mitochondrion"
    for z, plane, picture in zip(range(1, 7), labels, grey, strict=True):
        drawn = np.zeros(plane.shape, np.uint32)
        for annotation in found.loadAnns(found.getAnnIds(imgIds=z)):
            mask = found.annToMask(annotation) > 0
            assert annotation["area"] == mask.sum() and not drawn[mask].any()
            drawn[mask] = annotation["object"]
        np.testing.assert_array_equal(drawn, plane)
        with Image.open(path / "images" / found.imgs[z]["file_name"]) as file:
            np.testing.assert_array_equal(np.asarray(file), window.apply(picture))
    assert len(list((path / "images").iterdir())) == 6
