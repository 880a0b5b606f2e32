"""A run's labels are labels whatever their number, and a truth without background or turned round is told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.volume import VolumeSpec
from mitoscale.evaluation.evaluate import evaluate
from mitoscale.storage.arrays import open_array
from mitoscale.storage.ome import create_image
from mitoscale.training.annotated import read_annotated

SHAPE = (8, 32, 32)
NM = (10.0, 10.0, 10.0)
IMAGE = np.random.default_rng(0).integers(0, 250, SHAPE).astype(np.uint8)
MASK = np.zeros(SHAPE, bool)
MASK[1:6, 3:12, 3:12] = MASK[1:6, 18:30, 15:29] = True
"""In two pieces."""


def saved(folder: Path, **arrays: np.ndarray) -> list[str]:
    for name, array in arrays.items():
        tifffile.imwrite(folder / f"{name}.tif", array, photometric="minisblack")
    return [str(folder / f"{name}.tif") for name in arrays]


def labels_of_a_run(folder: Path) -> str:
    """One object in two pieces, as a run writes it."""
    path = str(folder / "labels.zarr")
    spec = VolumeSpec(shape=SHAPE, dtype="uint32", spacing=NM, chunks=SHAPE, shards=SHAPE, factors=((1, 1, 1),))
    create_image(path, spec, name="mitochondria", attributes={"provenance": {}})
    open_array(f"{path}/0").write(Region.of_shape(SHAPE), MASK.astype(np.uint32))
    return path


def test_one_object_of_a_run_is_one(tmp_path: Path) -> None:
    run, (image, mask) = labels_of_a_run(tmp_path), saved(tmp_path, image=IMAGE, mask=MASK.astype(np.uint8))
    for block in (None, (4, 16, 16)):
        scores = evaluate(run, run, block=block)
        assert (scores["objects_3d"]["n_pred"], scores["objects_3d"]["n_true"]) == (1, 1)
        assert scores["objects_2d"]["n_pred"] == 5, "one profile a slice"
        assert evaluate(mask, mask, block=block)["objects_3d"]["n_true"] == 2, "a mask's pieces are its objects"
    assert read_annotated(image, run, NM).part((0, 8), 1.0).labels.max() == 1
    assert read_annotated(image, mask, NM).part((0, 8), 1.0).labels.max() == 2


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        (np.where(MASK, 2, 1), "holds no 0, which is background: if 1 is, give --truth-threshold 1"),
        (np.where(MASK, 0, 255), r"is mitochondrion in 8\d% of its voxels: is it inverted"),
    ],
)
def test_truths_turned_round_are_told(truth: np.ndarray, said: str, tmp_path: Path) -> None:
    image, labels, true = saved(tmp_path, image=IMAGE, labels=MASK.astype(np.uint8), truth=truth.astype(np.uint8))
    for block in (None, (4, 16, 16)):
        with pytest.raises(InputError, match=said):
            evaluate(labels, true, block=block)
    with pytest.raises(InputError, match=said):
        read_annotated(image, true, NM)
    if truth.max() == 2:
        assert evaluate(labels, true, threshold=1)["foreground"]["iou"] == 1.0


def test_masks_that_are_white_where_zero_are_read_by_their_numbers(tmp_path: Path) -> None:
    (labels,) = saved(tmp_path, labels=MASK.astype(np.uint8))
    tifffile.imwrite(tmp_path / "white.tif", MASK.astype(np.uint8) * 255, photometric="miniswhite")
    assert evaluate(labels, str(tmp_path / "white.tif"))["foreground"]["iou"] == 1.0
    tifffile.imwrite(tmp_path / "white.tif", (~MASK).astype(np.uint8) * 255, photometric="miniswhite")
    with pytest.raises(InputError, match="is it inverted"):
        evaluate(labels, str(tmp_path / "white.tif"))


def test_ids_saved_as_real_numbers_keep_their_values(tmp_path: Path) -> None:
    image, ids, mask = saved(tmp_path, image=IMAGE, ids=(MASK * 7).astype(np.float32), mask=MASK.astype(np.float32))
    with pytest.raises(InputError, match="they are ids: save them as uint32"):
        read_annotated(image, ids, NM)
    with pytest.raises(InputError, match=r"give --truth-threshold, such as 0\.5"):
        read_annotated(image, mask, NM)
