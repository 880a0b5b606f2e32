"""``mitoscale evaluate``: its keys and its values where they are known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from commands import Call, Finished, Stack, begin, finish

FOREGROUND = {"iou", "dice", "accuracy", "precision", "recall"}
OBJECTS = {"f1_50", "f1_75", "sa50", "sa75", "msa", "pq", "tp50", "fp50", "fn50", "n_pred", "n_true"}


def saved(path: Path, labels: np.ndarray) -> str:
    if path.suffix == ".tif":
        tifffile.imwrite(path, labels, photometric="minisblack")
    else:
        zarr.create_array(str(path), data=labels, chunks=(2, 8, 8))
    return str(path)


def scores_of(mitoscale: Call, *arguments: str) -> dict[str, Any]:
    ended = mitoscale("evaluate", *arguments, "--json")
    assert ended.code == 0 and not ended.err, ended.err
    assert len(ended.out.splitlines()) == 1
    scores: dict[str, Any] = json.loads(ended.out)
    assert set(scores) == {"foreground", "objects_3d", "objects_2d", "voi_split", "voi_merge", "arand"}
    assert set(scores["foreground"]) == FOREGROUND
    assert set(scores["objects_3d"]) == set(scores["objects_2d"]) == OBJECTS
    return scores


@pytest.fixture
def truth() -> np.ndarray:
    """Two boxes of 4 x 4 x 4 that are far apart."""
    labels = np.zeros((6, 16, 16), np.uint16)
    labels[0:4, 0:4, 0:4] = 1
    labels[0:4, 8:12, 8:12] = 2
    return labels


def test_same_labels_score_best(mitoscale: Call, truth: np.ndarray, tmp_path: Path) -> None:
    path = saved(tmp_path / "t.tif", truth)
    scores = scores_of(mitoscale, path, path)
    assert all(value == 1 for value in scores["foreground"].values())
    for key, count in (("objects_3d", 2), ("objects_2d", 8)):
        assert all(scores[key][name] == 1 for name in ("f1_50", "f1_75", "sa50", "sa75", "msa", "pq"))
        assert (scores[key]["tp50"], scores[key]["n_pred"], scores[key]["n_true"]) == (count, count, count)
    assert scores["voi_split"] == scores["voi_merge"] == scores["arand"] == pytest.approx(0)


def test_known_difference(mitoscale: Call, truth: np.ndarray, tmp_path: Path) -> None:
    """One box cut by a quarter (IoU 0.75), the other not found, and one of 8 voxels that is not there."""
    prediction = np.zeros_like(truth)
    prediction[0:3, 0:4, 0:4] = 5
    prediction[4:6, 0:2, 12:14] = 6
    scores = scores_of(mitoscale, saved(tmp_path / "p.zarr", prediction), saved(tmp_path / "t.tif", truth))
    assert scores["foreground"]["iou"] == pytest.approx(48 / (128 + 8))
    assert scores["foreground"]["dice"] == pytest.approx(2 * 48 / (128 + 56))
    assert scores["foreground"]["precision"] == pytest.approx(48 / 56)
    assert scores["foreground"]["recall"] == pytest.approx(48 / 128)
    assert scores["foreground"]["accuracy"] == pytest.approx(1 - (80 + 8) / truth.size)
    in_3d, in_2d = scores["objects_3d"], scores["objects_2d"]
    assert (in_3d["tp50"], in_3d["fp50"], in_3d["fn50"], in_3d["n_pred"], in_3d["n_true"]) == (1, 1, 1, 2, 2)
    assert in_3d["f1_50"] == pytest.approx(0.5) and in_3d["sa50"] == pytest.approx(1 / 3)
    assert in_3d["pq"] == pytest.approx(0.75 / 2)
    assert (in_2d["tp50"], in_2d["fp50"], in_2d["fn50"]) == (3, 2, 5)
    assert in_2d["sa75"] == pytest.approx(3 / 10) and in_2d["msa"] == pytest.approx(3 / 10)


def test_two_valued_truth_becomes_instances(mitoscale: Call, truth: np.ndarray, tmp_path: Path) -> None:
    mask = saved(tmp_path / "m.tif", (truth > 0).astype(np.uint8) * 255)
    scores = scores_of(mitoscale, saved(tmp_path / "t.tif", truth), mask)
    assert scores["objects_3d"]["n_true"] == 2 and scores["objects_3d"]["f1_75"] == 1
    assert scores["objects_2d"]["n_true"] == 8


def test_slices_are_cropped_before_anything_is_labelled(mitoscale: Call, tmp_path: Path) -> None:
    """A U that is one object in the whole volume has two separate arms in the slices that are scored."""
    mask = np.zeros((6, 16, 16), np.uint8)
    mask[:, 2:5, 2:5] = mask[:, 2:5, 10:13] = 255
    mask[5, 2:5, 2:13] = 255
    path = saved(tmp_path / "u.tif", mask)
    assert scores_of(mitoscale, path, path)["objects_3d"]["n_true"] == 1
    assert scores_of(mitoscale, path, path, "--slices", "0:5")["objects_3d"]["n_true"] == 2


def test_min_truth_ignores_small_objects_and_what_lies_on_them(mitoscale: Call, truth: np.ndarray, tmp_path: Path) -> None:
    truth[5, 14:16, 14:16] = 3
    path = saved(tmp_path / "t.tif", truth)
    objects = scores_of(mitoscale, path, path, "--min-truth", "10")["objects_3d"]
    assert (objects["n_true"], objects["n_pred"], objects["fp50"], objects["fn50"]) == (2, 2, 0, 0)


def test_grey_truth_needs_a_threshold(mitoscale: Call, truth: np.ndarray, tmp_path: Path) -> None:
    grey = np.where(truth > 0, 160, 20).astype(np.uint8) + np.random.default_rng(0).integers(0, 80, truth.shape, np.uint8)
    path, prediction = saved(tmp_path / "g.tif", grey), saved(tmp_path / "p.tif", truth)
    ended = mitoscale("evaluate", prediction, path, "--json")
    assert ended.code == 1 and "--truth-threshold" in ended.err and not ended.out
    assert scores_of(mitoscale, prediction, path, "--truth-threshold", "127")["foreground"]["iou"] == 1


def test_probabilities_are_a_truth_with_a_threshold(mitoscale: Call, truth: np.ndarray, tmp_path: Path) -> None:
    path = saved(tmp_path / "g.tif", np.where(truth > 0, 0.45, 0.1).astype(np.float32))
    assert scores_of(mitoscale, saved(tmp_path / "p.tif", truth), path, "--truth-threshold", "0.4")["foreground"]["iou"] == 1


def test_empty_prediction_gives_numbers(mitoscale: Call, truth: np.ndarray, tmp_path: Path) -> None:
    scores = scores_of(mitoscale, saved(tmp_path / "p.tif", np.zeros_like(truth)), saved(tmp_path / "t.tif", truth))
    assert scores["foreground"]["iou"] == 0 and scores["objects_3d"]["fn50"] == 2
    flat = [v for part in scores.values() for v in (part.values() if isinstance(part, dict) else [part])]
    assert all(math.isfinite(value) for value in flat)


def test_run_and_labels_group_are_read(mitoscale: Call, finished: Finished, stack: Stack, tmp_path: Path) -> None:
    truth = saved(tmp_path / "t.tif", stack.phantom.labels.astype(np.uint16))
    labels = f"{finished.run}/volume.zarr/labels/mitochondria"
    for path in (finished.run, labels, f"{labels}/0"):
        assert scores_of(mitoscale, path, truth)["objects_3d"]["f1_75"] == 1


def test_a_run_on_a_part_is_scored_there(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run, truth = str(tmp_path / "run"), saved(tmp_path / "t.tif", stack.phantom.labels.astype(np.uint16))
    assert mitoscale("run", stack.image, run, *stack.exact(), "--region", "0:16,0:128,32:128").code == 0
    assert scores_of(mitoscale, run, truth)["foreground"]["recall"] > 0.95  # small cut-off pieces are dropped
    assert scores_of(mitoscale, truth, run, "--slices", "4:30")["foreground"]["precision"] > 0.95
    ended = mitoscale("evaluate", run, truth, "--slices", "20:30")
    assert ended.code == 1 and "it was run on 0:16,0:128,32:128" in ended.err and len(ended.err.splitlines()) == 1


def test_a_relative_run_and_a_table_for_people(mitoscale: Call, finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(finished.run).parent)
    ended = mitoscale("evaluate", "run", "run")
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["f1_50", "1.0000"] in [row[-2:] for row in rows] and ["voi_split", "0.0000"] in [row[-2:] for row in rows]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["t.tif", "nowhere.tif"], "nowhere.tif"),
        (["t.tif", "other.tif"], "shape"),
        (["t.tif", "float.tif"], "whole numbers"),
        (["t.tif", "t.tif", "--slices", "2:9"], "0:6"),
        (["unfinished", "t.tif"], "run.json"),
    ],
)
def test_wrong_input(
    arguments: list[str], said: str, mitoscale: Call, truth: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "t.tif", truth)
    saved(tmp_path / "other.tif", truth[:4])
    saved(tmp_path / "float.tif", truth.astype(np.float32))
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text("{}")
    ended = mitoscale("evaluate", *arguments, "--json")
    assert ended.code == 1 and not ended.out
    assert ended.err.startswith("mitoscale: ") and len(ended.err.splitlines()) == 1
    assert said in ended.err


@pytest.mark.slow
def test_a_cluster_gives_the_same(mitoscale: Call, truth: np.ndarray, tmp_path: Path) -> None:
    """With two real workers, in blocks of the Zarr's chunks."""
    prediction = np.roll(truth, 1, axis=2)
    paths = saved(tmp_path / "p.zarr", prediction), saved(tmp_path / "t.tif", truth)
    ended = finish(begin("evaluate", *paths, "--json", "--workers", "2"))
    assert ended.code == 0 and "dashboard" in ended.err
    assert json.loads(ended.out) == scores_of(mitoscale, *paths)
