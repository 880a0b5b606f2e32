"""The viewer serves its page, and the image and labels in the way a browser asks for them."""

from __future__ import annotations

import json
import urllib.request

import pytest
from commands import Finished

from mitoscale.pipeline import load
from mitoscale.report.viewer import viewer

pytest.importorskip("neuroglancer", reason="neuroglancer is not installed: pip install 'mitoscale[view]'")


def get(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        assert answer.status in (200, 206)
        return bytes(answer.read())


def test_page_image_and_labels_are_served(finished: Finished) -> None:
    plan = load(finished.run).plan
    with viewer(plan) as shown:
        page = get(shown.url)
        assert b"<script" in page and b"http://" not in page and b"https://" not in page  # nothing from elsewhere
        for source, kind in ((shown.image, "mean"), (shown.labels, "mode")):
            group, _, scheme = source.partition("/|")
            assert scheme == "zarr3:"
            metadata = json.loads(get(f"{group}/zarr.json"))
            assert metadata["attributes"]["ome"]["multiscales"][0]["type"] == kind
            assert json.loads(get(f"{group}/0/zarr.json"))["shape"] == list(plan.spec.shape)
            assert len(get(f"{group}/0/c/0/0/0", Range="bytes=0-9")) == 10
        layers = shown.state.to_json()["layers"]
        assert [(layer["name"], layer["type"]) for layer in layers] == [("image", "image"), ("mitochondria", "segmentation")]
    with pytest.raises(OSError):
        get(shown.image.partition("/|")[0] + "/zarr.json")
