"""Block by block evaluate gives what the whole arrays give, and what other packages give."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error, variation_of_information
from stardist.matching import matching

from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.errors import InputError
from mitoscale.core.grid import SUPER_BLOCK
from mitoscale.evaluation.evaluate import evaluate, score
from mitoscale.evaluation.object_metrics import THRESHOLDS
from mitoscale.ops.instances import instances
from mitoscale.ops.phantom import make_phantom

SHAPE = (5, 7, 6)
BLOCKS = st.tuples(st.integers(2, 5), st.integers(2, 7), st.integers(2, 6))
masks = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 1]))
labels = arrays(np.uint16, SHAPE, elements=st.sampled_from([0, 0, 0, 3, 4, 900]))


def stored(folder: Path | str, **volumes: np.ndarray) -> list[str]:
    """Each volume as a Zarr array."""
    paths = []
    for name, volume in volumes.items():
        zarr.create_array(f"{folder}/{name}", data=volume, chunks=tuple(max(1, n // 2) for n in volume.shape))
        paths.append(f"{folder}/{name}")
    return paths


def flat(scores: dict[str, Any]) -> dict[str, float]:
    """All scores in one dict."""
    nested = {f"{k}.{n}": v for k, part in scores.items() if isinstance(part, dict) for n, v in part.items()}
    return nested | {k: v for k, v in scores.items() if not isinstance(v, dict)}


@settings(max_examples=25)
@given(prediction=masks | labels, truth=masks | labels, block=BLOCKS, min_truth=st.integers(0, 4))
def test_any_blocks_give_what_the_whole_gives(
    prediction: np.ndarray, truth: np.ndarray, block: tuple[int, int, int], min_truth: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = stored(folder, a=prediction, b=truth)
        found = evaluate(*paths, block=block, min_truth=min_truth)
        sliced = evaluate(*paths, block=block, slices=(1, 4))
    assert flat(found) == pytest.approx(flat(score(prediction, truth, min_truth=min_truth)))
    assert flat(sliced) == pytest.approx(flat(score(prediction[1:4], truth[1:4])))


@pytest.mark.parametrize("block", [(3, 4, 5), (1, 2, 3), (2, 100, 100)])
def test_a_bar_through_an_edge_and_a_corner_is_one_object(tmp_path: Path, block: tuple[int, int, int]) -> None:
    mask = np.zeros((6, 8, 14), np.uint8)
    for step in range(6):
        mask[step, step, step] = 1  # through corners
        mask[step, 7 - step, 13 - step] = 1  # and against the order of blocks
    path = stored(tmp_path, a=mask)[0]
    scores = evaluate(path, path, block=block)
    assert scores["objects_3d"]["n_true"] == instances(mask).max() == 2
    assert scores["objects_2d"]["n_true"] == score(mask, mask)["objects_2d"]["n_true"]


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A phantom's labels, and the same with errors: shifted, some objects merged, lost, or invented."""
    truth = make_phantom((16, 64, 64), objects=10, seed=3).labels.astype(np.uint32)
    found = np.roll(truth, (1, 2), axis=(0, 2))
    found[found == 2] = 1
    found[found == 5] = 0
    found[:4, :9, :9] = 99
    return found, truth


def test_partitions_as_scikit_image_scores_them(pair: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    scores = evaluate(*stored(tmp_path, a=pair[0], b=pair[1]), block=(7, 30, 40))
    split, merge = variation_of_information(pair[1], pair[0])
    assert (scores["voi_split"], scores["voi_merge"]) == pytest.approx((split, merge))
    assert scores["arand"] == pytest.approx(adapted_rand_error(pair[1], pair[0])[0])


@pytest.mark.parametrize("per_slice", [False, True])
def test_objects_as_stardist_scores_them(pair: tuple[np.ndarray, np.ndarray], tmp_path: Path, per_slice: bool) -> None:
    scores = evaluate(*stored(tmp_path, a=pair[0], b=pair[1]), block=(7, 30, 40))["objects_2d" if per_slice else "objects_3d"]
    parts = list(zip(pair[1], pair[0], strict=True)) if per_slice else [(pair[1], pair[0])]
    counted = []
    for t in THRESHOLDS:
        matches = [matching(true.astype(np.int64), found.astype(np.int64), thresh=t, criterion="iou") for true, found in parts]
        counted.append([sum(getattr(m, name) for m in matches) for name in ("tp", "fp", "fn")])
    (tp50, fp50, fn50), (tp75, fp75, fn75) = counted[0], counted[5]
    assert min(tp50, fp50, fn50) > 0, "each kind is there to be counted"
    assert (scores["tp50"], scores["fp50"], scores["fn50"]) == (tp50, fp50, fn50)
    assert scores["f1_50"] == pytest.approx(2 * tp50 / (2 * tp50 + fp50 + fn50))
    assert scores["f1_75"] == pytest.approx(2 * tp75 / (2 * tp75 + fp75 + fn75))
    assert scores["msa"] == pytest.approx(np.mean([tp / (tp + fp + fn) for tp, fp, fn in counted]))
    if not per_slice:
        assert scores["pq"] == pytest.approx(matching(pair[1], pair[0], thresh=0.5).panoptic_quality)


def test_values_that_only_later_blocks_have(tmp_path: Path) -> None:
    """Blocks that see one value number components; those of labels become the label again."""
    one = np.zeros((2, 4, 12), np.uint16)
    one[:, 0, 0:3] = one[:, 3, 0:3] = 7  # one label in two parts, alone in its block
    one[:, :, 8:] = 9
    paths = stored(tmp_path, a=one, b=one)
    assert evaluate(*paths, block=(1, 4, 4))["objects_3d"]["n_true"] == 2
    assert evaluate(*paths, block=(1, 4, 4))["objects_2d"]["n_true"] == 4


def test_each_block_is_read_once_and_nothing_is_left(pair: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    class Counting(SerialExecutor):
        def run(self, tasks: Any, keys: Any, **more: Any) -> Any:
            keys = list(keys)
            asked.extend(key.name for key in keys)
            assert len(list((tmp_path / "scratch").iterdir())) == 1
            return super().run(tasks, keys, **more)

    asked: list[str] = []
    heard: list[tuple[int, int]] = []
    (tmp_path / "scratch").mkdir()
    paths = stored(tmp_path, a=pair[0], b=pair[1])
    evaluate(
        *paths,
        block=(8, 32, 32),
        executor=Counting(),
        scratch=str(tmp_path / "scratch"),
        observer=lambda done, total: heard.append((done, total)),
    )
    assert len(asked) == len(set(asked)) == 8 and heard[-1] == (8, 8)
    assert not list((tmp_path / "scratch").iterdir())


def test_bad_input_in_one_block_is_told(tmp_path: Path) -> None:
    volume = np.zeros((4, 8, 8), np.int32)
    volume[1:3, 2:4, 2:4], volume[3, 7, 7] = 5, -4
    a, b = stored(tmp_path, a=volume, b=np.abs(volume))
    with pytest.raises(InputError, match="a holds -4"):
        evaluate(a, b, block=(2, 4, 4))
    grey = np.zeros((4, 8, 8), np.uint8)
    grey[:2], grey[3, 7, 7] = 255, 90
    zarr.create_array(str(tmp_path / "grey"), data=grey, chunks=(2, 4, 4))
    with pytest.raises(InputError, match="--truth-threshold"):
        evaluate(b, str(tmp_path / "grey"), block=(2, 4, 4))
    for chunk in sorted(p for p in (tmp_path / "b").rglob("*") if p.is_file() and p.name != "zarr.json"):  # the middle slice's too
        whole = chunk.read_bytes()
        chunk.write_bytes(b"broken")
        with pytest.raises(InputError, match="blocks could not be scored"):
            evaluate(b, b, block=(2, 4, 4))
        chunk.write_bytes(whole)
    with pytest.raises(InputError, match="--scratch"):
        evaluate(b, b, scratch=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("labelled", [False, True])
def test_objects_that_cross_super_blocks_are_joined(labelled: bool, tmp_path: Path) -> None:
    """Blocks of two voxels: 2 x 2 super-blocks, and thin objects that go on diagonally from one to the next."""
    rng = np.random.default_rng(8)
    prediction, truth = (rng.random((3, 2 * SUPER_BLOCK + 5, 2 * SUPER_BLOCK + 5)) < share for share in (0.05, 0.07))
    for step in range(-3, 4):  # through the corner where all four meet, and against the order of blocks
        truth[:, 2 * SUPER_BLOCK + step, 2 * SUPER_BLOCK - step] = True
    pair = [(instances(mask) if labelled else mask.astype(np.uint8)) for mask in (prediction, truth)]
    found = evaluate(*stored(tmp_path, a=pair[0], b=pair[1]), block=(2, 2, 2))
    assert flat(found) == pytest.approx(flat(score(*pair)))
