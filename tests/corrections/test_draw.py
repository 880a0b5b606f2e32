"""Drawing: a click becomes an object that is followed through the slices, kept as a mask, undone, replayed and applied."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Finished, labels_of

from mitoscale.core.drawing import Drawing
from mitoscale.core.edit import in_force
from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.drawing import SamPen, drawn
from mitoscale.corrections.editor import editing
from mitoscale.corrections.labels import corrected_labels
from mitoscale.corrections.replay import Corrections
from mitoscale.ops.follow_slices import Box, SliceMask, follow, overlap, stacked
from mitoscale.pipeline import load
from mitoscale.storage.arrays import open_array
from mitoscale.storage.edit_log import EditLog
from mitoscale.storage.sources.kinds import open_reader


class Pen:
    """Stands in for SAM: sees the objects of a volume it knows, except in one slice."""

    name = "oracle"

    def __init__(self, truth: np.ndarray, blind: int = -1) -> None:
        self.truth, self.blind = truth, blind

    def click(self, z: int, point: tuple[int, int]) -> SliceMask | None:
        return self._object(z, int(self.truth[z, point[0], point[1]]))

    def box(self, z: int, point: tuple[float, float], box: Box) -> SliceMask | None:
        return self._object(z, int(self.truth[z, round(point[0]), round(point[1])]))

    def _object(self, z: int, label: int) -> SliceMask | None:
        at = np.argwhere(self.truth[z] == label)
        if not label or not len(at):
            return None
        (y0, x0), (y1, x1) = at.min(0), at.max(0) + 1
        mask = self.truth[z, y0:y1, x0:x1] == label
        return SliceMask(z=z, y0=int(y0), x0=int(x0), mask=mask, score=0.2 if z == self.blind else 0.9)


@pytest.fixture
def plan(finished: Finished, tmp_path: Path) -> RunPlan:
    """A run of its own to correct."""
    shutil.copytree(finished.run, tmp_path / "run")
    return load(str(tmp_path / "run")).plan


@pytest.fixture
def largest(finished: Finished) -> tuple[int, tuple[int, int, int]]:
    """An object, and a voxel in its middle slice."""
    labels = labels_of(finished.run)
    label = int(np.argmax(np.bincount(labels.ravel())[1:]) + 1)
    zs = np.flatnonzero((labels == label).any(axis=(1, 2)))
    z = int(zs[len(zs) // 2])
    at = np.argwhere(labels[z] == label)
    return label, (z, *map(int, at[len(at) // 2]))  # type: ignore[return-value]


def pen(monkeypatch: pytest.MonkeyPatch, truth: np.ndarray, blind: int = -1) -> None:
    monkeypatch.setattr("mitoscale.corrections.drawing.SamPen", lambda plan: Pen(truth, blind))


def test_following_ends_at_low_scores_and_at_another_object() -> None:
    def disc(z: int, x0: int, score: float = 0.9) -> SliceMask:
        return SliceMask(z=z, y0=3, x0=x0, mask=np.ones((4, 6), bool), score=score)

    def answers(*masks: SliceMask | None) -> list[int]:
        given = iter(masks)
        found = follow(lambda z, point, box: next(given), disc(0, 5), range(1, 9), least_score=0.5, least_overlap=0.5)
        return [one.z for one in found]

    assert answers(disc(1, 6), disc(2, 7), None) == [1, 2]
    assert answers(disc(1, 6), disc(2, 7, score=0.49)) == [1]
    assert answers(disc(1, 8)) == []  # IoU 3 / 9
    assert overlap(disc(0, 5), disc(0, 8)) == pytest.approx(1 / 3) and overlap(disc(0, 5), disc(0, 11)) == 0
    region, mask = stacked([disc(2, 7), disc(3, 5)])
    assert str(region) == "2:4,3:7,5:13" and mask.sum() == 48 and not mask[0, :, :2].any()


def test_what_was_removed_is_drawn_again_and_applied(
    mitoscale: Call, plan: RunPlan, largest: tuple[int, tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    label, voxel = largest
    truth = labels_of(plan.run)
    pen(monkeypatch, truth)
    at = ",".join(map(str, voxel))
    refused = mitoscale("edit", plan.run, "draw", "--at", at)
    assert refused.code == 1 and f"object {label} lies at {at} already" in refused.err
    assert mitoscale("edit", plan.run, "delete", str(label)).code == 0
    ended = mitoscale("edit", plan.run, "draw", "--at", at, "--slices", "99")
    slices = np.count_nonzero((truth == label).any(axis=(1, 2)))
    assert ended.code == 0 and f"by oracle in {slices} slices" in ended.out and "new        object 10" in ended.out, ended.err
    line = json.loads(Path(plan.run, "edits.jsonl").read_text().splitlines()[-1])
    assert line["points_nm"] == [[v * 10.0 for v in voxel]] and line["drawing"]["model"] == "oracle" and line["who"]
    assert mitoscale("apply", plan.run).code == 0
    found = open_array(f"{corrected_labels(plan)}/0", missing="fill").read_all()
    np.testing.assert_array_equal(found, np.where(truth == label, 10, truth))
    assert mitoscale("edit", plan.run, "undo").code == 0
    assert mitoscale("apply", plan.run).code == 0
    found = open_array(f"{corrected_labels(plan)}/0", missing="fill").read_all()
    np.testing.assert_array_equal(found, np.where(truth == label, 0, truth))


def test_a_drawing_is_replayed_on_other_labels_without_asking_again(
    plan: RunPlan, largest: tuple[int, tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    label, voxel = largest
    truth = labels_of(plan.run)
    pen(monkeypatch, truth, blind=voxel[0] + 2)
    with editing(plan) as editor:
        editor.delete([label])
        made = editor.draw(voxel)
        assert made.drawing is not None and made.drawing.region.stop[0] == voxel[0] + 2, "it ends where the score is low"
        with pytest.raises(InputError, match="object 10 lies at"):
            editor.draw(voxel)
    monkeypatch.setattr("mitoscale.corrections.drawing.SamPen", None)
    drawing = next(edit for edit in EditLog(plan.run, plan.settings.convert.fingerprint).read() if edit.kind == "draw")
    as_it_was = Corrections.of(plan, [drawing])  # the object is there, as after --redo with other settings
    assert as_it_was.applied[0].changes == () and not as_it_was.unfit
    part = truth.copy()  # most of the object is gone
    x = np.nonzero(truth == label)[2]
    part[:, :, : int(np.quantile(x, 0.8))][part[:, :, : int(np.quantile(x, 0.8))] == label] = 0
    array = open_array(f"{plan.labels}/0")
    for block in plan.grid.blocks():
        array.write(block.core, part[block.core.slices])
    assert drawing.drawing is not None
    expected = part.copy()
    expected[drawing.drawing.region.slices][drawing.drawing.mask() & (part[drawing.drawing.region.slices] == 0)] = 10
    assert 0 < (expected == 10).sum() < drawing.drawing.mask().sum()
    np.testing.assert_array_equal(Corrections.of(plan, [drawing]).read(plan.region), expected)


def test_a_drawing_of_other_voxels_does_not_fit(plan: RunPlan) -> None:
    small = Drawing.of(np.ones((1, 2, 2), bool), (1, 1, 1), (5.0, 5.0, 5.0), model="x", scores=[1.0])
    far = Drawing.of(np.ones((1, 2, 2), bool), (999, 1, 1), plan.spec.spacing, model="x", scores=[1.0])
    with editing(plan) as editor:
        for drawing, said in ((small, "voxels of 5,5,5 nm"), (far, "outside of what this run works on")):
            edit = editor._edit("draw", drawing=drawing)
            assert said in Corrections.of(plan, [edit]).unfit[0].unfit


def test_what_cannot_be_drawn_is_said(
    plan: RunPlan, largest: tuple[int, tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    label, voxel = largest
    truth = labels_of(plan.run)
    free = tuple(int(v) for v in np.argwhere(truth[voxel[0]] == 0)[0])
    pen(monkeypatch, truth, blind=voxel[0])
    with editing(plan) as editor:
        with pytest.raises(InputError, match="oracle sees nothing at"):
            editor.draw((voxel[0], *free))  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"is not in the box 0,0,2,2"):
            editor.draw(voxel, (0, 0, 2, 2))
        with pytest.raises(InputError, match=r"box 9,9,2,2 \(y0,x0,y1,x1\) is empty"):
            editor.draw(voxel, (9, 9, 2, 2))
        with pytest.raises(InputError, match="is not within"):
            editor.draw((999, 1, 1))
        editor.delete([label])
        with pytest.raises(InputError, match=r"scores what it sees at .* 0\.20, below 0\.5"):
            editor.draw(voxel)
        with pytest.raises(InputError, match=r"below 0\.5; try a tighter box, or another slice"):
            editor.draw(voxel, (voxel[1] - 1, voxel[2] - 1, voxel[1] + 2, voxel[2] + 2))
        other = next(int(n) for n in editor.corrected.tables.objects["label"] if n != label)
        assert len(editor.accept([other, other]).objects) == 1
    assert [e.kind for e in in_force(EditLog(plan.run, plan.settings.convert.fingerprint).read())] == ["delete", "accept"]


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MITOSCALE_TEST_DATA"), reason="MITOSCALE_TEST_DATA is not set")
def test_the_embedded_sam_draws_a_real_mitochondrion(mitoscale: Call, tmp_path: Path) -> None:
    data = Path(os.environ["MITOSCALE_TEST_DATA"], "epfl")
    part = "146:154,256:416,448:640"
    ended = mitoscale(
        "convert", str(data / "training.tif"), str(tmp_path / "run"), "--voxel-size", "5,5,5", "--region", part, "--workers", "1"
    )
    assert ended.code == 0, ended.err
    plan = load(str(tmp_path / "run")).plan
    found = drawn(plan, SamPen(plan), (150, 337, 538))
    truth = open_reader(str(data / "training_groundtruth.tif"), labels=True).read(plan.region) > 0
    mask = np.zeros(truth.shape, bool)
    mask[found.region.within(plan.region)] = found.mask()
    own = truth[:, 30:140, 20:160]  # no other one is near
    assert found.shape[0] == 8 and (mask & truth).sum() / (mask[:, 30:140, 20:160] | own).sum() > 0.8
