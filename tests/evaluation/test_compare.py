"""Methods are compared on the same slices, and what they find is scored as evaluate scores it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Call, Stack, check_refused, contents, largest_file
from PIL import Image

from mitoscale.core.errors import StoppedError
from mitoscale.core.geometry import Region
from mitoscale.evaluation.compare import UNET, Comparison, Method, _without_small
from mitoscale.evaluation.detector_choice import DetectorChoice
from mitoscale.evaluation.evaluate import score
from mitoscale.nets.named_weights import find_weights
from mitoscale.report.comparison import agreement, chosen_slices, slice_picture, write_comparison

WAYS = [UNET, "sam-small, points", "sam-small, boxes", "sam-small + U-Net", "sam-small, automatic"]


@pytest.fixture(scope="module")
def truth(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("truth") / "truth.tif"
    tifffile.imwrite(path, stack.phantom.labels.astype(np.uint16), photometric="minisblack")
    return str(path)


def test_every_way_has_its_row_and_files(mitoscale: Call, stack: Stack, truth: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["compare", stack.image, truth, "--slices", "14:17", "--out", str(out), "--threads", "1"]
    ended = mitoscale(*arguments, "--detector", "known_truth:detector", "--detector-option", f"truth={stack.truth}")
    assert ended.code == 0, ended.err
    content = json.loads((out / "compare.json").read_text())
    rows = {row["method"]: row for row in content["rows"]}
    assert list(rows) == WAYS
    for way in WAYS:
        assert sum(line.startswith(way + " ") for line in ended.out.splitlines()) == 1
        assert rows[way]["seconds_per_slice"] > 0 and 0 <= rows[way]["foreground_iou"] <= 1
    baseline = rows[UNET]
    assert baseline["foreground_iou"] > 0.99  # the detector is the truth
    assert rows["sam-small + U-Net"]["foreground_recall"] > 0.9  # what SAM misses the U-Net fills in
    assert baseline["mvoxel_per_second"] == pytest.approx(128 * 128 / 1e6 / baseline["seconds_per_slice"])
    assert (out / "compare.csv").read_text().splitlines()[0].startswith('"method","foreground_iou"')
    assert len((out / "compare.csv").read_text().splitlines()) == 1 + len(WAYS)
    assert [s["z"] for s in content["slices"]] == [14, 15, 16]
    assert set(content["pictures"].values()) <= {14, 15, 16}
    for name in content["pictures"]:
        assert Image.open(out / f"{name}.png").size[0] > 3 * 100


@pytest.mark.parametrize(("windows", "note"), [(8, True), (7, False)])
def test_that_a_run_asks_no_sam_is_told(
    mitoscale: Call, stack: Stack, truth: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: int, note: bool
) -> None:
    choice = DetectorChoice(detector="unet-small", agreement={"unet-small": 0.95}, windows=windows)
    monkeypatch.setattr("mitoscale.evaluation.compare.choose_detector", lambda *_: choice)
    part = ["--region", "14:16,0:96,0:96", "--no-automatic", "--threads", "1"]
    ended = mitoscale("compare", stack.image, truth, *part, "--out", str(tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert choice.told() in ended.err and ("a run asks no SAM" in ended.err) == note


def test_files_of_one_name_each_have_their_rows(mitoscale: Call, stack: Stack, truth: str, tmp_path: Path) -> None:
    for folder in "AB":
        (tmp_path / folder).mkdir()
        shutil.copy(find_weights("sam-small"), tmp_path / folder / "x.safetensors")
    sams = ["--sam", str(tmp_path / "A" / "x.safetensors"), "--sam", str(tmp_path / "B" / "x.safetensors")]
    arguments = ["compare", stack.image, truth, "--slices", "16:17", "--out", str(tmp_path / "out"), *sams, "--no-automatic"]
    ended = mitoscale(*arguments, "--detector", "known_truth:detector", "--detector-option", f"truth={stack.truth}")
    assert ended.code == 0, ended.err
    rows = [row["method"] for row in json.loads((tmp_path / "out" / "compare.json").read_text())["rows"]]
    assert rows == [UNET, *(f"{folder}/x{way}" for folder in "AB" for way in (", points", ", boxes", " + U-Net"))]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--sam", "sam-small", "--sam", "sam-small"], "are the same file"),
        (["--slices", "30:40"], "not within those of"),
        (["--slices", "0:2", "--region", "0:2,:,:"], "give one of them"),
        (["--slices", "14:15", "--sam", "nowhere.pth"], "neither a file nor embedded"),
        (["--slices", "14:15", "--sam", "unet-small"], "but a sam is wanted"),
        (["--region", "31:32,0:2,0:2"], "holds no mitochondrion"),
    ],
)
def test_what_cannot_be_compared(mitoscale: Call, stack: Stack, truth: str, tmp_path: Path, more: list[str], said: str) -> None:
    ended = mitoscale("compare", stack.image, truth, "--out", str(tmp_path / "out"), *more)
    assert ended.code == 1 and said in ended.err and len(ended.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["compare.csv", "compare.json", "worst.png", "median.png", "best.png"])
def test_an_earlier_comparison_stays(mitoscale: Call, tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("may lie there")
    (tmp_path / name).write_text("of another day")
    arguments = ["compare", "nowhere.tif", "nowhere.tif", "--out", str(tmp_path)]  # refused before anything is read
    check_refused(mitoscale, tmp_path, arguments, f"holds {name} already; give another folder")


def test_truth_of_another_shape(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", np.ones((32, 128, 127), np.uint8), photometric="minisblack")
    ended = mitoscale("compare", stack.image, str(tmp_path / "t.tif"), "--out", str(tmp_path / "out"))
    assert ended.code == 1 and "(32, 128, 127)" in ended.err


def comparison(iou: list[float]) -> Comparison:
    labels = np.zeros((len(iou), 40, 50), np.uint32)
    labels[:, 5:20, 5:20] = 3
    method = Method(name="m", labels=labels, seconds=2.0, scores=score(labels, labels > 0), slice_iou=iou)
    image = np.full(labels.shape, 100, np.uint8)
    region = Region.of_shape((len(iou), 40, 50))
    return Comparison(image=image, truth=labels > 0, region=region, spacing=(5, 5, 5), methods=[method])


def test_small_objects_go_unless_the_border_cuts_them() -> None:
    labels = np.zeros((5, 20, 20), np.uint32)
    labels[2, 5:7, 5:7], labels[4, 9:11, 9:11], labels[1:4, 12:18, 12:18] = 1, 2, 3
    assert np.unique(_without_small(labels, 5)).tolist() == [0, 2, 3]


def test_worst_median_and_best() -> None:
    assert chosen_slices(comparison([0.5, 0.9, 0.1, 0.7, 0.6])) == {"worst": 2, "median": 4, "best": 1}
    assert chosen_slices(comparison([0.5])) == {"worst": 0}


def test_colours_tell_what_is_wrong() -> None:
    image = np.full((1, 4), 100, np.uint8)
    picture = agreement(image, np.array([[1, 1, 0, 0]]), np.array([[1, 0, 1, 0]]))[0]
    assert picture[0].argmax() == 1 and picture[1].argmax() == 0 and picture[2].argmax() == 2
    assert picture[3].tolist() == [100, 100, 100]
    assert slice_picture(comparison([0.5]), 0).shape == (
        26 + 7 * 40 + 26,
        2 * 7 * 50 + 6,
        3,
    )  # two panels and a key


@pytest.mark.parametrize("which", range(5))
def test_a_disk_that_fills_up_leaves_no_part_of_a_comparison(tmp_path: Path, which: int) -> None:
    wanted = comparison([0.1, 0.5, 0.9])
    files = [Path(path) for path in write_comparison(wanted, str(tmp_path / "whole"))]
    sizes = [file.stat().st_size for file in files]
    assert sizes == sorted(set(sizes)) and len(sizes) == 5  # so that those before are written
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("a")
    for folder in ("new", "kept"):
        with (
            largest_file(sizes[which] - 1),
            pytest.raises(StoppedError, match=f"cannot write {tmp_path / folder / files[which].name}: .*, then repeat"),
        ):
            write_comparison(wanted, str(tmp_path / folder))
    assert not (tmp_path / "new").exists()
    assert contents(tmp_path / "kept").keys() == {"notes.txt"}
