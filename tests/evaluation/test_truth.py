"""What a truth may be: labels, or with a threshold any mask; what it is not is told before anything is learnt or scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings
from mitoscale.evaluation.compare import compare
from mitoscale.evaluation.evaluate import evaluate
from mitoscale.evaluation.grey_volume import open_grey
from mitoscale.training.annotated import AnnotatedVolume, read_annotated

SPACING = (10.0, 10.0, 10.0)
MASK = np.zeros((6, 16, 16), bool)
MASK[2:5, 4:9, 3:12] = True


def saved(folder: Path, **arrays: np.ndarray) -> list[str]:
    for name, array in arrays.items():
        tifffile.imwrite(folder / f"{name}.tif", array, photometric="minisblack")
    return [str(folder / f"{name}.tif") for name in arrays]


def learnt(folder: Path, truth: np.ndarray, threshold: float | None = None) -> AnnotatedVolume:
    image = np.random.default_rng(0).integers(0, 255, truth.shape).astype(np.uint8)
    return read_annotated(*saved(folder, image=image, truth=truth), SPACING, threshold)


def compared(folder: Path, truth: np.ndarray, threshold: float | None, z: tuple[int, int] = (0, 6)) -> None:
    image = np.random.default_rng(0).integers(0, 255, truth.shape).astype(np.uint8)
    paths = saved(folder, image=image, truth=truth)
    region = Region(start=(z[0], 0, 0), stop=(z[1], 16, 16))
    compare(open_grey(paths[0], SPACING), paths[1], sams=(), detect=DetectSettings(), region=region, threshold=threshold)


def test_negative_labels_are_not_learnt(tmp_path: Path) -> None:
    truth = MASK.astype(np.int16)
    truth[0, 0, 0] = -1
    for judge in (learnt, compared):
        with pytest.raises(InputError, match=r"truth\.tif holds -1; labels are 0 \(background\) and above"):
            judge(tmp_path, truth, None)
    assert (learnt(tmp_path, truth, 0).truth == MASK).all(), "what is not above the threshold is background"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_a_threshold_above_all_values_is_told(tmp_path: Path, dtype: type) -> None:
    truth = (MASK * 100).astype(dtype)
    said = (
        "--truth-threshold 300: uint8 ends at 255"
        if dtype is np.uint8
        else "--truth-threshold 300; its largest is 100: give a lower"
    )
    for judge in (learnt, compared):
        with pytest.raises(InputError, match=f"no value of .*{said}"):
            judge(tmp_path, truth, 300)
    paths = saved(tmp_path, labels=MASK.astype(np.uint8), truth=truth)
    for slices in (None, (0, 4), (0, 2)):
        if slices == (0, 2) and dtype is not np.uint8:
            continue  # nothing is there, whatever the threshold
        with pytest.raises(InputError, match=said):
            evaluate(*paths, threshold=300, slices=slices)
    assert evaluate(*paths, threshold=99)["foreground"]["iou"] == 1.0


def test_a_part_without_mitochondria_can_be_scored(tmp_path: Path) -> None:
    """Its few grey values are below the threshold, as they should be: the mitochondria are elsewhere."""
    truth = MASK * np.uint8(200) + np.uint8(7)
    paths = saved(tmp_path, labels=np.zeros_like(truth), truth=truth)
    scores = evaluate(*paths, threshold=127, slices=(0, 2))
    assert scores["objects_3d"]["n_true"] == 0 and scores["foreground"]["accuracy"] == 1.0
    with pytest.raises(InputError, match=r"its largest is 207: give a lower one"):
        evaluate(*paths, threshold=210, slices=(0, 2))
    with pytest.raises(
        InputError, match=r"no value of .* in 0:2,0:16,0:16 is above .* largest is 7: give a lower one, or other slices"
    ):
        compared(tmp_path, truth, 127, (0, 2))


def test_an_empty_truth_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"truth\.tif is empty"):
        learnt(tmp_path, np.zeros_like(MASK, np.uint8), 127)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_are_thresholded(tmp_path: Path, dtype: type) -> None:
    truth = np.where(MASK, 0.9, 0.2).astype(dtype)
    assert (learnt(tmp_path, truth, 0.4).truth == MASK).all()
    whole, grey = (learnt(tmp_path, MASK.astype(kind), 0.4).digest for kind in (dtype, np.uint8))
    assert whole == grey, "the same mask is the same data"
    paths = saved(tmp_path, labels=MASK.astype(np.uint8), truth=truth)
    assert evaluate(*paths, threshold=0.4)["foreground"]["iou"] == 1.0
    assert evaluate(*paths, threshold=0.1)["foreground"]["iou"] == pytest.approx(MASK.mean())
    zarr.create_array(str(tmp_path / "truth.zarr"), data=truth, chunks=(3, 8, 8))
    assert evaluate(paths[0], str(tmp_path / "truth.zarr"), threshold=0.4)["foreground"]["iou"] == 1.0


def test_probabilities_need_a_threshold(tmp_path: Path) -> None:
    truth = MASK.astype(np.float32)
    labels, path = saved(tmp_path, labels=MASK.astype(np.uint8), truth=truth)
    said = r"truth\.tif holds float32 values; labels are whole numbers: give --truth-threshold, such as 0\.5"
    for judge in (learnt, compared):
        with pytest.raises(InputError, match=said):
            judge(tmp_path, truth, None)
    with pytest.raises(InputError, match=said):
        evaluate(labels, path)
    with pytest.raises(InputError, match="labels are whole numbers: write it as 0 and 1, or as labels"):
        evaluate(path, labels, threshold=0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_truth_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    truth = MASK.astype(np.float32)
    truth[0, 3, 4:6] = value
    said = r"truth\.tif.* has 2 values that are not finite; replace them by 0"
    for judge in (learnt, compared):
        with pytest.raises(InputError, match=said):
            judge(tmp_path, truth, 0.5)
    with pytest.raises(InputError, match=said):
        evaluate(*saved(tmp_path, labels=MASK.astype(np.uint8), truth=truth), threshold=0.5, block=(1, 16, 16))


def test_nothing_can_be_learnt_from_mitochondria_alone(tmp_path: Path) -> None:
    truth = np.where(MASK, 1, 2).astype(np.uint8)
    pair = learnt(tmp_path, truth)
    with pytest.raises(InputError, match="slices 0:6 holds nothing but mitochondria; is it inverted, or is --truth-threshold"):
        pair.part((0, 6), 1.0)
    assert learnt(tmp_path, truth, 1).part((2, 6), 1.0).labels.any()
    truth[1:] = 0
    assert learnt(tmp_path, truth).part((0, 2), 1.0).labels.any(), "one full slice is none too many"
