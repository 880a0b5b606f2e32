"""A whole run: everything is there, and what is found is what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import BLOCK, SHAPE, Call, Finished, Stack, labels_of, renamed

from mitoscale.core.geometry import Region
from mitoscale.evaluation.evaluate import score
from mitoscale.ops.boundaries import boundaries
from mitoscale.ops.object_table import finish_objects
from mitoscale.ops.objects import partial_objects
from mitoscale.pipeline import load
from mitoscale.storage.layout import RunFolder, read_json
from mitoscale.storage.tables import read_table


def test_everything_is_there(finished: Finished) -> None:
    folder = RunFolder(finished.run)
    for path in (
        folder.run_json,
        folder.detections,
        folder.objects,
        folder.objects_csv,
        folder.edges_table,
        folder.report,
    ):
        assert Path(path).stat().st_size > 0, path
    assert len(list(Path(folder.pictures).glob("*.png"))) >= 5  # three slices, two cuts
    assert labels_of(finished.run).shape == SHAPE


def test_summary_tells_objects_time_speed_and_place(finished: Finished, stack: Stack) -> None:
    lines = {line.split()[0]: line for line in finished.ended.out.splitlines()}
    assert int(lines["objects"].split()[1].rstrip(",")) == int(stack.phantom.labels.max())
    assert " s, " in lines["time"] and "Mvoxel/s" in lines["time"]
    assert lines["labels"].endswith(RunFolder(finished.run).labels)
    assert lines["table"].endswith("objects.csv") and lines["report"].endswith("report.html")
    assert "masks" not in lines  # a 3D model is not asked for profiles
    assert "dashboard" in finished.ended.err


def test_known_truth_comes_back_whole(finished: Finished, stack: Stack) -> None:
    assert np.array_equal(renamed(labels_of(finished.run)), renamed(stack.phantom.labels))


def test_objects_table_measures_the_truth(finished: Finished, stack: Stack) -> None:
    """What blocks have summed and finish has merged is what the whole volume gives."""
    labels, image = labels_of(finished.run), stack.phantom.image
    region = Region.of_shape(SHAPE)
    plan = load(finished.run).plan
    foreground = np.where(stack.phantom.labels > 0, 255, 0).astype(np.uint8)
    inside, voxels = np.unique(labels[labels > 0], return_counts=True)
    claims = {"label": inside, "own_voxels": voxels, "changed_voxels": voxels, "score_sum": np.full(len(inside), np.nan)}
    sums = partial_objects(labels, image, foreground, claims, core=region)
    met = boundaries(labels, core=region, read=region)
    expected = finish_objects(sums, met, plan.spec.spacing, region)
    table = read_table(RunFolder(finished.run).objects)
    assert list(table) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(table[name], values, err_msg=name)
    assert table["label"].tolist() == list(range(1, int(stack.phantom.labels.max()) + 1))
    assert table["mean_foreground"] == pytest.approx(1.0) and table["detector_agreement"] == pytest.approx(1.0)
    assert table["segmenter_changed"] == pytest.approx(1.0) and np.isnan(table["segmenter_score"]).all()
    contacts = read_table(RunFolder(finished.run).contacts)
    assert 2 * len(contacts["label"]) == table["contacts"].sum()


def test_detections_lie_on_objects(finished: Finished, stack: Stack) -> None:
    found = read_table(RunFolder(finished.run).detections)
    assert len(found["z"]) > SHAPE[0]
    inside = stack.phantom.labels[found["z"], np.rint(found["y"]).astype(int), np.rint(found["x"]).astype(int)]
    assert (inside > 0).all()


def test_run_json_keeps_settings_and_provenance(finished: Finished, stack: Stack) -> None:
    content = read_json(RunFolder(finished.run).run_json)
    assert content["plan"]["settings"]["convert"]["source"] == stack.image
    assert content["plan"]["settings"]["convert"]["core"] == list(BLOCK)
    assert content["plan"]["settings"]["detect"]["options"] == {"truth": stack.truth}
    assert content["provenance"]["version"]


def test_ledgers_name_each_task_once(finished: Finished) -> None:
    expected = {"convert": 4, "detect": 8, "segment": 8, "stitch": 12, "relabel": 8, "measure": 8, "report": 0}
    for stage, tasks in expected.items():
        lines = Path(RunFolder(finished.run).ledger(stage)).read_text().splitlines()
        names = [json.loads(line)["name"] for line in lines]
        assert len(set(names)) == len(names) == tasks + 1, stage
        assert names[-1] == "finished"


def test_a_ledger_is_read_by_each_stage_that_needs_it_and_no_more(finished: Finished) -> None:
    """Each stage reads its own at its end and those of its sources, coarser levels once more, and the report six."""
    assert 20 < finished.ledger_scans <= 30


def test_watershed_of_known_foreground_finds_the_objects(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    ended = mitoscale("run", stack.image, str(tmp_path / "run"), *stack.oracle())
    assert ended.code == 0, ended.err
    scores = score(labels_of(str(tmp_path / "run")), stack.phantom.labels)
    assert scores["foreground"]["iou"] > 0.98
    assert scores["objects_3d"]["f1_50"] > 0.85
    assert "masks" not in ended.out  # the watershed's alone: there is no share to tell
    assert "watershed (--segmenter unet)" in (tmp_path / "run" / "report.html").read_text()


def test_masks_of_slices_are_linked_to_the_objects(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    options = [*stack.oracle(), "--segmenter", "known_truth:masks", "--segmenter-option", f"truth={stack.truth}"]
    ended = mitoscale("run", stack.image, str(tmp_path / "run"), *options)
    assert ended.code == 0, ended.err
    scores = score(labels_of(str(tmp_path / "run")), stack.phantom.labels)
    assert scores["foreground"]["iou"] > 0.98
    assert scores["objects_3d"]["f1_50"] > 0.85
    table = read_table(RunFolder(str(tmp_path / "run")).objects)
    assert table["segmenter_score"] == pytest.approx(1.0)  # the known masks' own
    line = next(x for x in ended.out.splitlines() if x.startswith("masks"))
    share, asked, of = float(line.split()[1].rstrip("%")), *(int(line.split()[i]) for i in (11, 13))
    assert 0 < share < 50 and asked == of > 0  # what the watershed had fused is parted; anyone's own segmenter is asked for all


def test_stages_one_by_one_are_the_whole_run(mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path) -> None:
    run, options = str(tmp_path / "run"), stack.exact()
    assert mitoscale("convert", stack.image, run, *options).code == 0
    too_early = mitoscale("stitch", run)
    assert too_early.code == 1 and "detect is not done" in too_early.err
    for stage in ("detect", "segment", "stitch", "relabel", "measure", "report"):
        ended = mitoscale(stage, run)
        assert ended.code == 0, ended.err
    assert np.array_equal(labels_of(run), labels_of(finished.run))
    assert Path(run, "report.html").is_file()


def test_small_objects_are_dropped(mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path) -> None:
    volumes = np.sort(np.bincount(stack.phantom.labels.ravel())[1:]) * 1000.0
    least = (volumes[2] + volumes[3]) / 2
    run = str(tmp_path / "run")
    ended = mitoscale("run", stack.image, run, *stack.exact(), "--min-volume", str(least))
    assert ended.code == 0, ended.err
    table = read_table(RunFolder(run).objects)
    assert len(table["label"]) == len(volumes) - 3
    assert sorted(np.unique(labels_of(run)).tolist()) == list(range(len(volumes) - 2))
    said = f"3 of {len(volumes)} objects are smaller than --min-volume {least:g} nm^3 and were dropped"
    assert f"dropped    {said}" in ended.out and said in Path(run, "report.html").read_text()
    assert "dropped  " not in finished.ended.out
    ended = mitoscale("relabel", run, "--redo", "relabel", "--min-volume", "1e9")
    assert f"the largest has {volumes[-1]:.3g} nm^3: keep it with --min-volume {0.9 * volumes[-1]:.2g} --redo relabel" in ended.out


def test_a_thin_part_keeps_what_is_large_in_its_slices(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    """One slice of objects that are large in it: most are below the default volume, and none below the default area."""
    areas = np.unique(stack.phantom.labels[15], return_counts=True)[1][1:] * 100.0
    assert (areas * 10 < 1e6).sum() > 3 and areas.min() > 1e4
    run = str(tmp_path / "run")
    ended = mitoscale("run", stack.image, run, *stack.exact(), "--region", "15:16,:,:")
    assert ended.code == 0, ended.err
    assert len(read_table(RunFolder(run).objects)["label"]) == len(areas)
    ended = mitoscale("relabel", run, "--redo", "relabel", "--min-volume", "1e6")
    assert f"{(areas * 10 < 1e6).sum()} of {len(areas)} objects are smaller than --min-volume 1e+06 nm^3" in ended.out


def test_no_object_at_all_is_a_result_too(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    empty = tmp_path / "nothing.npy"
    np.save(empty, np.zeros(SHAPE, np.uint32))
    options = [o.replace(stack.truth, str(empty)) for o in stack.exact()]
    ended = mitoscale("run", stack.image, str(tmp_path / "run"), *options)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("objects    0,")
    assert not labels_of(str(tmp_path / "run")).any()
    said = "known_truth:detector saw nothing from --threshold 0.5 on: is the voxel size right (10,10,10 nm)"
    assert f"dropped    {said}" in ended.out and said in (tmp_path / "run" / "report.html").read_text()


def test_float_volume_runs(mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "float.tif", stack.phantom.image.astype(np.float32) / 300 - 0.2, photometric="minisblack")
    ended = mitoscale("run", str(tmp_path / "float.tif"), str(tmp_path / "run"), "--voxel-size", "10,10,10", *stack.exact())
    assert ended.code == 0, ended.err
    assert np.array_equal(labels_of(str(tmp_path / "run")), labels_of(finished.run))
