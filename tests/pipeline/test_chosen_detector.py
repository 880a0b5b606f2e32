"""A detector that nobody names is chosen once, and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Call, Stack

from mitoscale.core.detector_names import NAMED
from mitoscale.core.request import RunRequest
from mitoscale.evaluation import detector_choice
from mitoscale.evaluation.detector_choice import DetectorChoice
from mitoscale.pipeline import load, planned, start
from mitoscale.stages import source
from mitoscale.stages.source import open_source

FEW = ("--segmenter", "unet", "--region", "0:8,0:128,0:128")


class Chooser:
    """Chooses what it is told to, and counts how often it is asked."""

    def __init__(self, patch: pytest.MonkeyPatch, detector: str = "unet-varied") -> None:
        self.detector, self.asked = detector, 0
        patch.setattr(detector_choice, "choose_detector", self)

    def __call__(self, volume: object, part: object = None) -> DetectorChoice:
        self.asked += 1
        return DetectorChoice(detector=self.detector, agreement={"unet-small": 0.5, "unet-varied": 0.6})


def detector_of(run: Path) -> tuple[str, str]:
    """Name and reason."""
    plan = load(str(run)).plan
    return plan.settings.detect.detector, plan.detector_why


def test_a_run_tells_what_was_chosen_and_why(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    ended = mitoscale("run", stack.image, str(tmp_path / "run"), *FEW)
    assert ended.code == 0, ended.err
    name, why = detector_of(tmp_path / "run")
    assert f"detector   {name}, chosen for this volume by how alike it finds what is turned round: unet-small " in ended.err
    assert why in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_run_that_goes_on_keeps_its_detector(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, chooser = tmp_path / "run", Chooser(monkeypatch)
    assert mitoscale("run", stack.image, str(run), *FEW).code == 0
    chooser.detector = "unet-small"
    again = mitoscale("run", stack.image, str(run), *FEW, "--detector", "auto")
    assert again.code == 0 and chooser.asked == 1 and "detector   unet-varied" in again.err
    assert mitoscale("segment", str(run), "--redo", "segment").code == 0 and detector_of(run)[0] == "unet-varied"
    assert mitoscale("detect", str(run), "--threshold", "0.6", "--redo", "detect").code == 0
    assert detector_of(run)[0] == "unet-varied" and chooser.asked == 1
    assert mitoscale("run", stack.image, str(run), *FEW, "--redo", "detect").code == 0
    assert detector_of(run)[0] == "unet-small" and chooser.asked == 2, "what is done again from the source is chosen again"


def test_what_is_named_is_taken(mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, chooser = tmp_path / "run", Chooser(monkeypatch)
    assert mitoscale("convert", stack.image, str(run), *FEW, "--detector", "unet-small").code == 0
    ended = mitoscale("detect", str(run))
    assert ended.code == 0 and "detector   " not in ended.err
    assert detector_of(run) == ("unet-small", NAMED) and chooser.asked == 0
    assert mitoscale("detect", str(run), "--detector", "unet-varied", "--redo", "detect").code == 0
    assert mitoscale("detect", str(run), "--redo", "detect").code == 0
    assert detector_of(run) == ("unet-varied", NAMED) and chooser.asked == 0
    for command in ("run", "convert"):
        assert mitoscale(command, stack.image, str(run), *FEW).code == 0
        assert detector_of(run) == ("unet-varied", NAMED) and chooser.asked == 0, "it goes on with what was named"
    assert mitoscale("detect", str(run), "--redo", "detect", "--detector", "auto").code == 0 and chooser.asked == 1
    assert detector_of(run) == ("unet-varied", chooser(None).told())
    assert mitoscale("run", stack.image, str(run), *FEW, "--detector", "unet-varied").code == 0
    assert detector_of(run)[1] != NAMED, "the name of what was chosen says nothing new"


def test_a_converted_volume_is_looked_at_without_its_source(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, copy, chooser = tmp_path / "run", tmp_path / "copy.tif", Chooser(monkeypatch)
    copy.write_bytes(Path(stack.image).read_bytes())
    assert mitoscale("convert", str(copy), str(run), *FEW).code == 0 and chooser.asked == 0
    copy.unlink()
    ended = mitoscale("detect", str(run))
    assert ended.code == 0 and chooser.asked == 1, ended.err
    assert detector_of(run) == ("unet-varied", chooser(None).told())


def test_a_region_is_looked_at_alone_before_and_after_converting(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    few = ("--segmenter", "unet", "--region", "9:13,0:128,0:128")
    assert mitoscale("run", stack.image, str(tmp_path / "a"), *few).code == 0
    assert mitoscale("convert", stack.image, str(tmp_path / "b"), *few).code == 0
    assert mitoscale("detect", str(tmp_path / "b")).code == 0
    assert detector_of(tmp_path / "a") == detector_of(tmp_path / "b") and "chosen for this volume" in detector_of(tmp_path / "b")[1]


def test_a_slice_that_cannot_be_read_stops_no_run(mitoscale: Call, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (6, 96, 96), np.uint8)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, image, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[3].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 64)
    ended = mitoscale("run", str(path), str(tmp_path / "run"), "--voxel-size", "5,5,5", "--segmenter", "unet", "--block", "2,96,96")
    assert "unet-small, as the volume could not be looked at (" in ended.err and "cannot decode" in ended.err
    assert ended.code == 3, ended.err


def test_a_volume_of_floats_is_searched_for_nan_once(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", stack.phantom.image[:8].astype(np.float32), photometric="minisblack")
    searched: list[object] = []
    monkeypatch.setattr(source, "check_finite", searched.append)
    image, size = str(tmp_path / "stack.tif"), ("--voxel-size", "10,10,10")
    assert mitoscale("convert", image, str(tmp_path / "run"), *size).code == 0
    assert mitoscale("detect", str(tmp_path / "run")).code == 0
    assert len(searched) == 1 and "chosen for this volume" in detector_of(tmp_path / "run")[1]
    assert mitoscale("run", image, str(tmp_path / "two"), *size, "--segmenter", "unet").code == 0
    assert len(searched) == 2


def test_what_is_wrong_is_told_before_the_volume_is_looked_at(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser = Chooser(monkeypatch)
    (tmp_path / "notes.txt").write_text("mine")
    ended = mitoscale("run", stack.image, str(tmp_path), *FEW)
    assert ended.code == 1 and "holds other files" in ended.err and chooser.asked == 0


def test_a_volume_without_tissue_is_told(mitoscale: Call, tmp_path: Path) -> None:
    image = np.full((4, 96, 96), 90, np.uint8)
    image[:, 40:56, 40:56] = np.random.default_rng(0).integers(0, 200, (4, 16, 16), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", image, photometric="minisblack")
    ended = mitoscale("run", str(tmp_path / "stack.tif"), str(tmp_path / "run"), "--voxel-size", "5,5,5", "--segmenter", "unet")
    assert ended.code == 0, ended.err
    assert detector_of(tmp_path / "run")[0] == "unet-small" and "no tissue to choose by" in ended.err


class Knowing(Chooser):
    """Chooses ``unet-small``, which knows the tissue as well as it is told."""

    agreement = 0.96

    def __call__(self, volume: object, part: object = None) -> DetectorChoice:
        self.asked += 1
        return DetectorChoice(detector="unet-small", agreement={"unet-small": self.agreement}, windows=8)


def segmenter_of(run: Path) -> tuple[str, str]:
    """Name and reason."""
    plan = load(str(run)).plan
    assert bool(plan.settings.segment.weights) is (plan.settings.segment.segmenter == "sam")
    return plan.settings.segment.segmenter, plan.segmenter_why


SMALL = ("--region", "0:8,0:96,0:96")
ALONE = ("unet", "unet, as unet-small knows this tissue (--segmenter sam asks SAM as well)")


def test_sam_is_not_asked_where_the_chosen_detector_knows_the_tissue(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser, run = Knowing(monkeypatch), tmp_path / "run"
    ended = mitoscale("run", stack.image, str(run), *SMALL)
    assert ended.code == 0 and f"segmenter  {ALONE[1]}\n" in ended.err, ended.err
    assert segmenter_of(run) == ALONE and ALONE[1] in (run / "report.html").read_text(encoding="utf-8")
    chooser.agreement = 0.5
    for goes_on in (("run", stack.image, str(run), *SMALL), ("segment", str(run)), ("segment", str(run), "--redo", "segment")):
        assert mitoscale(*goes_on).code == 0 and segmenter_of(run) == ALONE
    assert chooser.asked == 1
    assert mitoscale("segment", str(run), "--sam", "sam-small", "--redo", "segment").code == 0
    assert segmenter_of(run) == ("sam", NAMED), "who names a SAM wants it to be asked"
    assert mitoscale("run", stack.image, str(run), *SMALL, "--redo", "detect").code == 0
    assert segmenter_of(run) == ("sam", "") and chooser.asked == 2, "the choice is made again"


@pytest.mark.parametrize(
    "said", [("--segmenter", "sam"), ("--sam", "sam-small"), ("--gate", "30"), ("--sam-pixel", "10"), ("--sam-step", "0")]
)
def test_sam_is_asked_where_anything_is_said_to_it(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...]
) -> None:
    Knowing(monkeypatch)
    run, other = tmp_path / "run", tmp_path / "other"
    assert mitoscale("convert", stack.image, str(run), *SMALL, *said).code == 0
    assert mitoscale("detect", str(run)).code == 0 and segmenter_of(run) == ("sam", NAMED)
    assert mitoscale("convert", stack.image, str(other), *SMALL).code == 0
    assert mitoscale("detect", str(other)).code == 0 and segmenter_of(other) == ALONE
    assert mitoscale("segment", str(other), *said).code == 0 and segmenter_of(other) == ("sam", NAMED)


def test_a_detector_that_is_named_later_has_the_usual_segmenter(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Knowing(monkeypatch)
    run = tmp_path / "run"
    assert mitoscale("run", stack.image, str(run), *SMALL, "--detector", "unet-small").code == 0
    assert segmenter_of(run) == ("sam", "")
    assert mitoscale("detect", str(run), "--detector", "auto", "--redo", "detect").code == 0 and segmenter_of(run) == ALONE
    assert mitoscale("run", stack.image, str(run), *SMALL, "--detector", "unet-small").code == 0
    assert segmenter_of(run) == ALONE, "the name of what was chosen says nothing new"
    assert mitoscale("detect", str(run), "--detector", "unet-varied", "--redo", "detect").code == 0
    assert segmenter_of(run) == ("sam", "")
    assert mitoscale("detect", str(run), "--segmenter", "unet", "--redo", "detect").code == 0
    assert segmenter_of(run) == ("unet", NAMED)


def test_few_windows_do_not_tell_that_a_tissue_is_known() -> None:
    choice = DetectorChoice(detector="unet-small", agreement={"unet-small": 0.97}, windows=8)
    assert choice.knows and not any(replace(choice, windows=n).knows for n in (0, 1, 2, 7))
    assert not replace(choice, agreement={"unet-small": 0.89}).knows
    assert not replace(choice, detector="unet-varied", agreement={"unet-small": 0.5, "unet-varied": 0.99}).knows


def test_the_name_of_the_chosen_segmenter_says_nothing_new(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Knowing(monkeypatch)
    run, same = tmp_path / "run", ("--segmenter", "unet")
    assert mitoscale("run", stack.image, str(run), *SMALL).code == 0
    for command in (("run", stack.image, str(run), *SMALL), ("measure", str(run)), ("segment", str(run))):
        assert mitoscale(*command, *same).code == 0 and segmenter_of(run) == ALONE
        assert mitoscale("run", stack.image, str(run), *SMALL).code == 0 and segmenter_of(run) == ALONE
    refused = mitoscale("run", stack.image, str(run), *SMALL, "--gate", "30")
    assert refused.code == 1 and "made with other settings" in refused.err and segmenter_of(run) == ALONE


def test_another_detector_before_detect_has_the_usual_segmenter(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Knowing(monkeypatch)
    source, run = open_source(stack.image, None), tmp_path / "run"
    start(planned(source, str(run), RunRequest(region="0:8,0:96,0:96"), 1))
    assert segmenter_of(run) == ALONE
    start(planned(source, str(run), RunRequest(region="0:8,0:96,0:96", detector="unet-varied"), 1))
    assert segmenter_of(run) == ("sam", "")


@pytest.mark.parametrize("said", [("--sam", "sam-small"), ("--gate", "30"), ("--sam-pixel", "10"), ("--sam-step", "0")])
def test_what_is_said_to_sam_is_refused_where_it_is_not_asked(
    mitoscale: Call, stack: Stack, tmp_path: Path, said: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    for command in (("run", stack.image, str(run), *SMALL), ("convert", stack.image, str(run), *SMALL)):
        ended = mitoscale(*command, "--segmenter", "unet", *said)
        assert ended.code == 1 and f"{said[0]} " in ended.err and "leave out one of the two" in ended.err, ended.err
        assert len(ended.err.splitlines()) == 1 and not run.exists()
    assert mitoscale("convert", stack.image, str(run), *SMALL, "--segmenter", "unet").code == 0
    ended = mitoscale("segment", str(run), *said)
    assert ended.code == 1 and "leave out one of the two" in ended.err and segmenter_of(run) == ("unet", NAMED)


def test_a_segmenter_of_ones_own_is_told_nothing_that_is_for_sam(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    own = ("--segmenter", "known_truth:masks", "--segmenter-option", f"truth={stack.truth}")
    refused = mitoscale("convert", stack.image, str(tmp_path / "run"), *SMALL, *own, "--sam-step", "20")
    assert refused.code == 1 and "--sam-step 20.0 is for SAM, which --segmenter known_truth:masks does not ask" in refused.err
    assert mitoscale("convert", stack.image, str(tmp_path / "run"), *SMALL, *own, "--gate", "30").code == 0


def test_a_run_that_said_something_to_sam_before_choices_were_kept_still_asks_it(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Knowing(monkeypatch)
    run = tmp_path / "run"
    assert mitoscale("convert", stack.image, str(run), *SMALL, "--gate", "30").code == 0
    content = json.loads((run / "run.json").read_text())
    content["plan"].pop("segmenter_why")
    (run / "run.json").write_text(json.dumps(content))
    assert mitoscale("detect", str(run)).code == 0 and segmenter_of(run) == ("sam", "")


def test_a_pixel_size_that_was_given_to_convert_is_the_chosen_detectors(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Chooser(monkeypatch)
    run = tmp_path / "run"
    assert mitoscale("convert", stack.image, str(run), *FEW, "--detector-pixel", "12").code == 0
    assert mitoscale("detect", str(run)).code == 0 and load(str(run)).plan.settings.detect.pixel_nm == 12


def test_plan_forecasts_what_a_run_would_choose(
    mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser = Knowing(monkeypatch)
    ended = mitoscale("plan", stack.image, *SMALL, "--blocks", "1", "--into", str(tmp_path))
    assert ended.code == 0 and f"segmenter  {ALONE[1]}" in ended.err and chooser.asked == 1, ended.err
    assert "segment   " in ended.out and "network pixels a voxel" in ended.out
