"""The viewer serves its page, voxels, meshes, detections and lists on one port, in the way a browser asks for them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from commands import Call, Finished, Stack, labels_of

from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.object_lists import ObjectLists
from mitoscale.evaluation.label_reading import open_labels
from mitoscale.pipeline import load
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table
from mitoscale.storage.tiff_writing import write_tiff
from mitoscale.viewer.view import View, viewer

pytest.importorskip("neuroglancer", reason="neuroglancer is not installed: pip install 'mitoscale[view]'")


def get(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        assert answer.status in (200, 206)
        return bytes(answer.read())


def post(shown: View, command: str, **content: Any) -> dict[str, Any]:
    request = urllib.request.Request(f"{shown.url}do/{command}", data=json.dumps(content).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


@pytest.fixture(scope="module")
def plan(finished: Finished) -> RunPlan:
    return load(finished.run).plan


@pytest.fixture(scope="module")
def shown(plan: RunPlan) -> Iterator[View]:
    with viewer(plan) as view:
        yield view


def test_pages_load_nothing_from_elsewhere(shown: View) -> None:
    page = get(shown.url)
    frame = shown.viewer.get_viewer_url()
    assert f'src = "{urlsplit(frame).path}"'.encode() in page and page.count(b"http") == 0
    inner = get(frame)
    assert b"<script" in inner and b"http://" not in inner and b"https://" not in inner


def test_image_and_labels_are_served(shown: View, plan: RunPlan) -> None:
    for source, kind in ((shown.image, "mean"), (shown.labels, "mode")):
        group, _, scheme = source.partition("/|")
        assert scheme == "zarr3:" and f":{shown.port}/" in group  # one port, so that one tunnel will do
        metadata = json.loads(get(f"{group}/zarr.json"))
        assert metadata["attributes"]["ome"]["multiscales"][0]["type"] == kind
        assert json.loads(get(f"{group}/0/zarr.json"))["shape"] == list(plan.spec.shape)
        assert len(get(f"{group}/0/c/0/0/0", Range="bytes=0-9")) == 10


def test_x_and_y_come_first(shown: View) -> None:
    state = shown.state.to_json()
    assert list(state["dimensions"]) == ["x", "y", "z"] and state["layout"] == "4panel"
    names = [layer["name"] for layer in state["layers"]]
    assert names == ["image", "foreground", "mitochondria", "detections"]
    assert not state["layers"][1]["visible"]


def test_nobody_without_the_secret_gets_anything(shown: View) -> None:
    secret = shown.viewer.token
    for path in ("lists", "mesh/info", "files/image/zarr.json", ""):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{shown.url.replace(secret, '0' * len(secret))}{path}")
    with pytest.raises(urllib.error.HTTPError):
        get(f"{shown.url}files/image/../run.json")


def test_a_mesh_has_the_object_s_volume_and_place(shown: View, finished: Finished, plan: RunPlan) -> None:
    objects = read_table(RunFolder(finished.run).objects)
    at = int(np.argmax(objects["volume_nm3"]))
    label = int(objects["label"][at])
    assert json.loads(get(f"{shown.url}mesh/info"))["@type"] == "neuroglancer_legacy_mesh"
    assert json.loads(get(f"{shown.url}mesh/{label}:0"))["fragments"] == [str(label)]
    body = get(f"{shown.url}mesh/{label}")
    (count,) = struct.unpack_from("<I", body)
    vertices = np.frombuffer(body, "<f4", 3 * count, 4).reshape(-1, 3).astype(float)
    corners = vertices[np.frombuffer(body, "<u4", offset=4 + 12 * count).reshape(-1, 3)]
    volume = abs(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum()) / 6
    assert volume == pytest.approx(objects["volume_nm3"][at], rel=0.05)
    for side, reached in ((0, vertices.min(0)), (1, vertices.max(0))):
        np.testing.assert_allclose(reached, [objects[f"bbox_{a}{side}_nm"][at] for a in "xyz"], atol=1e-3)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{shown.url}mesh/99999")


def test_every_detection_is_in_one_cell(shown: View, finished: Finished) -> None:
    info = json.loads(get(f"{shown.url}detections/info"))
    (spatial,) = info["spatial"]
    found = []
    for cell in np.ndindex(*spatial["grid_shape"]):
        body = get(f"{shown.url}detections/cells/{'_'.join(map(str, cell))}")
        (count,) = struct.unpack_from("<Q", body)
        points = np.frombuffer(body, "<f4", 3 * count, 8).reshape(-1, 3)
        low = np.array(cell) * spatial["chunk_size"]
        assert ((points >= low) & (points < low + spatial["chunk_size"])).all()
        found += points.tolist()
        assert len(body) == 8 + 20 * count
    table = read_table(RunFolder(finished.run).detections)
    np.testing.assert_allclose(sorted(found), sorted(np.stack([table[a] for a in "xyz"], axis=1).tolist()), atol=1e-3)


def test_a_list_jumps_to_an_object_and_shows_its_row(shown: View, finished: Finished) -> None:
    lists = json.loads(get(f"{shown.url}lists"))
    assert [place["label"] for place in lists["largest"]] == [place["label"] for place in reversed(lists["smallest"])]
    first = lists["largest"][0]
    post(shown, "jump", **first)
    picked = post(shown, "picked")
    assert picked["objects"] == [first["label"]] and picked["position"] == pytest.approx(first["position"], abs=1e-3)
    objects = read_table(RunFolder(finished.run).objects)
    at = int(np.argmax(objects["volume_nm3"]))
    assert picked["rows"][0]["volume_nm3"] == objects["volume_nm3"][at] and picked["rows"][0]["segmenter_score"] is None
    assert list(shown.state.position)[::-1] == pytest.approx([objects[f"centroid_{a}"][at] for a in "zyx"], abs=1e-3)
    page = get(shown.url).decode()
    told = re.search(r"const shown = \{(.*?)\};", page, re.DOTALL)
    assert told and set(re.findall(r"(\w+): \[", told.group(1))) <= objects.keys()  # each line of the page has its column
    post(shown, "clear")
    assert post(shown, "picked")["rows"] == []
    with pytest.raises(urllib.error.HTTPError, match="400"):
        post(shown, "jump", label=999)


def test_lists_hold_the_worst() -> None:
    count = 1000
    rng = np.random.default_rng(0)
    objects = {
        "label": np.arange(1, count + 1, dtype=np.uint64),
        "volume_nm3": rng.random(count),
        "segmenter_score": rng.random(count),
        "mean_foreground": np.ones(count),
    }
    objects["detector_agreement"] = rng.permutation(count) / count
    objects |= {f"centroid_{a}": np.zeros(count) for a in "zyx"}
    lists = ObjectLists(objects, {}).lists()
    assert [place.text.split(": ")[1] for place in lists["low agreement"][:11]][-1] == "1% foreground"
    sure = objects["detector_agreement"] * objects["segmenter_score"]
    assert [place.label for place in lists["in doubt"][:5]] == (np.argsort(sure)[:5] + 1).tolist()
    worst = [objects["segmenter_score"][place.label - 1] for place in lists["low score"]]
    assert worst == sorted(objects["segmenter_score"])[:100]


def test_another_s_labels_are_a_layer_and_where_both_agree(plan: RunPlan, finished: Finished, stack: Stack, tmp_path: Path) -> None:
    truth = tmp_path / "truth.tif"
    write_tiff(str(truth), stack.phantom.labels.astype(np.uint16), stack.phantom.spacing)
    from mitoscale.viewer.layers import _Agreement

    own = open_labels(finished.run)
    agreement = _Agreement(own, open_labels(str(truth)))
    part = (slice(4, 9), slice(0, 128), slice(20, 90))
    found, theirs = labels_of(finished.run)[part] > 0, stack.phantom.labels[part] > 0
    np.testing.assert_array_equal(agreement[part], np.where(found & theirs, 1, np.where(found, 2, np.where(theirs, 3, 0))))
    with viewer(plan, other=open_labels(str(truth))) as view:
        assert {"other", "agreement"} <= {layer.name for layer in view.state.layers}
    write_tiff(str(tmp_path / "small.tif"), np.zeros((3, 9, 9), np.uint16), stack.phantom.spacing)
    with pytest.raises(InputError, match="is it of another"), viewer(plan, other=open_labels(str(tmp_path / "small.tif"))):
        pass


def test_behind_a_tunnel_everything_comes_from_where_the_page_did(plan: RunPlan, stack: Stack, finished: Finished) -> None:
    """Neuroglancer asks for voxels under full addresses; a tunnel from another port, or a host of another name, has its own."""
    with viewer(plan, other=open_labels(finished.run)) as view:
        own = f"http://127.0.0.1:{view.port}"
        assert own in json.dumps(view.state.to_json())
        local = re.findall('python://volume/[^"]+', json.dumps(view.state.to_json()))
        post(view, "here", origin="https://cluster.example:9000")
        told = json.dumps(view.state.to_json())
        assert own not in told and told.count("https://cluster.example:9000/mitoscale/") == 5
        assert len(local) == 2 and re.findall('python://volume/[^"]+', told) == local
        post(view, "here", origin=own)
        assert "cluster.example" not in json.dumps(view.state.to_json())
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(view, "here", origin="http://elsewhere/path|zarr3:")
        for width in (1000, 3000):  # the second page that opens does not change what the first one shows
            post(view, "size", width=width, height=800)
            assert view.state.cross_section_scale == pytest.approx(128 / (0.93 * 376))


def test_a_run_at_work_shows_what_is_done(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert mitoscale("convert", stack.image, run, *stack.exact()).code == 0
    with viewer(load(run).plan) as view:
        assert [layer.name for layer in view.state.layers] == ["image"] and not view.labels
        assert json.loads(get(f"{view.url}lists")) == {}
        assert post(view, "picked")["rows"] == []


def test_a_cleaned_run_and_a_taken_port(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    shutil.copytree(finished.run, run)
    assert mitoscale("clean", run).code == 0
    with viewer(load(run).plan) as view:
        assert "foreground" not in [layer.name for layer in view.state.layers]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(InputError, match=f"port {port} of 127.0.0.1 cannot be used .*--port"),
            viewer(load(run).plan, port=port),
        ):
            pass
    (tmp_path / "empty").mkdir()
    assert "no run folder" in mitoscale("view", str(tmp_path / "empty"), "--no-browser").err
