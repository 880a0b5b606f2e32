"""Corrections by the viewer's buttons: selected objects and marks become edits, and the corrected labels are what is shown."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import Finished, labels_of

from mitoscale.core.drawing import Drawing
from mitoscale.corrections.editor import editing
from mitoscale.pipeline import load
from mitoscale.storage.edit_log import EditLog
from mitoscale.viewer.view import View, viewer

pytest.importorskip("neuroglancer", reason="neuroglancer is not installed: pip install 'mitoscale[view]'")


@pytest.fixture
def shown(finished: Finished, tmp_path: Path) -> Iterator[View]:
    shutil.copytree(finished.run, tmp_path / "run")
    with viewer(load(str(tmp_path / "run")).plan) as view:
        yield view


def post(shown: View, command: str, **content: Any) -> dict[str, Any]:
    request = urllib.request.Request(f"{shown.url}do/{command}", data=json.dumps(content).encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        found = json.loads(error.read())
    return found


def mark(shown: View, voxel: np.ndarray) -> None:
    """Press m over a voxel (z, y, x)."""
    z, y, x = (float(v) + 0.3 for v in voxel)
    shown.viewer.actions.invoke("mitoscale-mark", {"mousePosition": [x, y, z]})


def test_buttons_correct_what_is_selected_and_marked(shown: View, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    labels = labels_of(run)
    assert "corrected" not in [layer.name for layer in shown.state.layers]
    assert "delete 4" in post(shown, "edit", kind="delete", objects=[4])["said"]
    names = {layer.name: layer for layer in shown.state.layers}
    assert "corrected" in names and not names["mitochondria"].visible  # it stands in for the run's own
    assert "merge 2 7" in post(shown, "edit", kind="merge", objects=[2, 7])["said"]
    at = np.argwhere(labels == 9)
    mark(shown, at[0])
    assert "press m" in post(shown, "edit", kind="split")["error"]
    mark(shown, at[-1])
    assert post(shown, "edits")["marks"] == [at[0].tolist(), at[-1].tolist()]
    assert "new object 10" in post(shown, "edit", kind="split")["said"]
    mark(shown, at[len(at) // 2])
    assert "already" in post(shown, "edit", kind="add")["error"]
    assert [edit.kind for edit in EditLog(run, load(run).plan.settings.convert.fingerprint).read()] == ["delete", "merge", "split"]
    post(shown, "jump", label=2, position=[1, 2, 3])
    assert post(shown, "picked")["rows"][0]["label"] == 2
    lists = json.loads(urllib.request.urlopen(f"{shown.url}lists", timeout=60).read())
    assert [place["label"] for place in lists["corrected"]] == [10, 9, 2]
    assert not {2, 4, 7, 9} & {place["label"] for place in lists["largest"]}, "what a correction changed is not as the table says"
    mesh = urllib.request.urlopen(f"{shown.url}mesh_corrected/10", timeout=60).read()
    assert len(mesh) > 1000
    post(shown, "edit", kind="undo")
    assert [line["done"] for line in post(shown, "edits")["edits"]] == ["merge 2 7", "delete 4"]


def test_a_click_or_a_box_is_drawn(shown: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def drawn(plan: Any, pen: Any, point: Any, box: Any, slices: int) -> Drawing:
        asked.append((point, box, slices))
        return Drawing.of(np.ones((1, 2, 2), bool), point, plan.spec.spacing, model="oracle", scores=[0.9])

    monkeypatch.setattr("mitoscale.corrections.drawing.SamPen", lambda plan: None)
    monkeypatch.setattr("mitoscale.corrections.drawing.drawn", drawn)
    free = np.argwhere(labels_of(str(tmp_path / "run"))[3] == 0)
    (y0, x0), (y1, x1) = free[0], free[0] + 4
    assert "press m" in post(shown, "edit", kind="draw")["error"]
    mark(shown, np.array([3, y0, x0]))
    assert "new object 10" in post(shown, "edit", kind="draw", slices=7)["said"]
    for corner in ((3, y1, x0 + 2), (3, y0 + 2, x1)):
        mark(shown, np.array(corner))
    assert "draw" in post(shown, "edit", kind="draw")["said"]
    assert asked == [((3, y0, x0), None, 7), ((3, y0 + 3, x0 + 3), (y0 + 2, x0 + 2, y1 + 1, x1 + 1), 64)]
    mark(shown, np.array([3, 1, 1]))
    post(shown, "edit", kind="unmark")
    assert post(shown, "edits")["marks"] == []


def test_what_is_shown_is_what_is_corrected(shown: View, tmp_path: Path) -> None:
    from mitoscale.viewer.editing import _Now

    post(shown, "edit", kind="delete", objects=[4])
    labels = labels_of(str(tmp_path / "run"))
    with editing(load(str(tmp_path / "run")).plan) as editor:
        now = _Now(SimpleNamespace(corrected=editor.corrected))  # type: ignore[arg-type]
        part = now[slice(0, 20), slice(10, 100), slice(0, 128)]
    np.testing.assert_array_equal(part, np.where(labels == 4, 0, labels)[:20, 10:100])


def test_what_cannot_be_is_said_in_the_page(shown: View, tmp_path: Path) -> None:
    for content, said in (
        ({"kind": "merge", "objects": []}, "select objects first"),
        ({"kind": "merge", "objects": [1, 99]}, "no object 99"),
        ({"kind": "paint"}, "no correction paint"),
        ({"kind": "undo"}, "no correction to take back"),
    ):
        assert said in post(shown, "edit", **content)["error"]
    with editing(load(str(tmp_path / "run")).plan):
        assert "somebody else is correcting" in post(shown, "edit", kind="delete", objects=[1])["error"]
