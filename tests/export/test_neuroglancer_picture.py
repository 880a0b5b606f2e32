"""What Neuroglancer draws of an export, in headless Chromium: slices and mesh of an object have its colour where it lies."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Call, labels_of
from PIL import Image
from served import served

from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from browser import chromium, picture

neuroglancer = pytest.importorskip("neuroglancer", reason="neuroglancer is not installed: pip install 'mitoscale[view]'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium: apt-get install chromium"),
]

WIDTH, HEIGHT = 1200, 900


def test_slices_and_mesh_agree(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    path = tmp_path / "x.precomputed"
    assert mitoscale("export", layered, "--to", str(path)).code == 0
    objects = read_table(RunFolder(layered).objects)
    at = int(np.argmax(objects["volume_nm3"] * ~objects["touches_border"]))
    label, middle = int(objects["label"][at]), [float(objects[f"centroid_{axis}"][at]) for axis in "zyx"]
    assert labels_of(layered)[tuple(np.rint(middle).astype(int))] == label
    errors: list[str] = []
    with served(path) as (address, lacking):
        viewer = neuroglancer.Viewer()
        with viewer.txn() as state:
            space = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=[10, 10, 20])
            state.dimensions, state.position = space, [m + 0.5 for m in middle[::-1]]
            state.layers["image"] = neuroglancer.ImageLayer(source=f"precomputed://{address}/image")
            labels = neuroglancer.SegmentationLayer(source=f"precomputed://{address}/labels", segments=[label], selected_alpha=0.6)
            labels.segment_colors = {label: "#ff3010"}
            state.layers["labels"] = labels
            state.cross_section_scale, state.projection_scale = 0.25, 120
            state.show_axis_lines = state.show_default_annotations = False
        png = picture(str(viewer), (WIDTH, HEIGHT), shows="document.querySelector('canvas')", settle=15, webgl=True, errors=errors)
    (tmp_path / "picture.png").write_bytes(png)
    assert not lacking
    assert not [error for error in errors if "404" not in error]  # but for neuroglancer's own pages
    drawn = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)[60:]
    rows, columns = (n // 4 for n in drawn.shape[:2])
    red = (drawn[..., 0] > 1.5 * drawn[..., 1]) & (drawn[..., 0] > 60)
    for row, column in ((1, 1), (1, 3), (3, 3)):  # x-y, x-z and y-z: its middle is red, and red ends within the view
        assert red[row * rows - 5 : row * rows + 5, column * columns - 5 : column * columns + 5].mean() > 0.9
    mesh = red[2 * rows :, : 2 * columns]
    assert 300 < mesh.sum() < 0.8 * mesh.size
    beside = drawn[rows - 20 : rows + 20, 20 : columns - 100]  # the image, left of the object
    assert np.ptp(beside, axis=2).max() < 10 < beside.std()
