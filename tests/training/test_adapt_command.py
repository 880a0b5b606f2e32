"""``mitoscale adapt`` from a TIFF to weights and pictures, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from commands import Call

from mitoscale.evaluation.tissue_windows import Window
from mitoscale.nets.checkpoint import WeightsCard, load_unet, save_weights
from mitoscale.nets.unet import UNet, UNetConfig
from mitoscale.ops.phantom import make_phantom
from mitoscale.training.adapt_answers import Answer, Asker

VOXEL = ["--voxel-size", "10,10,10"]
QUICK = ["--sam", "none", "--windows", "4", "--rounds", "1", "--steps", "1", "--batch", "1", "--crop", "64", "--threads", "1"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a phantom, and a tiny network that has learnt nothing."""
    folder = tmp_path_factory.mktemp("adapt")
    tifffile.imwrite(folder / "stack.tif", make_phantom((32, 96, 96), seed=3, objects=6).image)
    torch.manual_seed(0)
    config = UNetConfig(widths=(4, 8), context_nm=(0.0,))
    card = WeightsCard(architecture="unet", config=config.model_dump(), pixel_nm=10.0, training={"data": "elsewhere"})
    save_weights(folder / "tiny.safetensors", UNet(config), card)
    return folder


def arguments(files: Path, out: Path) -> list[str]:
    """A quick adaptation of the tiny network."""
    return ["adapt", str(files / "stack.tif"), *VOXEL, "--init", str(files / "tiny.safetensors"), "--out", str(out), *QUICK]


def test_a_network_that_finds_nothing_is_refused_and_shown(mitoscale: Call, files: Path, tmp_path: Path) -> None:
    ended = mitoscale(*arguments(files, tmp_path / "w.safetensors"))
    assert ended.code == 1
    assert "no weights were written: there is no ground to learn from" in ended.err and "mitoscale suggest" in ended.err
    assert {p.name for p in tmp_path.iterdir()} == {"w.adapt.json", "w.adapt.png"}
    history = json.loads((tmp_path / "w.adapt.json").read_text())
    assert [stage["stage"] for stage in history["history"]] == ["before", "statistics"] and history["refused"]


def test_what_is_better_is_written_with_its_card_and_pictures(
    mitoscale: Call, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def answers(self: Asker, model: UNet, windows: Sequence[Window]) -> list[Answer]:
        asked.append(len(windows))
        views = np.zeros((4, 96, 96), np.float32)
        views[:, 20:50, 20:50] = 0.95
        views[3, 20 : 34 - 4 * len(asked)] = 0.0  # a little more is alike each time
        found = (views[0] > 0.5).astype(np.int32)
        one = Answer(views=views, changed=views[0], profiles=found, wide=found, judged=None, outline=None)
        return [replace(one) for _ in windows]

    monkeypatch.setattr("mitoscale.training.adapt_job.Asker.answers", answers)
    out = tmp_path / "w.safetensors"
    ended = mitoscale(*arguments(files, out), "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["weights"].startswith(str(out)) and asked == [2] * 7
    model, card = load_unet(str(out))
    assert (card.training["data"], card.training["init"]["data"]) == ("stack.tif", "elsewhere")
    assert card.training["best"] == "round 1" and len(card.training["adapted"]) == 3 and card.pixel_nm == 10.0
    start = load_unet(str(files / "tiny.safetensors"))[0].state_dict()
    assert not torch.equal(model.state_dict()["down.0.1.running_mean"], start["down.0.1.running_mean"])
    assert {p.name for p in tmp_path.iterdir()} == {"w.safetensors", "w.adapt.json", "w.adapt.png"}
    again = mitoscale(*arguments(files, out))
    assert again.code == 1 and "exists already" in again.err


def test_quiet_tells_only_the_error(mitoscale: Call, files: Path, tmp_path: Path) -> None:
    ended = mitoscale(*arguments(files, tmp_path / "w.safetensors"), "--quiet")
    assert ended.code == 1 and not ended.out and ended.err.startswith("mitoscale: no weights were written")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["flat.tif", *VOXEL, "--init", "tiny.safetensors"], "has no contrast"),
        (["stack.tif", "--init", "tiny.safetensors"], "does not tell its voxel size"),
        (["missing.tif", *VOXEL], "missing.tif"),
        (["stack.tif", *VOXEL, "--init", "sam-small"], "a unet is wanted here"),
        (["stack.tif", *VOXEL, "--init", "other.safetensors"], "no U-Net that can be adapted"),
        (["stack.tif", *VOXEL, "--sam", "unet-small"], "a sam is wanted here"),
        (["stack.tif", *VOXEL, "--init", "nowhere.safetensors"], "nowhere.safetensors"),
        (["stack.tif", *VOXEL, "--with", "nothing.yaml"], "nothing.yaml cannot be read"),
        (["stack.tif", *VOXEL, "--crop", "70"], "multiple of 32"),
        (["stack.tif", *VOXEL, "--out", "w.txt"], "must end in .safetensors"),
        (["stack.tif", *VOXEL, "--out", "no/folder\0"], "no/folder"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    mitoscale: Call, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], told: str
) -> None:
    monkeypatch.chdir(files)
    tifffile.imwrite(files / "flat.tif", np.full((4, 96, 96), 7, np.uint8), photometric="minisblack")
    config = UNetConfig(widths=(4, 8), context_nm=(0.0,), normalise=False)
    save_weights(
        files / "other.safetensors", UNet(config), WeightsCard(architecture="unet", config=config.model_dump(), pixel_nm=10.0)
    )
    ended = mitoscale("adapt", "--out", str(tmp_path / "w.safetensors"), *given)
    assert ended.code == 1 and told in ended.err and ended.err.count("\n") == 1, ended.err
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_place_that_cannot_be_written_is_told_before_any_work(mitoscale: Call, files: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = mitoscale("adapt", str(files / "stack.tif"), *VOXEL, "--out", str(tmp_path / "file" / "w.safetensors"))
    assert ended.code == 1 and "is a file; give another folder" in ended.err
