"""Evaluate reads labels from anywhere, scores them, and refuses what it cannot score."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from commands import Call

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.core.result import BlockResult
from mitoscale.core.settings import ConvertSettings, RunSettings
from mitoscale.core.volume import VolumeSpec
from mitoscale.evaluation.evaluate import evaluate, score
from mitoscale.evaluation.label_reading import read_labels
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.ome import create_image, create_labels
from mitoscale.storage.run_json import write_plan

KEYS = {"foreground", "objects_3d", "objects_2d", "voi_split", "voi_merge", "arand"}
SHAPE = (4, 8, 12)


@pytest.fixture
def labels() -> np.ndarray:
    result = np.zeros(SHAPE, np.uint32)
    result[0:4, 1:4, 1:5] = 1
    result[1:3, 1:7, 6:9] = 70_000
    result[3, 6:8, 10:12] = 3
    return result


def run_with(labels: np.ndarray, path: Path, blocks: int | None = None) -> Path:
    """A run folder of which relabel has written all blocks, or only the first few."""
    shards = (2, 8, 8)
    region = Region.of_shape(SHAPE)
    settings = RunSettings(
        convert=ConvertSettings(source="a.tif", fingerprint="0", spacing=(5, 5, 5), core=shards, chunks=(2, 4, 4), region=region)
    )
    spec = VolumeSpec(shape=SHAPE, dtype="uint32", spacing=(5, 5, 5), chunks=(2, 4, 4), shards=shards, factors=((1, 1, 1),))
    folder = RunFolder(str(path))
    plan = RunPlan(run=str(path), image=f"{folder.volume}/0", labels=folder.labels, spec=spec, settings=settings)
    create_image(folder.volume, spec.model_copy(update={"dtype": "uint8"}), name="a")
    create_labels(folder.volume, "mitochondria", spec)
    write_plan(folder, plan)
    ledger = Ledger(folder.ledger("relabel"))
    for block in list(plan.grid.blocks())[:blocks]:
        open_array(f"{folder.labels}/0").write(block.core, labels[block.core.slices])
        ledger.append(BlockResult(name=block.name), token=settings.token("relabel"))
    ledger.close()
    return path


def stored(labels: np.ndarray, folder: Path, kind: str) -> str:
    path = folder / kind
    if kind in ("run", "labels group", "level"):
        run_with(labels, path)
        return str(path) if kind == "run" else RunFolder(str(path)).labels + ("/0" if kind == "level" else "")
    if kind.startswith("zarr"):
        zarr.create_array(path, data=labels, chunks=(2, 4, 4), zarr_format=2 if kind == "zarr 2" else 3)
    elif kind == "tiff":
        tifffile.imwrite(path.with_suffix(".tif"), labels, photometric="minisblack")
        return str(path.with_suffix(".tif"))
    else:
        path.mkdir()
        for z, plane in enumerate(labels):
            if kind == "png slices":
                (path / f"{z:02d}.png").write_bytes(imagecodecs.png_encode((plane % 251).astype(np.uint8)))
            else:
                tifffile.imwrite(path / f"{z:02d}.tif", plane)
    return str(path)


@pytest.mark.parametrize("kind", ["run", "labels group", "level", "zarr 2", "zarr 3", "tiff", "tiff slices", "png slices"])
def test_labels_are_read_from_anywhere(labels: np.ndarray, tmp_path: Path, kind: str) -> None:
    path = stored(labels, tmp_path, kind)
    expected = labels % 251 if kind == "png slices" else labels
    np.testing.assert_array_equal(read_labels(path), expected)
    np.testing.assert_array_equal(read_labels(path, (1, 3)), expected[1:3])
    scores = evaluate(path, stored(labels, tmp_path, "zarr 3" if kind != "zarr 3" else "zarr 2"))
    assert set(scores) == KEYS
    assert scores["objects_3d"]["f1_75"] == scores["objects_2d"]["f1_75"] == scores["foreground"]["iou"] == 1.0
    assert (scores["voi_split"], scores["voi_merge"], scores["arand"]) == (0.0, 0.0, 0.0)


def test_a_run_that_was_moved(labels: np.ndarray, tmp_path: Path) -> None:
    moved = run_with(labels, tmp_path / "run").rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(read_labels(str(moved)), labels)


def test_a_run_that_is_not_finished(labels: np.ndarray, tmp_path: Path) -> None:
    run = run_with(labels, tmp_path / "run", blocks=3)
    with pytest.raises(InputError, match="labels in 3 of 4 blocks"):
        read_labels(str(run))


@pytest.mark.parametrize("content", ["{", "{}", '{"plan": 3}', '{"plan": {"run": 1}}'])
def test_a_damaged_run(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        read_labels(str(tmp_path))


def test_slices_are_cropped_before_anything_is_labelled(tmp_path: Path) -> None:
    arch = np.zeros((4, 5, 9), np.uint8)
    arch[0:3, 1:4, 1:3] = arch[0:3, 1:4, 6:8] = 255
    arch[3, 1:4, 1:8] = 255
    path = stored(arch, tmp_path, "tiff")
    assert evaluate(path, path)["objects_3d"]["n_true"] == 1
    cropped = evaluate(path, path, slices=(0, 3))
    assert cropped["objects_3d"]["n_true"] == 2
    assert cropped["objects_2d"]["n_true"] == 6


def test_masks_against_labels(labels: np.ndarray) -> None:
    scores = score(labels, labels > 0)
    assert scores["objects_3d"]["f1_75"] == scores["objects_2d"]["f1_75"] == 1.0
    assert score(np.where(labels > 0, 255, 0).astype(np.uint8), labels)["objects_3d"]["f1_75"] == 1.0


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.uint32, np.uint64, np.int32])
def test_anything_against_itself_is_perfect(dtype: type) -> None:
    two_parts = np.zeros(SHAPE, dtype)
    two_parts[:, 1:3, 1:3] = two_parts[:, 5:7, 5:9] = 1
    for array in (two_parts, np.zeros(SHAPE, dtype), np.ones(SHAPE, dtype)):
        scores = score(array, array)
        assert scores["objects_3d"]["f1_75"] == scores["objects_2d"]["pq"] == scores["foreground"]["dice"] == 1.0


def test_small_truth_is_ignored(labels: np.ndarray) -> None:
    prediction = np.where(labels == 3, 0, labels)
    assert score(prediction, labels)["objects_3d"]["fn50"] == 1
    assert score(prediction, labels, min_truth=5)["objects_3d"]["fn50"] == 0


def test_a_grey_mask_needs_a_threshold(labels: np.ndarray) -> None:
    grey = np.where(labels > 0, 255, 0).astype(np.uint8)
    grey[0, 1, 1], grey[0, 4, 1] = 200, 100
    with pytest.raises(InputError, match="--truth-threshold"):
        score(labels, grey)
    assert score(labels, grey, threshold=127)["foreground"]["iou"] == 1.0


def test_a_grey_image_is_no_truth(labels: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, 40, 40)).astype(np.uint8)
    with pytest.raises(InputError, match="looks like a grey image"):
        score(np.zeros((2, 40, 40), np.uint8), noise)


def test_a_hundred_labels_in_eight_bits() -> None:
    labels = np.arange(100, dtype=np.uint8).repeat(16).reshape(1, 40, 40)
    assert score(labels, labels)["objects_3d"]["tp50"] == 99


def test_negative_labels_are_refused(labels: np.ndarray) -> None:
    signed = labels.astype(np.int64)
    signed[0, 0, 0] = -1
    with pytest.raises(InputError, match="holds -1"):
        score(labels, signed)


def test_other_shapes_are_refused_by_name(labels: np.ndarray, tmp_path: Path) -> None:
    a = stored(labels, tmp_path, "tiff")
    b = stored(labels[:, :, :-1], tmp_path, "zarr 3")
    with pytest.raises(InputError, match="must be the same") as caught:
        evaluate(a, b)
    for part in (a, b, "(4, 8, 12)", "(4, 8, 11)"):
        assert part in str(caught.value)


@pytest.mark.parametrize("slices", [(0, 5), (3, 3), (-1, 2), (4, 6)])
def test_slices_outside(labels: np.ndarray, tmp_path: Path, slices: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="0:4"):
        read_labels(stored(labels, tmp_path, "zarr 3"), slices)


def test_real_values_are_refused_and_a_plane_is_one_slice(labels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float32 values"):
        read_labels(stored(labels.astype(np.float32), tmp_path, "tiff"))
    zarr.create_array(tmp_path / "flat", data=labels[0], chunks=(4, 4))
    np.testing.assert_array_equal(read_labels(str(tmp_path / "flat")), labels[:1])


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        read_labels(str(tmp_path / name))


def test_the_command_prints_json_or_a_table(mitoscale: Call, labels: np.ndarray, tmp_path: Path) -> None:
    path = stored(labels, tmp_path, "tiff")
    result = mitoscale("evaluate", path, path, "--slices", "0:3", "--min-truth", "2", "--json")
    assert result.code == 0
    assert json.loads(result.out) == evaluate(path, path, slices=(0, 3), min_truth=2)
    table = mitoscale("evaluate", path, path)
    assert table.code == 0
    for word in ("foreground", "iou", "f1_75", "voi_split", "arand", "1.0000"):
        assert word in table.out


def test_the_command_ends_with_one_line(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", "from mitoscale.cli import main; main()", "evaluate", str(tmp_path / "a"), "b"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("mitoscale: ")
    assert len(result.stderr.splitlines()) == 1


real = pytest.mark.skipif("MITOSCALE_TEST_DATA" not in os.environ, reason="MITOSCALE_TEST_DATA is not set")


@real
def test_real_truth_against_itself_and_shifted() -> None:
    path = str(Path(os.environ["MITOSCALE_TEST_DATA"], "epfl", "training_groundtruth.tif"))
    truth = read_labels(path, (132, 165))
    same = evaluate(path, path, slices=(132, 165))
    assert same["objects_3d"]["n_true"] == 12
    assert {same["foreground"][k] for k in same["foreground"]} == {1.0}
    assert same["objects_3d"]["msa"] == same["objects_2d"]["msa"] == 1.0
    # How much one pixel weighs: boundaries are no surer than that, so neither is an IoU above these.
    for y, x, iou in ((0, 1, 0.957), (1, 0, 0.962), (1, 1, 0.941)):
        shifted = score(np.roll(truth, (y, x), axis=(1, 2)), truth)
        assert shifted["foreground"]["iou"] == pytest.approx(iou, abs=0.001)
        assert shifted["objects_3d"]["f1_50"] == 1.0


@real
def test_real_grey_masks_need_their_threshold() -> None:
    folder = str(Path(os.environ["MITOSCALE_TEST_DATA"], "vnc", "mitochondria"))
    mask = read_labels(folder, (0, 2))
    with pytest.raises(InputError, match="--truth-threshold"):
        score(mask > 127, mask)
    assert score(mask > 127, mask, threshold=127)["foreground"]["iou"] == 1.0
