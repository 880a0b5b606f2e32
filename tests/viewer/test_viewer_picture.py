"""What the viewer draws, in headless Chromium: an object has its colour at its centroid, and the page has no complaint."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Finished, labels_of
from PIL import Image

from mitoscale.pipeline import load
from mitoscale.report.colours import label_colours
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table
from mitoscale.viewer.view import viewer

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from browser import chromium, picture

pytest.importorskip("neuroglancer", reason="neuroglancer is not installed: pip install 'mitoscale[view]'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium: apt-get install chromium"),
]

WIDTH, HEIGHT, PANEL = 1280, 800, 300

CLICK = """(() => {{
  const line = [...document.querySelectorAll("#places li")].find(li => li.textContent.startsWith("{}: "));
  if (line && !window.clicked) {{ window.clicked = true; line.click(); }}
  return document.querySelectorAll("#selected table").length;
}})()"""
"""Clicks an object in the list once it is there; true when its row is shown."""


def test_an_object_has_its_colour_at_its_centroid(finished: Finished) -> None:
    objects = read_table(RunFolder(finished.run).objects)
    labels = labels_of(finished.run)
    at = int(np.argmax(objects["volume_nm3"] * ~objects["touches_border"]))
    label = int(objects["label"][at])
    position = [float(objects[f"centroid_{a}"][at]) for a in "zyx"]
    assert labels[tuple(np.rint(position).astype(int))] == label  # or the test asks for another one's colour
    errors: list[str] = []
    with viewer(load(finished.run).plan) as shown:
        with shown.viewer.txn() as state:
            state.layers["image"].visible = False
            state.layers["detections"].visible = False
            state.show_axis_lines = state.show_default_annotations = False
        # Under another name than the server's own, as behind a tunnel: voxels and meshes must come from there too.
        page = shown.url.replace("127.0.0.1", "localhost")
        png = picture(page, (WIDTH, HEIGHT), shows=CLICK.format(label), settle=20, webgl=True, errors=errors)
        assert list(shown.state.position)[::-1] == pytest.approx(position, abs=1e-3), "the list jumps to the object"
    assert not errors
    drawn = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)
    expected = label_colours(np.array(label)) * 255
    view = drawn[50:HEIGHT, : WIDTH - PANEL]  # below neuroglancer's bars
    rows, columns = (n // 4 for n in view.shape[:2])
    for row, column in ((1, 1), (1, 3), (3, 3)):  # x-y, x-z and y-z; neuroglancer draws the middle of each at the position
        patch = view[row * rows - 3 : row * rows + 4, column * columns - 3 : column * columns + 4].reshape(-1, 3).mean(0)
        assert patch.max() > 40, "nothing is drawn there"
        assert np.corrcoef(patch, expected)[0, 1] > 0.98  # the same hue, dimmed by the layer's opacity
    mesh = view[2 * rows :, : 2 * columns].reshape(-1, 3)
    coloured = mesh[mesh.max(1) - mesh.min(1) > 40]
    alike = coloured @ expected / np.linalg.norm(coloured, axis=1) / np.linalg.norm(expected)
    assert len(coloured) > 300 and np.median(alike) > 0.97
