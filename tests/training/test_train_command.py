"""``mitoscale train`` from TIFF files to weights that the pipeline loads, and the input it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from commands import this_process

from mitoscale.cli import main
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.checkpoint import load_sam, load_unet
from mitoscale.nets.factories import make_detector, make_segmenter
from mitoscale.training.samples import Annotated


@pytest.fixture(autouse=True)
def without_a_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused need not wait for a cluster; the long tests have a real one."""
    if "slow" not in request.keywords:
        monkeypatch.setattr("mitoscale.cli.learning.start", this_process)


@pytest.fixture
def files(annotated: Annotated, tmp_path: Path) -> list[str]:
    """Volume, truth and voxel size as the command line takes them."""
    tifffile.imwrite(tmp_path / "stack.tif", annotated.image)
    tifffile.imwrite(tmp_path / "truth.tif", annotated.labels.astype(np.uint16))
    return [str(tmp_path / "stack.tif"), str(tmp_path / "truth.tif"), "--voxel-size", "10,10,10", "--phantoms", "0"]


@pytest.mark.slow
def test_a_unet_is_trained_and_used(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.safetensors"
    main(["train", *files, "--out", str(out), "--slices", "0:20", "--tune", "24:32", "--steps", "2"])
    assert "step     2 / 2" in capsys.readouterr().out
    kept = {out.name, "mine.history.csv", "mine.history.png"}
    assert {p.name for p in tmp_path.iterdir()} == {"stack.tif", "truth.tif", *kept}, "the checkpoint is gone"
    assert (tmp_path / "mine.history.csv").read_text().splitlines()[0].split(",")[:4] == [
        '"step"', '"loss"', '"learning_rate"', '"iou"',
    ]  # fmt: skip
    _, card = load_unet(str(out))
    assert card.training["train_slices"] == "0:20" and card.training["tuning_slices"] == "24:32"
    assert (card.training["steps"], card.training["data"], card.pixel_nm) == (2, "stack.tif", 5.0)
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask, "others may read it as they may read what else I write"
    refused(["--out", str(out)], files, "exists already; give another file, or delete it to train anew", capsys)
    detector = make_detector(DetectSettings(detector=str(out)), (10.0, 10.0, 10.0))
    image = np.zeros((2, 32, 32), np.uint8)
    assert detector.foreground(image, Region.of_shape(image.shape)).shape == image.shape


@pytest.mark.slow
def test_a_part_of_what_training_started_from_is_kept(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.safetensors"
    options = ["--tune", "24:32", "--steps", "1", "--batch", "2", "--init", "unet-small"]
    main(["train", *files, "--out", str(tmp_path / "all.safetensors"), *options])
    main(["train", *files, "--out", str(out), *options, "--keep-init", "0.75"])
    capsys.readouterr()
    start, end, kept = (load_unet(name)[0].state_dict() for name in ("unet-small", str(tmp_path / "all.safetensors"), str(out)))
    for name, value in kept.items():
        if value.dtype.is_floating_point:
            torch.testing.assert_close(value, start[name] * 0.75 + end[name] * 0.25, atol=2e-3, rtol=2e-3)  # files hold float16
    assert load_unet(str(out))[1].training["keep_init"] == 0.75
    rows = (tmp_path / "mine.history.csv").read_text().splitlines()
    assert len(rows) == 3, "the mean is scored too"


@pytest.mark.slow
def test_a_sam_is_trained_and_used(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    main(["train", *files, "--model", "sam", "--out", str(out), "--steps", "1"])
    assert load_sam(str(out))[1].training["steps"] == 1
    assert make_segmenter(SegmentSettings(sam=str(out)), (10.0, 10.0, 10.0)) is not None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--out", "mine.pth"], "must end in .safetensors"),
        (["--model", "sam", "--preset", "report"], "--preset report is unknown for sam"),
        (["--keep-init", "0.3"], "--keep-init 0.3 keeps a part of the weights of --init, which is missing"),
        (["--slices", "0:20", "--tune", "19:30"], "overlap"),
        (["--slices", "0:99"], "slices 0:99 leave the volume, which has 0:32"),
        (["--slices", "0:20", "--tune", "30:33"], "slices 30:33 leave the volume"),
        (["--out", "/proc/no/such/mine.safetensors"], "/proc"),
    ],
)
def test_wrong_options_are_refused(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    refused(["--out", str(tmp_path / "o.safetensors"), *options], files, problem, capsys)
    assert {p.name for p in tmp_path.iterdir()} == {"stack.tif", "truth.tif"}


def refused(options: list[str], files: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", *files, *options])
    message = capsys.readouterr().err
    assert stop.value.code == 1 and problem in message and message.count("\n") == 1


def test_a_list_of_volumes_tells_what_options_would(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = str(tmp_path / "volumes.yaml")
    Path(listed).write_text("- {image: stack.tif, truth: truth.tif, slices: [0, 99]}")
    out = ["--out", str(tmp_path / "o.safetensors")]
    refused(out, [listed], "stack.tif does not tell its voxel size", capsys)
    refused(out, [listed, "--slices", "0:3"], f"slices is told for each volume by {listed}", capsys)
    refused(out, [listed, "--preset", "report"], "--preset report learns from one volume", capsys)
    refused(out, [files[0]], "has no TRUTH beside it", capsys)
    refused([*out, "--without", "x"], files, "--without x leaves a volume of a list out", capsys)
    refused([*out, "--without", "x"], [listed], "lists no volume of that name", capsys)
    refused([*out, "--crop", "100"], files, "--crop 100 is for the default U-Net alone, and must be a multiple of 32", capsys)


def test_wrong_truth_is_refused(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "o.safetensors")]
    truth = tifffile.imread(files[1])
    lone = np.zeros_like(truth)
    lone[30] = 1
    for content, options, problem in (
        (truth[:-1], [], "they must be the same"),
        (np.zeros_like(truth), [], "is empty: it holds no mitochondrion"),
        (lone, ["--slices", "0:20"], "holds no mitochondrion; choose other slices"),
        (
            np.where(truth > 0, 255, 0).astype(np.uint8) - (truth == 1).astype(np.uint8) * 99,
            [],
            "give --truth-threshold, such as 127",
        ),
    ):
        tifffile.imwrite(files[1], content)
        refused([*out, *options], files, problem, capsys)


def test_an_unknown_voxel_size_is_refused(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without = [files[0], files[1], "--phantoms", "0"]
    refused(["--out", str(tmp_path / "o.safetensors")], without, "--voxel-size", capsys)
