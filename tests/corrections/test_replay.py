"""Corrections: made and undone, written blockwise beside the labels, and refused where they make no sense."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Finished, Stack, check_refused, contents, labels_of

from mitoscale.core.edit import Edit, in_force
from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.corrections import labels as writing
from mitoscale.corrections.apply import apply_edits
from mitoscale.corrections.editor import editing
from mitoscale.corrections.replay import Corrections
from mitoscale.ops.boundaries import boundaries
from mitoscale.ops.object_table import finish_objects
from mitoscale.ops.objects import partial_objects
from mitoscale.ops.split import grown, split_mask
from mitoscale.pipeline import load
from mitoscale.storage.arrays import open_array
from mitoscale.storage.edit_log import EditLog
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.tables import read_table


@pytest.fixture
def plan(finished: Finished, tmp_path: Path) -> RunPlan:
    """A run of its own to correct."""
    shutil.copytree(finished.run, tmp_path / "run")
    return load(str(tmp_path / "run")).plan


def log_of(plan: RunPlan) -> EditLog:
    return EditLog(plan.run, plan.settings.convert.fingerprint)


def whole(plan: RunPlan) -> np.ndarray:
    """The corrected labels, written."""
    return open_array(f"{writing.corrected_labels(plan)}/0", missing="fill").read_all()


def centre(labels: np.ndarray, label: int) -> tuple[int, int, int]:
    at = np.argwhere(labels == label)
    z, y, x = at[len(at) // 2]
    return int(z), int(y), int(x)


def test_two_rooms_are_parted_at_their_door() -> None:
    mask = np.zeros((9, 20, 40), bool)
    mask[:, 2:18, 2:18] = mask[:, 2:18, 22:38] = mask[3:6, 8:12, 18:22] = True
    part = split_mask(mask, (4, 5, 5), (4, 15, 30), (5.0, 5.0, 5.0))
    assert part[:, :, 22:].sum() == mask[:, :, 22:].sum() and not part[:, :, :18].any()
    assert not part[~mask].any()


def test_a_point_near_the_edge_stands_for_its_whole_room() -> None:
    mask = np.zeros((9, 20, 40), bool)
    mask[:, 2:18, 2:18] = mask[:, 2:18, 22:38] = mask[3:6, 8:12, 18:22] = True
    part = split_mask(mask, (0, 2, 2), (8, 17, 37), (5.0, 5.0, 5.0))
    assert part[:, :, 22:].sum() == mask[:, :, 22:].sum() and not part[:, :, :18].any()


def test_a_room_without_a_door_is_halved() -> None:
    mask = np.ones((5, 11, 21), bool)
    part = split_mask(mask, (2, 5, 8), (2, 5, 12), (5.0, 5.0, 5.0))
    assert 0.4 < part.mean() < 0.6 and part[:, :, 13:].all() and not part[:, :, :8].any()


def test_what_the_foreground_doubts_is_where_it_is_cut() -> None:
    mask = np.ones((5, 10, 40), bool)  # no neck at all
    foreground = np.full(mask.shape, 255, np.uint8)
    foreground[:, :, 30] = 40
    part = split_mask(mask, (2, 5, 3), (2, 5, 37), (5.0, 5.0, 5.0), foreground)
    assert part[:, :, 31:].all() and not part[:, :, :30].any()


def test_only_free_foreground_around_a_point_is_added() -> None:
    foreground = np.zeros((3, 9, 9), np.uint8)
    foreground[:, 1:4, 1:4] = foreground[:, 6:8, 6:8] = 200
    free = np.ones(foreground.shape, bool)
    free[0] = False
    part = grown(foreground, free, (1, 2, 2), 0.5)
    assert part.sum() == 2 * 9 and not part[0].any()
    assert not grown(foreground, free, (1, 5, 5), 0.5).any()


def test_each_kind_does_what_it_says(plan: RunPlan) -> None:
    labels = labels_of(plan.run)
    with editing(plan) as editor:
        editor.merge([7, 3])
        editor.delete([5])
        editor.accept([1])
        at = np.argwhere(labels == 9)
        first, second = (tuple(int(v) for v in at[i]) for i in (0, -1))
        editor.split(9, first, second)  # type: ignore[arg-type]
    found = Corrections.of(plan, in_force(log_of(plan).read())).read(plan.region)
    expected = labels.copy()
    expected[labels == 3] = 7
    expected[labels == 5] = 0
    rest = labels != 9
    np.testing.assert_array_equal(found[rest], expected[rest])
    assert set(np.unique(found[labels == 9])) == {9, 10}
    assert found[first] == 9 and found[second] == 10
    lines = [json.loads(line) for line in (Path(plan.run) / "edits.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["merge", "delete", "accept", "split"]
    assert all(line["who"] and line["time"] for line in lines)
    spacing = plan.spec.spacing
    assert lines[3]["points_nm"] == [[v * s for v, s in zip(point, spacing, strict=True)] for point in (first, second)]


def test_what_is_deleted_can_be_added_again_and_everything_undone(plan: RunPlan) -> None:
    labels = labels_of(plan.run)
    with editing(plan) as editor:
        editor.delete([4])
        editor.add(centre(labels, 4))
        added = editor.corrected.read(plan.region)
        np.testing.assert_array_equal(added == 10, labels == 4)
        deletion = editor.log.read()[0].id
        editor.undo()
        np.testing.assert_array_equal(editor.corrected.read(plan.region), np.where(labels == 4, 0, labels))
        editor.undo(deletion)
        np.testing.assert_array_equal(editor.corrected.read(plan.region), labels)
        with pytest.raises(InputError, match="no correction to take back"):
            editor.undo()
    assert len(log_of(plan).read()) == 4  # nothing is ever removed


def test_tables_are_those_of_the_corrected_labels(plan: RunPlan, stack: Stack) -> None:
    with editing(plan) as editor:
        editor.merge([2, 8])
        editor.delete([6])
        editor.accept([1, 2])
    done = apply_edits(plan, "labels")
    labels = whole(plan)
    region = Region.of_shape(labels.shape)  # type: ignore[arg-type]
    foreground = open_array(RunFolder(plan.run).foreground).read_all()
    sums = partial_objects(labels, stack.phantom.image, foreground, core=region)
    expected = finish_objects(sums, boundaries(labels, core=region, read=region), plan.spec.spacing, region)
    table = read_table(done.table.replace(".csv", ".parquet"))
    for name, values in expected.items():
        if not name.startswith("segmenter_"):
            np.testing.assert_allclose(table[name], values, rtol=1e-9, err_msg=name)
    assert table["label"][table["accepted"]].tolist() == [1, 2]
    assert len(Path(done.table).read_text().splitlines()) == len(expected["label"]) + 1


def test_blocks_that_did_not_change_are_the_same_files(plan: RunPlan) -> None:
    before = contents(plan.labels)
    with editing(plan) as editor:
        label = int(np.argmin(np.bincount(labels_of(plan.run).ravel())[1:])) + 1
        editor.delete([label])
    done = apply_edits(plan, "labels")
    final = Path(writing.corrected_labels(plan))
    shards = [file for file in final.rglob("*") if file.is_file() and file.name != "zarr.json"]
    linked = [file for file in shards if os.stat(file).st_nlink > 1]
    assert 0 < done.blocks < 8 and len(shards) - len(linked) == done.blocks * len(plan.spec.factors)
    assert contents(plan.labels) == before
    assert open_reader(str(final), labels=True).spacing == plan.spec.spacing
    assert json.loads((final.parent / "zarr.json").read_text())["attributes"]["ome"]["labels"] == [
        "mitochondria",
        "mitochondria_corrected",
    ]
    assert apply_edits(plan, "labels").blocks == 0  # it is there
    assert apply_edits(plan, "labels done again").blocks == done.blocks


def test_a_killed_apply_leaves_the_earlier_one(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    with editing(plan) as editor:
        editor.delete([1])
    apply_edits(plan, "labels")
    earlier = whole(plan)
    with editing(plan) as editor:
        editor.delete([2])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "open_array", full)
        with pytest.raises(StoppedError, match="No space left"):
            apply_edits(plan, "labels")
    np.testing.assert_array_equal(whole(plan), earlier)
    (Path(plan.labels).parent / ".mitochondria_corrected.killed").mkdir()  # what SIGKILL leaves
    apply_edits(plan, "labels")
    assert not (whole(plan) == 2).any()
    assert not list(Path(plan.labels).parent.glob(".mitochondria_corrected*"))


def test_half_a_line_is_passed_over_and_a_damaged_one_refused(plan: RunPlan) -> None:
    with editing(plan) as editor:
        editor.delete([1])
    path = Path(plan.run) / "edits.jsonl"
    line = path.read_text()
    path.write_text(line + line[: len(line) // 2])  # killed while writing
    assert len(log_of(plan).read()) == 1
    with editing(plan) as editor:
        editor.delete([2])
    assert [edit.kind for edit in log_of(plan).read()] == ["delete", "delete"]
    path.write_text("{}\n" + line)
    with pytest.raises(InputError, match="line 1 is no correction"):
        log_of(plan).read()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["merge", "1", "99"], "there is no object 99"),
        (["merge", "1", "1"], "two objects or more"),
        (["delete", "1", "2", "50"], "there is no object 50"),
        (["add", "--at", "99,0,0"], "is not within"),
        (["undo", "abc"], "no correction to take back"),
    ],
)
def test_what_cannot_be_is_refused(mitoscale: Call, plan: RunPlan, words: list[str], said: str) -> None:
    check_refused(mitoscale, Path(plan.run), ["edit", plan.run, *words], said)


def test_points_must_lie_where_they_are_said_to(plan: RunPlan) -> None:
    labels = labels_of(plan.run)
    with editing(plan) as editor:
        with pytest.raises(InputError, match=r"object 2 lies at .*, not 1"):
            editor.split(1, centre(labels, 1), centre(labels, 2))
        with pytest.raises(InputError, match="one in each part"):
            editor.split(1, centre(labels, 1), centre(labels, 1))
        with pytest.raises(InputError, match="object 3 lies at"):
            editor.add(centre(labels, 3))
        empty = np.argwhere(labels == 0)[0]
        with pytest.raises(InputError, match="there is no foreground"):
            editor.add((int(empty[0]), int(empty[1]), int(empty[2])))
    assert not log_of(plan).path.exists()


def test_an_object_that_is_gone_cannot_be_corrected_again(plan: RunPlan) -> None:
    with editing(plan) as editor:
        editor.delete([3])
        with pytest.raises(InputError, match="there is no object 3"):
            editor.merge([1, 3])


def test_corrections_of_another_volume_are_refused(mitoscale: Call, plan: RunPlan) -> None:
    with editing(plan) as editor:
        editor.delete([3])
    path = Path(plan.run) / "edits.jsonl"
    foreign = Edit.model_validate_json(path.read_text()).model_copy(update={"volume": "another"})
    path.write_text(foreign.model_dump_json() + "\n")
    for words in (["apply", plan.run], ["edit", plan.run, "delete", "1"], ["edit", plan.run, "list"]):
        ended = mitoscale(*words)
        assert ended.code == 1 and "made on another volume" in ended.err


def test_the_second_editor_is_told(plan: RunPlan, mitoscale: Call) -> None:
    with editing(plan):
        ended = mitoscale("edit", plan.run, "delete", "1")
    assert ended.code == 1 and "somebody else is correcting" in ended.err
    assert mitoscale("edit", plan.run, "delete", "1").code == 0


def test_a_read_only_run_says_why_not(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.storage.edit_log.os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match="is read-only: it can be looked at"), editing(plan):
        pass


def test_a_run_without_labels_or_corrections(mitoscale: Call, stack: Stack, plan: RunPlan, tmp_path: Path) -> None:
    nothing = mitoscale("apply", plan.run)
    assert nothing.code == 1 and "has no corrections" in nothing.err
    run = str(tmp_path / "new")
    assert mitoscale("convert", stack.image, run, *stack.exact()).code == 0
    for words in (["edit", run, "delete", "1"], ["apply", run]):
        assert "no finished labels" in mitoscale(*words).err


def test_an_edit_finds_its_object_by_place(plan: RunPlan) -> None:
    with editing(plan) as editor:
        deleted = editor.delete([4])
    renumbered = deleted.model_copy(update={"objects": (deleted.objects[0].model_copy(update={"label": 1000}),)})
    made = Corrections.of(plan, [renumbered])
    assert not made.unfit and made.touched == {4}
    grown_up = deleted.objects[0].model_copy(update={"voxels": deleted.objects[0].voxels // 10})
    unfit = Corrections.of(plan, [deleted.model_copy(update={"objects": (grown_up,)})]).unfit
    assert len(unfit) == 1 and "not about" in unfit[0].unfit


def test_corrected_labels_are_exported(mitoscale: Call, plan: RunPlan, tmp_path: Path) -> None:
    import tifffile

    assert mitoscale("edit", plan.run, "delete", "4").code == 0
    ended = mitoscale("export", plan.run, "--to", str(tmp_path / "x.tif"), "--edits")
    assert ended.code == 1 and "start mitoscale apply" in ended.err
    assert mitoscale("apply", plan.run).code == 0
    for name in ("x.tif", "x.csv"):
        assert mitoscale("export", plan.run, "--to", str(tmp_path / name), "--edits").code == 0
    labels = labels_of(plan.run)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x.tif"), np.where(labels == 4, 0, labels))
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 9
    assert mitoscale("export", plan.run, "--to", str(tmp_path / "own.csv")).code == 0
    assert len((tmp_path / "own.csv").read_text().splitlines()) == 10
