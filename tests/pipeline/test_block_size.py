"""Blocks suit what the segmenter's windows show, and a run keeps those that it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mitoscale.core.plan import default_core
from mitoscale.core.request import RunRequest
from mitoscale.core.settings import SegmentSettings
from mitoscale.nets.checkpoint import WeightsCard, save_weights
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.nets.window_size import window_nm
from mitoscale.pipeline import planned, settings_for, start
from mitoscale.stages.source import Source, open_source
from mitoscale.storage.tiff_writing import write_tiff

NM = (5.0, 5.0, 5.0)


def sam_file(folder: Path, size: int, pixel_nm: float | None) -> str:
    """Random weights of a SAM whose windows have so many pixels."""
    config = SamConfig(image_size=size, width=24, depth=1, heads=2, embedding=32, decoder_mlp=32)
    path = folder / f"sam-{size}-{pixel_nm}.safetensors"
    save_weights(path, Sam(config), WeightsCard(architecture="sam", config=config.model_dump(), pixel_nm=pixel_nm))
    return str(path)


@pytest.fixture
def volume(tmp_path: Path) -> Source:
    """Slices that are larger than a usual block."""
    write_tiff(str(tmp_path / "volume.tif"), np.zeros((5, 600, 700), np.uint8), NM)
    return open_source(str(tmp_path / "volume.tif"), None)


def test_what_windows_show(tmp_path: Path) -> None:
    assert window_nm(SegmentSettings(segmenter="unet"), NM) == (0, 0)
    assert window_nm(SegmentSettings(segmenter="lab:make"), NM) == (0, 0)
    assert window_nm(SegmentSettings(sam="sam_vit_b.pth"), (30, 4, 5)) == (4096, 5120), "the official ones have no pixel size"
    assert window_nm(SegmentSettings(sam="sam_vit_b.pth", sam_pixel_nm=10.0), NM) == (10240, 10240)
    assert window_nm(SegmentSettings(sam=sam_file(tmp_path, 128, 8.0)), NM) == (1024, 1024)
    assert window_nm(SegmentSettings(sam=sam_file(tmp_path, 128, None)), NM) == (640, 640)
    assert all(0 < w <= 512 * 5 for w in window_nm(SegmentSettings(), NM)), "the embedded one fits the usual blocks"


def test_blocks_are_as_large_as_windows_that_show_more(tmp_path: Path, volume: Source) -> None:
    wide = sam_file(tmp_path, 1024, None)

    def core(**asked: object) -> tuple[int, int, int]:
        return settings_for(volume, RunRequest.model_validate(asked), 1).convert.core

    assert core() == core(segmenter="unet") == (64, 512, 512)
    assert core(sam=wide) == core(sam_pixel=20.0) == (32, 1024, 1024)
    assert core(sam=wide, block=(8, 64, 64)) == (8, 64, 64)
    assert core(sam=wide, region="0:5,0:500,0:512") == (64, 512, 512), "one block holds what is worked on"
    assert core(region="0:4,:,:") == (4, 2048, 2048)
    assert default_core((9, 512, 512), NM, (9e4, 9e4)) == (64, 512, 512), "one block holds the slice"


def test_a_run_keeps_its_blocks_when_another_sam_goes_on_with_it(tmp_path: Path, volume: Source) -> None:
    run, wide = str(tmp_path / "run"), sam_file(tmp_path, 1024, None)

    def core(**asked: object) -> tuple[int, int, int]:
        request = RunRequest.model_validate({"detector": "unet-small", **asked})
        return start(planned(volume, run, request, 1), request.redo).plan.core

    assert core() == core(sam=wide) == core(sam=wide, redo="segment") == (64, 512, 512)
    assert core(sam=wide, redo="convert") == (32, 1024, 1024)
    assert core(redo="detect") == (32, 1024, 1024)
